import torch
import torch.nn.functional as F
from support.samplers import positive, signs, uniform

from . import Case
from .classification import LOGITS

FLAT = ((64 << 20,),)
LABELS = ((65536, 1024),)
VECTORS = ((65536, 256), (4096, 1000))
TRIPLET = ("anchor", "positive", "negative")


def ctc_labels(shape, generator, sizes):
    return torch.randint(1, sizes["classes"], shape, generator=generator)


def ctc_input_lengths(shape, generator, sizes):
    return torch.full(shape, sizes["time"])


def ctc_label_lengths(shape, generator, sizes):
    return torch.full(shape, min(sizes["time"] // 5, sizes["max_label"]))


def ctc(x):
    return F.ctc_loss(x.logits.log_softmax(2), x.labels, x.input_lengths, x.label_lengths)


def bits(shape, generator):
    return torch.randint(0, 2, shape, generator=generator).float()


def logs(shape, generator):
    return torch.log(0.01 + torch.rand(shape, generator=generator))


def focal(x):
    """Sigmoid focal loss as torchvision has it."""
    p = torch.sigmoid(x.logits)
    cross_entropy = F.binary_cross_entropy_with_logits(x.logits, x.target, reduction="none")
    wrong = 1 - (p * x.target + (1 - p) * (1 - x.target))
    return ((0.25 * x.target + 0.75 * (1 - x.target)) * wrong**2 * cross_entropy).mean()



def triplet(x, **options):
    return F.triplet_margin_loss(x.anchor, x.positive, x.negative, **options)


def softmax_focal(x, gamma=2.0):
    log_p = x.logits.log_softmax(1).gather(1, x.labels[:, None])[:, 0]
    return (-((1 - log_p.exp()) ** gamma) * log_p).mean()


CASES = [
    Case("mse_loss", lambda x: F.mse_loss(x.pred, x.target), FLAT),
    Case("mse_loss", lambda x: F.mse_loss(x.pred, x.target), FLAT, "both gradients", gradients=("pred", "target")),
    Case(
        "bce_with_logits",
        lambda x: F.binary_cross_entropy_with_logits(x.logits, x.target),
        LABELS,
        inputs={"target": uniform},
    ),
    Case(
        "bce_with_logits",
        lambda x: F.binary_cross_entropy_with_logits(x.logits, x.target, x.weight, pos_weight=x.pos_weight),
        LABELS,
        "weight and pos_weight",
        inputs={"target": uniform, "weight": positive, "pos_weight": positive},
    ),
    Case(
        "ctc_loss",
        ctc,
        ((200, 32, 64, 40), (200, 32, 1000, 40), (200, 32, 5000, 40)),
        inputs={"labels": ctc_labels, "input_lengths": ctc_input_lengths, "label_lengths": ctc_label_lengths},
        judge=torch.float64,
    ),
    Case("l1_loss", lambda x: F.l1_loss(x.pred, x.target), FLAT),
    Case("huber_loss", lambda x: F.huber_loss(x.pred, x.target), FLAT),
    Case("smooth_l1_loss", lambda x: F.smooth_l1_loss(x.pred, x.target), FLAT),
    Case("hinge_loss", lambda x: F.relu(1 - x.target * x.scores).mean(), FLAT, inputs={"target": signs}),
    # Not F.margin_ranking_loss, whose gradient at the kink is another, and half types often meet it.
    Case("margin_ranking_loss", lambda x: F.relu(x.target * (x.b - x.a)).mean(), FLAT, inputs={"target": signs}),
    Case("focal_loss", focal, LABELS, inputs={"target": bits}),
    Case("softmax_focal_loss", softmax_focal, LOGITS),
    Case("multi_margin_loss", lambda x: F.multi_margin_loss(x.logits, x.labels), LOGITS),
    Case("kl_divergence", lambda x: F.kl_div(x.pred, x.target), LABELS, inputs={"pred": logs, "target": uniform}),
    Case(
        "gaussian_nll", lambda x: F.gaussian_nll_loss(x.pred, x.target, x.var), FLAT, inputs={"var": positive}
    ),
    Case("poisson_nll", lambda x: F.poisson_nll_loss(x.pred, x.target), FLAT, inputs={"pred": logs, "target": uniform}),
    Case(
        "cosine_embedding_loss",
        lambda x: F.cosine_embedding_loss(x.a, x.b, x.target),
        VECTORS,
        inputs={"target": signs},
        gradients=("a", "b"),
    ),
    Case("triplet_margin_loss", triplet, VECTORS, gradients=TRIPLET),
    Case("triplet_margin_loss", lambda x: triplet(x, swap=True), VECTORS, "swap", options={"swap": True}, gradients=TRIPLET),
    Case("triplet_margin_loss", lambda x: triplet(x, p=3), VECTORS, "p = 3", options={"p": 3.0}, gradients=TRIPLET),
]
