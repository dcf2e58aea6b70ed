import torch.nn.functional as F

from . import Case
from .basics import FLAT, signs

ROWS = ((4096, 1000), (2048, 32000))


def distillation(x):
    p, q = F.log_softmax(x.teacher / 4, -1), F.log_softmax(x.student / 4, -1)
    return 16 * F.kl_div(q, p, log_target=True, reduction="batchmean")


def trades(x):
    p, q = F.log_softmax(x.logits, -1), F.log_softmax(x.adversarial_logits, -1)
    return F.cross_entropy(x.logits, x.labels) + 6 * F.kl_div(q, p, log_target=True, reduction="batchmean")


CASES = [
    Case("distillation_kl", distillation, ROWS),
    Case("trades_loss", trades, ROWS, gradients=("logits", "adversarial_logits")),
    Case(
        "alpha_hinge",
        lambda x: F.relu(1 - 2 * x.target * (x.scores - x.initial)).mean() / 4,
        FLAT,
        options={"alpha": 2.0},
        inputs={"target": signs},
    ),
    Case(
        "alpha_scaled_mse",
        lambda x: F.mse_loss(2 * (x.pred - x.initial), x.target) / 4,
        FLAT,
        options={"alpha": 2.0},
    ),
]
