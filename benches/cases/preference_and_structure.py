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
]
