import torch
import torch.nn.functional as F

from . import Case
from .classification import thirtieth


def dpo(x):
    d = (x.policy_chosen - x.reference_chosen) - (x.policy_rejected - x.reference_rejected)
    return F.softplus(-0.1 * d).mean()


def polynomial(x):
    p = (x.x @ x.a * x.x).sum(-1) - x.a.trace()
    y = torch.zeros_like(p)
    for c in x.coefficients.flip(0):
        y = y * p + c
    return y


def ridge(x):
    """In f64 and by the smaller system, as the library."""
    f, t = x.features.double(), x.target.double()
    n, m = f.shape
    matrix = (f @ f.T if m > n else f.T @ f) + n * 1e-3 * torch.eye(min(n, m), dtype=f.dtype)
    factor = torch.linalg.cholesky(matrix)
    w = f.T @ torch.cholesky_solve(t, factor) if m > n else torch.cholesky_solve(f.T @ t, factor)
    _ = (f @ w - t).square().sum() / n + 1e-3 * w.square().sum()
    return w.float()


class Reste(torch.autograd.Function):
    """As the paper's code has it: o = 3, clip = 1.5, interval = 0.1."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        size = x.abs()
        slope = torch.where(size > 0.1, size.clamp(min=0.1) ** (1 / 3 - 1) / 3, 0.1 ** (1 / 3 - 1))
        return g * torch.where(size > 1.5, 0.0, slope).to(x.dtype)


def indicators(x):
    size = x.input.abs()
    return (1 - size ** (1 / 3)).square().sum().sqrt()


def hermite(x, degree=4):
    h = [torch.ones_like(x.x), x.x]
    for k in range(1, degree):
        h.append((x.x * h[k] - k**0.5 * h[k - 1]) / (k + 1) ** 0.5)
    return torch.stack(h, 1)


CASES = [
    Case(
        "hierarchical_polynomial",
        polynomial,
        ((4096, 512, 4),),
        inputs={"x": thirtieth, "a": thirtieth, "coefficients": lambda shape, g: torch.randn(shape, generator=g)},
    ),
    Case("ridge_regression", ridge, ((8192, 512, 10), (256, 2048, 10))),
    Case("dpo_loss", dpo, ((1 << 20,),), gradients=("policy_chosen", "policy_rejected")),
    Case("sequence_log_prob", lambda x: -F.cross_entropy(x.logits, x.labels, reduction="sum"), ((2048, 32000),)),
    Case(
        "fused_linear_sequence_log_prob",
        lambda x: -F.cross_entropy(F.linear(x.hidden, x.weight), x.labels, reduction="sum"),
        ((1024, 512, 32000),),
        inputs={"hidden": thirtieth, "weight": thirtieth},
        gradients=("hidden", "weight"),
    ),
    Case("router_z_loss", lambda x: (torch.logsumexp(x.logits, -1) ** 2).mean(), ((65536, 64),)),
    Case("binarize", lambda x: Reste.apply(x.input), ((64 << 20,),)),
    Case("binarize_indicators", indicators, ((64 << 20,),)),
    Case("hermite_features", hermite, ((8 << 20,),), inputs={"x": thirtieth}),
]
