"""Calls an entry on one device."""

import numpy as np

import losskit

from .compare import F32, GRADIENT, LOSS, assert_close, assert_same


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

    def compare(self, inputs, options):
        """Outputs and gradients, if any, of a call against the reference."""
        s = self.subject
        result = self(**inputs, **options)
        x = s.exact(inputs)
        expected = s.reference(x, options)
        scales = s.scales(x, options, expected)
        for name in expected:
            got, what = getattr(result, name), f"{s.name}: {name}"
            if s.entry.outputs[name].type in ("float", "f32"):
                assert_close(got, expected[name], scales[name], LOSS, what)
            else:
                assert_same(got, np.asarray(expected[name]).astype(got.dtype), what)
        if not s.entry.differentiable:
            return
        gradients = result.backward()
        exact = s.gradients(x, options, None)
        sizes = s.gradient_scales(x, options, None, exact)
        for name, g in gradients.items():
            assert_close(g, exact[name], sizes[name], GRADIENT, f"{s.name}: gradient of {name}")

    def other(self, name):
        """Another entry on the same device."""
        from .subject import Subject

        return Caller(Subject(name), self.context, self.dtype)
