import torch
import torch.nn.functional as F

from . import Case
from .classification import thirtieth


def dpo(x):
    d = (x.policy_chosen - x.reference_chosen) - (x.policy_rejected - x.reference_rejected)
    return F.softplus(-0.1 * d).mean()


CASES = [
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


def hebbian(x):
    """By the matrix product: |state|^2 + |pattern|^2 - 2 state . pattern."""
    squares = (x.state**2).sum(1, keepdim=True) + (x.patterns**2).sum(1)
    return (squares - 2 * x.state @ x.patterns.T) / (4 * x.state.shape[1])


def hebbian_energy(x):
    return -((x.state @ x.examples.mean(1).T) ** 2).sum(1) / (2 * x.state.shape[1])


def hopfield(x):
    field = x.state @ x.patterns.T @ x.patterns - x.state * (x.patterns**2).sum(0)
    return torch.where(field == 0, x.state, field.sign())


def spins(shape, generator):
    return 2.0 * torch.randint(0, 2, shape, generator=generator) - 1


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

CASES += [
    Case("hebbian_loss", hebbian, ((512, 512, 1024),)),
    Case("hebbian_energy", hebbian_energy, ((1024, 256, 4, 2048),), inputs={"state": spins, "examples": diluted}),
    Case("hopfield_update", hopfield, ((1024, 256, 2048),), inputs={"state": spins, "patterns": diluted}),
    Case("beta_policy_gradient", beta_policy, ((64, 16384),), inputs=BETA, gradients=("concentration1", "concentration0")),
]
