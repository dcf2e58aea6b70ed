import math

import torch
import torch.nn.functional as F

from . import Case
from .classification import thirtieth


def dpo(x):
    d = (x.policy_chosen - x.reference_chosen) - (x.policy_rejected - x.reference_rejected)
    return F.softplus(-0.1 * d).mean()


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
