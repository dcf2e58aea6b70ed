import torch
import torch.nn.functional as F

from . import Case

LOGITS = ((2048, 32000), (4096, 1000), (65536, 10))


def positive(shape, generator):
    return 0.5 + torch.rand(shape, generator=generator)


def thirtieth(shape, generator):
    return torch.randn(shape, generator=generator) / 30


def label_logits(x):
    return x.logits.gather(1, x.labels[:, None])[:, 0]


def mean_absolute_error(x):
    return (1 - x.logits.softmax(1).gather(1, x.labels[:, None])).mean()


def source_free_adaptation(x):
    log_p, tau = x.logits.log_softmax(1), x.prior
    p = log_p.exp()
    nu = (1 / tau) / (1 / tau).sum(1, keepdim=True)
    q = p.mean(2)
    return (-(nu * (p * log_p).mean(2)).sum(1) + (q * (q / tau).log()).sum(1)).mean()


def prior(shape, generator):
    tau = 0.1 + torch.rand(shape, generator=generator)
    return tau / tau.sum(1, keepdim=True)


def z_loss(x, a=0.1, b=10.0):
    std, mean = torch.std_mean(x.logits, 1, correction=0)
    return F.softplus(b - (label_logits(x) - mean) / std, beta=a).mean()


def spherical(x):
    f = x.logits**2 + 0.01
    return (f.sum(1).log() - f.gather(1, x.labels[:, None])[:, 0].log()).mean()


def taylor(x):
    f = 1 + x.logits + x.logits**2 / 2
    return (f.sum(1).log() - f.gather(1, x.labels[:, None])[:, 0].log()).mean()


CASES = [
    Case("token_cross_entropy", lambda x: F.cross_entropy(x.logits, x.labels), LOGITS, in_readme=3),
    Case(
        "token_cross_entropy",
        lambda x: F.cross_entropy(x.logits, x.labels, label_smoothing=0.1),
        LOGITS,
        "label smoothing",
        options={"label_smoothing": 0.1},
    ),
    Case(
        "token_cross_entropy",
        lambda x: F.cross_entropy(x.logits, x.labels, weight=x.class_weights),
        LOGITS,
        "class weights",
        inputs={"class_weights": positive},
    ),
    Case("comp_sum_cross_entropy", lambda x: F.cross_entropy(x.logits, x.labels), LOGITS, "tau = 1"),
    Case("comp_sum_cross_entropy", mean_absolute_error, LOGITS, "tau = 2", options={"tau": 2.0}),
    Case("z_loss", z_loss, LOGITS),
    Case("spherical_softmax_cross_entropy", spherical, LOGITS),
    Case("spherical_softmax_cross_entropy", taylor, LOGITS, "taylor", options={"kind": "taylor"}),
    Case(
        "fused_linear_cross_entropy",
        lambda x: F.cross_entropy(F.linear(x.hidden, x.weight), x.labels),
        ((1024, 512, 32000), (4096, 256, 10000)),
        inputs={"hidden": thirtieth, "weight": thirtieth},
        gradients=("hidden", "weight"),
    ),
    Case("source_free_adaptation", source_free_adaptation, ((4, 4, 96**3),), inputs={"prior": prior}),
]
