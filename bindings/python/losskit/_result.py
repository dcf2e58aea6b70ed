"""What a call returns."""

import numpy as np

from ._errors import Error


def _shown(value):
    if isinstance(value, np.ndarray):
        text = np.array2string(value, threshold=16, edgeitems=3, precision=6, separator=", ", prefix=" " * 8)
        if value.ndim > 1 or value.size > 16:
            return f"array({text}, shape={value.shape}, dtype={value.dtype})"
        return f"array({text}, dtype={value.dtype})"
    return str(value)


class Result:
    """Outputs of a call as attributes. ``backward()`` computes the gradients."""

    __slots__ = ()
    _entry = ""
    _outputs = ()

    def backward(self, grad_loss=None, wanted=None):
        raise Error(f"{self._entry} has no differentiable input, so there is nothing for backward to compute")

    def __repr__(self):
        parts = [f"{name}={_shown(getattr(self, name))}" for name in self._outputs]
        if self.gradients is not None:
            parts.append("gradients={" + ", ".join(f"{k!r}: {_shown(v)}" for k, v in self.gradients.items()) + "}")
        return f"{self._entry}({', '.join(parts)})"
