"""Random inputs that several families use."""

import torch


def signs(shape, generator):
    return 2.0 * torch.randint(0, 2, shape, generator=generator) - 1


def uniform(shape, generator):
    return torch.rand(shape, generator=generator)


def positive(shape, generator):
    return 0.5 + torch.rand(shape, generator=generator)


def thirtieth(shape, generator):
    return torch.randn(shape, generator=generator) / 30
