import math

import torch

from . import Case


def normal(shape, generator):
    return torch.randn(shape, generator=generator)


def wide(shape, generator):
    return 2 * normal(shape, generator)


def log_sum_kernels(x, y, bandwidth):
    return torch.logsumexp((torch.cdist(x.float(), y.float()).square() / (-2 * bandwidth**2)).flatten(), 0)


def cs_divergence(x, bandwidth):
    a, b = x.a, x.b
    own = log_sum_kernels(a, a, bandwidth) + log_sum_kernels(b, b, bandwidth)
    return own - 2 * log_sum_kernels(a, b, bandwidth)


def knn_entropy(x, k=5):
    n, d = x.x.shape
    distances = torch.cdist(x.x, x.x, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distances.topk(k + 1, dim=1, largest=False).values[:, k]
    constant = torch.digamma(torch.tensor(float(n))) - torch.digamma(torch.tensor(float(k)))
    return constant + d / 2 * math.log(math.pi) - math.lgamma(d / 2 + 1) + d * nearest.log().mean()


CASES = [
    Case(
        "cs_divergence",
        lambda x: cs_divergence(x, 8.0),
        ((2048, 2048, 64), (2048, 2048, 512), (8192, 8192, 16)),
        options={"bandwidth": 8.0},
        inputs={"a": normal, "b": wide},  # of the same distribution it would be a difference of all but equal logarithms
        gradients=("a", "b"),
    ),
    Case("knn_entropy", knn_entropy, ((8192, 3), (8192, 64)), inputs={"x": normal}),
]
