"""Calls an entry on one device, the three ways a caller can, and compares."""

import numpy as np

import losskit

from .compare import F32


class Caller:
    """The entry on a device. Called like the function of the Python package."""

    def __init__(self, subject, context, dtype=F32):
        self.subject, self.context, self.dtype = subject, context, dtype
        self.function = getattr(losskit, subject.name)

    def __call__(self, *inputs, **arguments):
        return self.function(*inputs, **arguments, context=self.context)

    def floats(self, values):
        """Values in the element type under test."""
        return np.asarray(values).astype(np.float32).astype(self.dtype)

    def gradients(self, *inputs, grad_loss=None, **arguments):
        return self(*inputs, **arguments).backward(grad_loss)

    def other(self, name):
        """Another entry on the same device."""
        from .subject import Subject

        return Caller(Subject(name), self.context, self.dtype)
