"""What `compare.py` measures: one file per family of entries, with its cases in a list `CASES`."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field

import torch


@dataclass
class Case:
    """One way to call an entry, and the same in torch.

    `torch(x)` gives the mean loss from the inputs as attributes of `x`, in the way a careful user would write
    it. It is checked against the library before anything is timed.
    """

    entry: str
    torch: Callable
    #: Sizes in the order of the entry's dims, the most telling first.
    shapes: tuple
    #: What distinguishes this case from the entry's others, in words.
    variant: str = ""
    options: dict = field(default_factory=dict)
    #: `sampler(shape, generator)`, or with the sizes by name `sampler(shape, generator, sizes)`, by input, giving
    #: an f32 tensor. Optional inputs are given only if named here; the others are drawn from N(0, 3^2), labels
    #: evenly, masks as coins.
    inputs: dict = field(default_factory=dict)
    #: Inputs whose gradient is wanted; the first that has one unless given.
    gradients: tuple = ()
    #: The type in which torch's results are trusted.
    judge: torch.dtype = torch.float32
    #: How many of the shapes are worth a line in README.md.
    in_readme: int = 1

    @property
    def name(self):
        return f"{self.entry}, {self.variant}" if self.variant else self.entry


def all_cases():
    cases = []
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
        cases += importlib.import_module(f"{__name__}.{module}").CASES
    return cases
