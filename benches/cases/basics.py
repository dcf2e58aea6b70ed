import torch
import torch.nn.functional as F

from . import Case

FLAT = ((64 << 20,),)
LABELS = ((65536, 1024),)


def uniform(shape, generator):
    return torch.rand(shape, generator=generator)


def positive(shape, generator):
    return 0.5 + torch.rand(shape, generator=generator)


def ctc_labels(shape, generator):
    return torch.randint(1, 64, shape, generator=generator)


def ctc_input_lengths(shape, generator):
    return torch.full(shape, 200)


def ctc_label_lengths(shape, generator):
    return torch.full(shape, 40)


def ctc(x):
    return F.ctc_loss(x.logits.log_softmax(2), x.labels, x.input_lengths, x.label_lengths)


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
    ),
]
