import torch
import torch.nn.functional as F

from . import Case

FLAT = ((64 << 20,),)
LABELS = ((65536, 1024),)


def uniform(shape, generator):
    return torch.rand(shape, generator=generator)


def positive(shape, generator):
    return 0.5 + torch.rand(shape, generator=generator)


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
]
