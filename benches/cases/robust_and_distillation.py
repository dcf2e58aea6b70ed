import math

import torch
import torch.nn.functional as F
from support.samplers import positive, signs, uniform

from . import Case
from .basics import FLAT

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


def saliency(x):
    """Of equal magnitudes the first: topk takes any."""
    kept = x.gradient.abs().sort(descending=True, stable=True).indices[: len(x.gradient) // 2]
    return torch.zeros_like(x.gradient, dtype=torch.uint8).index_fill_(0, kept, 1)


def co_teaching(x):
    kept = len(x.losses_a) * 4 // 5
    a, b = (losses.detach().sort(stable=True).indices[:kept] for losses in (x.losses_a, x.losses_b))
    return torch.stack([x.losses_a[b].float().mean(), x.losses_b[a].float().mean()])


def roc_auc(x):
    scores, order = x.scores.sort()
    _, group, counts = torch.unique_consecutive(scores, return_inverse=True, return_counts=True)
    ranks = counts.cumsum(0) - (counts - 1) / 2
    positive = x.labels[order] != 0
    p = positive.sum()
    return (ranks.double()[group][positive].sum() - p * (p + 1) / 2) / (p * (len(positive) - p))


def bag_means(x, q):
    zero = torch.zeros(len(x.bag_targets))
    counts = zero.index_add(0, x.bags, torch.ones(len(x.bags)))
    return zero.index_add(0, x.bags, q) / counts.clamp(min=1), counts > 0


def aggregate(x):
    pred, y = x.pred.float(), x.bag_targets.float()
    means, there = bag_means(x, pred)
    return (F.mse_loss(means[there], y[there]) + F.mse_loss(pred, y[x.bags])) / 2


def aggregate_logistic(x):
    pred, y = x.pred.float(), x.bag_targets.float()
    means, there = bag_means(x, pred.sigmoid())
    of_bags = F.binary_cross_entropy(means[there], y[there])
    return (of_bags + F.binary_cross_entropy_with_logits(pred, y[x.bags])) / 2


BAGS = ((1 << 20, 1 << 13), (1 << 20, 100))


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
    Case("saliency_mask", saliency, ((16 << 20,),)),
    Case("co_teaching", co_teaching, ((1 << 20,),), gradients=("losses_a", "losses_b")),
    Case("roc_auc", roc_auc, ((1 << 20,),)),
    Case(
        "nested_dropout",
        lambda x: torch.where(torch.arange(x.features.shape[1]) < x.keep[:, None], x.features, 0),
        ((16384, 1024),),
    ),
    Case(
        "coordinate_shuffle",
        lambda x: torch.where(x.mask.bool(), x.x[x.permutation], x.x),
        ((16384, 1024),),
        inputs={"permutation": lambda shape, g: torch.randperm(shape[0], generator=g)},
    ),
    Case("aggregate_response", aggregate, BAGS, inputs={"bag_targets": uniform}),
    Case("aggregate_response", aggregate_logistic, BAGS, "logistic", options={"kind": "logistic"}, inputs={"bag_targets": uniform}),
    Case("doubly_robust_reweighting", lambda x: torch.logsumexp(x.losses, 0) - math.log(len(x.losses)), ((1 << 20,),)),
]
