import math

import torch

from . import Case


def normal(shape, generator):
    return torch.randn(shape, generator=generator)


def kernel_joint_entropy(x, bandwidth):
    exponents = torch.cdist(x.a.float(), x.a.float()).square() / (-2 * bandwidth**2)
    if x.b is not None:
        exponents = exponents + torch.cdist(x.b.float(), x.b.float()).square() / (-2 * bandwidth**2)
    return math.log(len(x.a)) - exponents.logsumexp(1).mean()


CASES = [
    Case(
        "kernel_joint_entropy",
        lambda x: kernel_joint_entropy(x, 8.0),
        ((4096, 64, 32),),
        options={"bandwidth_a": 8.0, "bandwidth_b": 8.0},
        inputs={"a": normal, "b": normal},
        gradients=("a", "b"),
    ),
]
