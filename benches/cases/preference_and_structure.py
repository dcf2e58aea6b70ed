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


CASES += [
    Case("hebbian_loss", hebbian, ((512, 512, 1024),)),
]
