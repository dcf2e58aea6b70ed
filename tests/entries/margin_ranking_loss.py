"""margin_ranking_loss: ranks of pairs of scores."""

import numpy as np

def reference(x, o):
    return {"loss": np.maximum(0, o.margin - x.target * (x.a - x.b))}


def gradient(x, o, s):
    h = o.margin - x.target * (x.a - x.b)
    g = np.where(h > 0, s * x.target, np.where(np.isnan(h), h, 0))
    return {"a": -g, "b": g}


def scale(x, o):
    return {"loss": abs(o.margin) + np.abs(x.a - x.b)}


def _signs(rng, shape, distribution, _sizes):
    return rng.choice([-1.0, 1.0], shape)


OPTIONS = {"margin": [0.0, 0.5, 2.0, -1.0]}
SAMPLERS = {"target": _signs}

EXAMPLES = [
    {
        "inputs": {"a": [1.0, 2.0, 0.5], "b": [2.0, 1.0, 0.25], "target": [1.0, 1.0, -1.0]},
        "options": {"margin": 0.5},
        "outputs": {"loss": 0.75},
        "gradients": {"a": [-0.333333333333, -0.0, 0.333333333333], "b": [0.333333333333, 0.0, -0.333333333333]},
    }
]
