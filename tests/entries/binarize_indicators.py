"""binarize_indicators: estimating error and gradient stability."""

import numpy as np

def _reste(a, o):
    with np.errstate(all="ignore"):
        curve = np.where(a <= o.interval, o.interval ** (1 / o.o - 1), a ** (1 / o.o - 1) / o.o)
    return np.where(a > o.clip, 0, curve)


def reference(x, o):
    a = np.abs(x.input)
    if not a.size:
        return {"estimating_error": np.array(0.0), "gradient_stability": np.array(0.0)}
    return {
        "estimating_error": np.sqrt(((1 - a ** (1 / o.o)) ** 2).sum()),
        "gradient_stability": np.var(_reste(a, o)),
    }


def _size(x, o):
    a = np.abs(x.input)
    return (np.sqrt(((1 + a ** (1 / o.o)) ** 2).sum()), (_reste(a, o) ** 2).mean()) if a.size else (0.0, 0.0)


def scale(x, o):
    """The terms before they cancel."""
    return dict(zip(("estimating_error", "gradient_stability"), map(np.array, _size(x, o))))


OPTIONS = {"o": [3.0, 1.0, 1.5], "clip": [1.5, 0.5], "interval": [0.1, 0.01]}

EXAMPLES = [
    {
        "inputs": {"input": [0.05, -0.5, 1.25, -2.0]},
        "options": {"o": 3.0},
        "outputs": {"estimating_error": 0.717631886576, "gradient_stability": 3.614864692707},
    }
]
