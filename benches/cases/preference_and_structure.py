import math

import torch
import torch.nn.functional as F
from support.samplers import signs, thirtieth

from . import Case


def dpo(x):
    d = (x.policy_chosen - x.reference_chosen) - (x.policy_rejected - x.reference_rejected)
    return F.softplus(-0.1 * d).mean()


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


def load_balancing(x):
    tokens, experts = x.logits.shape
    chosen = torch.topk(x.logits, 2, -1).indices.reshape(-1)
    load = torch.bincount(chosen, minlength=experts) / chosen.numel()
    return experts * (load * torch.softmax(x.logits.float(), -1).mean(0)).sum()


def mixture(x):
    score, chosen = torch.topk(F.linear(x.x, x.gate_weight, x.gate_bias).float(), 4, -1)
    mean = F.linear(x.x, x.expert_weight, x.expert_bias).float().gather(1, chosen)
    v = x.log_variance.float()[chosen]
    density = -0.5 * ((x.y.float()[:, None] - mean) ** 2 * torch.exp(-v) + v + math.log(2 * math.pi))
    return -torch.logsumexp(torch.log_softmax(score, -1) + density, -1).mean()


def half(shape, generator):
    return torch.randn(shape, generator=generator) / 2


def hebbian(x):
    """By the matrix product: |state|^2 + |pattern|^2 - 2 state . pattern."""
    squares = (x.state**2).sum(1, keepdim=True) + (x.patterns**2).sum(1)
    return (squares - 2 * x.state @ x.patterns.T) / (4 * x.state.shape[1])


def hebbian_energy(x):
    return -((x.state @ x.examples.mean(1).T) ** 2).sum(1) / (2 * x.state.shape[1])


def hopfield(x):
    field = x.state @ x.patterns.T @ x.patterns - x.state * (x.patterns**2).sum(0)
    return torch.where(field == 0, x.state, field.sign())


def diluted(shape, generator):
    return torch.randint(-1, 2, shape, generator=generator).float()


def concentration(shape, generator):
    return torch.empty(shape).normal_(generator=generator).exp()


def mask(shape, generator):
    return torch.rand(shape, generator=generator) * 0.98 + 0.01


def beta_policy(x):
    policy = torch.distributions.Beta(x.concentration1, x.concentration0, validate_args=False)
    return -(x.rewards * policy.log_prob(x.actions).sum(1)).mean()


BETA = {"concentration1": concentration, "concentration0": concentration, "actions": mask}

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
    Case("hebbian_loss", hebbian, ((512, 512, 1024),)),
    Case("hebbian_energy", hebbian_energy, ((1024, 256, 4, 2048),), inputs={"state": signs, "examples": diluted}),
    Case("hopfield_update", hopfield, ((1024, 256, 2048),), inputs={"state": signs, "patterns": diluted}),
    Case("beta_policy_gradient", beta_policy, ((64, 16384),), inputs=BETA, gradients=("concentration1", "concentration0")),
    Case("load_balancing_loss", load_balancing, ((65536, 64),)),
    Case(
        "topk_softmax_gating",
        lambda x: torch.softmax(torch.topk(x.logits, 2, -1).values.float(), -1),
        ((65536, 64), (8192, 1024)),
        "two chosen",
    ),
    Case(
        "gaussian_mixture_of_experts",
        mixture,
        ((8192, 256, 64),),
        "four chosen",
        options={"k": 4},
        inputs={name: thirtieth for name in ("x", "gate_weight", "expert_weight")} | {"log_variance": half},
        gradients=("x", "gate_weight", "expert_weight"),
    ),
]
