"""alpha_scaled_mse: squared error with control over lazy and rich learning."""

import numpy as np

def reference(x, o):
    return {"loss": (o.alpha * (x.pred - x.initial) - x.target) ** 2 / o.alpha**2}


def gradient(x, o, s):
    return {"pred": 2 * s * (o.alpha * (x.pred - x.initial) - x.target) / o.alpha}


def _size(x, o):
    return np.abs(x.pred - x.initial) + np.abs(x.target) / o.alpha


def scale(x, o):
    return {"loss": _size(x, o) ** 2}


def gradient_scale(x, o, s):
    return {"pred": 2 * np.abs(s) * _size(x, o)}


OPTIONS = {"alpha": [1.0, 0.125, 8.0]}

EXAMPLES = [
    {
        "inputs": {"pred": [0.5, -1.25, 3.0], "initial": [0.25, 0.0, 0.5], "target": [1.0, -1.0, -1.0]},
        "options": {"alpha": 2.0},
        "outputs": {"loss": 3.208333333333},
        "gradients": {"pred": [-0.166666666667, -0.5, 2.0]},
    }
]
