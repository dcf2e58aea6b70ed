import math

import torch
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


def binary_kl(x):
    t, z = x.teacher / 2, x.student / 2
    q = t.sigmoid()
    each = q * (F.logsigmoid(t) - F.logsigmoid(z)) + (1 - q) * (F.logsigmoid(-t) - F.logsigmoid(-z))
    return 4 * each.sum(-1).mean()


def ensemble(x):
    return F.cross_entropy(x.logits.mean(0), x.labels)


def ensemble_of_probabilities(x):
    log_p = torch.logsumexp(x.logits.log_softmax(-1), 0) - math.log(len(x.logits))
    return F.nll_loss(log_p, x.labels)


def unlearning(x):
    return F.cross_entropy(x.forget_logits, x.random_labels) + F.cross_entropy(x.retain_logits, x.retain_labels)


def unlearning_mse(x):
    return F.mse_loss(x.forget_pred, x.mismatched_target) + F.mse_loss(x.retain_pred, x.retain_target)


ENSEMBLES = ((5, 4096, 1000), (5, 400, 32000))


def multi_sample(x):
    z = F.linear(2 * x.features * x.masks, x.weight)
    return F.cross_entropy(z.flatten(0, 1), x.labels.repeat(len(z)))


def small(shape, generator):
    return torch.randn(shape, generator=generator) / 10


def boosting_residuals(x):
    """With the second derivatives and losses, as the library gives them."""
    p = x.pred.softmax(-1)
    _ = p * (1 - p), -(x.target * x.pred.log_softmax(-1)).sum(-1)
    return x.target - p


def boosting_step(x):
    p = x.pred.softmax(-1)
    slope = ((x.target - p) * x.direction).sum(0, dtype=torch.float32)
    return slope / (p * (1 - p) * x.direction**2).sum(0, dtype=torch.float32)


def shares(shape, generator):
    """Probabilities."""
    return torch.randn(shape, generator=generator).softmax(-1)


def slabs(x):
    t, k = x.target[:, None].float(), x.slabs[None]
    own = (t > 0).long()
    v = x.uniforms * ((k + 1) // 2 - own)
    number = v.floor()
    many = -1 + 2 / k * (2 * number + own) + 0.05 + (2 / k - 0.1) * (v - number)
    return torch.where(k == 1, t * (0.05 + 0.95 * x.uniforms), many)


def alignment(x):
    a, b = x.a - x.a.mean(0), x.b - x.b.mean(0)
    if max(a.shape[1], b.shape[1]) > len(a):
        k, l = a @ a.T, b @ b.T
        return (k * l).sum() / (k.norm() * l.norm())
    return (a.T @ b).norm() ** 2 / ((a.T @ a).norm() * (b.T @ b).norm())


CASES = [
    Case(
        "gradient_boosting_residuals",
        boosting_residuals,
        ((4096, 1000), (65536, 10)),
        options={"kind": "softmax"},
        inputs={"target": shares},
    ),
    Case(
        "gradient_boosting_step",
        boosting_step,
        ((4096, 1000), (65536, 10)),
        options={"kind": "softmax"},
        inputs={"target": shares},
    ),
    Case(
        "slab_features",
        slabs,
        ((65536, 64),),
        inputs={
            "target": signs,
            "uniforms": lambda shape, g: torch.rand(shape, generator=g).clamp(1e-6, 1 - 1e-6),
            "slabs": lambda shape, g: 2 * torch.randint(0, 5, shape, generator=g) + 1,
        },
    ),
    Case("kernel_alignment", alignment, ((8192, 512, 128), (256, 1024, 16)), inputs={"a": small, "b": small}, gradients=("a", "b")),
    Case(
        "multi_sample_dropout_cross_entropy",
        multi_sample,
        ((512, 1024, 1000),),
        inputs={"features": small, "weight": small, "masks": lambda shape, g: torch.randint(0, 2, shape, generator=g)},
        gradients=("features", "weight"),
    ),
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
    Case("binary_kl_distillation", binary_kl, ROWS),
    Case("ensemble_cross_entropy", ensemble, ENSEMBLES),
    Case(
        "ensemble_cross_entropy",
        ensemble_of_probabilities,
        ENSEMBLES,
        "probabilities",
        options={"average": "probabilities"},
    ),
    Case(
        "unlearning_cross_entropy",
        unlearning,
        ((2048, 2048, 1000), (1024, 1024, 32000)),
        gradients=("forget_logits", "retain_logits"),
    ),
    Case(
        "unlearning_mse",
        unlearning_mse,
        ((32 << 20, 32 << 20),),
        gradients=("forget_pred", "retain_pred"),
    ),
]
