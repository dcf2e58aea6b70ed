"""hinge_loss: hinge and squared hinge."""

import numpy as np

def reference(x, o):
    return {"loss": np.maximum(0, o.margin - x.target * x.scores) ** o.p}


def gradient(x, o, s):
    h = o.margin - x.target * x.scores
    return {"scores": np.where(h > 0, -s * x.target * (1 if o.p == 1 else 2 * h), np.where(np.isnan(h), h, 0))}


def scale(x, o):
    return {"loss": (o.margin + np.abs(x.scores)) ** o.p}


def gradient_scale(x, o, s):
    return {"scores": np.abs(s) * (1 if o.p == 1 else 2 * (o.margin + np.abs(x.scores)))}


def _signs(rng, shape, distribution, _sizes):
    return rng.choice([-1.0, 1.0], shape)


OPTIONS = {"margin": [1.0, 0.25, 3.5], "p": [1, 2]}
SAMPLERS = {"target": _signs}

EXAMPLES = [
    {
        "inputs": {"scores": [0.5, -1.25, 3.0], "target": [1.0, -1.0, -1.0]},
        "outputs": {"loss": 1.5},
        "gradients": {"scores": [-0.333333333333, 0.0, 0.333333333333]},
    }
]


def test_kink(call):
    """Gradient 0 at the kink itself."""
    result = call(call.floats([1.0, -1.0]), call.floats([1.0, -1.0]), reduction="sum")
    assert result.loss == 0 and not result.backward()["scores"].astype(float).any()
