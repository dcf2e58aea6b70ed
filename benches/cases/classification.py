import math

import torch
import torch.nn.functional as F
from support.samplers import positive, signs, thirtieth, uniform

from . import Case

LOGITS = ((2048, 32000), (4096, 1000), (65536, 10))


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


def entropy(log_p):
    return -(log_p.exp() * log_p).sum(1)


def entropy_regularized(x):
    return F.cross_entropy(x.logits, x.labels) + entropy(x.logits.log_softmax(1)).mean()


def margins(x):
    d = x.logits - label_logits(x)[:, None] + 0.1
    return d.scatter(1, x.labels[:, None], 0.0)


def robust(x):
    return (torch.logsumexp(margins(x), 1) - math.log(x.logits.shape[1])).mean()


def adaptive_robust(x):
    d, classes = margins(x), x.logits.shape[1]
    with torch.no_grad():
        t = torch.ones_like(d[:, :1])
        for _ in range(6):
            log_p = (d / t).log_softmax(1)
            p = log_p.exp()
            divergence = math.log(classes) + (p * log_p).sum(1, keepdim=True)
            mean = (p * d).sum(1, keepdim=True)
            variance = (p * d * d).sum(1, keepdim=True) - mean**2
            t = torch.clamp(t - (t - 1 - divergence) / (1 + variance / t**3), min=1)
    t = t[:, 0]
    return (t * (torch.logsumexp(d / t[:, None], 1) - math.log(classes)) + (t - 1) ** 2 / 2).mean()


def calibration(x):
    p = (x.logits / x.temperatures[:, None]).softmax(1)
    m = x.logits.argmax(1)
    return ((p.gather(1, m[:, None])[:, 0] - (m == x.labels).to(p.dtype)) ** 2).mean()


def distinct_largest(shape, generator):
    """Logits whose ten largest are equal in no type."""
    logits = torch.empty(shape).normal_(0, 3, generator=generator).clamp_max_(9)
    top = min(10, shape[1])
    places = torch.rand(shape[0], shape[1], generator=generator).topk(top, 1).indices
    return logits.scatter_(1, places, (10 + 0.5 * torch.arange(top)).expand(shape[0], -1))


def logit_gap(x, order=2):
    best = x.logits.topk(order, 1).values
    return (best[:, 0] - best[:, -1]).mean()


def open_set(x):
    m = x.source_logits.argmax(1, keepdim=True)
    log_p = x.logits.log_softmax(1)
    selected = (log_p.exp().gather(1, m) - x.source_logits.softmax(1).gather(1, m) >= -1)[:, 0]
    return (entropy(log_p) * selected).sum() / selected.sum()


def smooth_adversarial(x):
    a, y = x.adversarial_logits, x.labels[:, None]
    change = (a.gather(1, y) - a) - (x.logits.gather(1, y) - x.logits)
    return F.cross_entropy(x.logits, x.labels) + change.norm(dim=1).mean()


def ensloss(x):
    """box_cox = 0."""
    with torch.no_grad():
        margin = (x.target * x.scores).float()
        w = torch.empty_like(margin)
        w[margin.argsort(stable=True)] = x.draws.exp().clamp(max=1).sort(descending=True).values
        w = torch.where(margin > 1, w / margin, w) + 1e-6
    return -(w * x.target * x.scores).mean()


def calibration_error(x, bins=15):
    place = (x.confidence * bins).ceil().long().clamp(1, bins) - 1
    sums = torch.zeros(bins).index_add_(0, place, x.confidence - x.correct.float())
    return sums.abs().sum() / len(place)


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
    Case("entropy_regularized_cross_entropy", entropy_regularized, LOGITS),
    Case("label_distributionally_robust", robust, LOGITS),
    Case("label_distributionally_robust", adaptive_robust, LOGITS, "adaptive", options={"adaptive": True}),
    Case(
        "correctness_aware_calibration",
        calibration,
        LOGITS,
        inputs={"temperatures": positive},
        gradients=("logits", "temperatures"),
    ),
    Case("logit_gap", logit_gap, LOGITS, inputs={"logits": distinct_largest}),
    Case(
        "logit_gap",
        lambda x: logit_gap(x, 10),
        LOGITS,
        "order 10",
        options={"order": 10},
        inputs={"logits": distinct_largest},
    ),
    Case("open_set_entropy_minimization", open_set, LOGITS, options={"threshold": -1.0}),
    Case(
        "smooth_adversarial_comp_sum",
        smooth_adversarial,
        LOGITS,
        gradients=("logits", "adversarial_logits"),
    ),
    Case("source_free_adaptation", source_free_adaptation, ((4, 4, 96**3),), inputs={"prior": prior}),
    Case(
        "ensloss",
        ensloss,
        ((1 << 20,),),
        inputs={"target": signs, "draws": lambda shape, g: torch.randn(shape, generator=g)},
    ),
    Case("expected_calibration_error", calibration_error, ((1 << 22,),), inputs={"confidence": uniform}),
]
