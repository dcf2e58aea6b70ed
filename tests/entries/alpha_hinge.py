"""alpha_hinge: hinge loss with control over lazy and feature learning."""

import numpy as np

def _violation(x, o):
    return o.margin - o.alpha * x.target * (x.scores - x.initial)


def reference(x, o):
    return {"loss": np.maximum(0, _violation(x, o)) / o.alpha**o.scale_power}


def gradient(x, o, s):
    h = _violation(x, o)
    return {"scores": np.where(h > 0, -s * x.target * o.alpha ** (1 - o.scale_power), np.where(np.isnan(h), h, 0))}


def scale(x, o):
    return {"loss": (o.margin + o.alpha * np.abs(x.scores - x.initial)) / o.alpha**o.scale_power}


def _signs(rng, shape, distribution, _sizes):
    return rng.choice([-1.0, 1.0], shape)


OPTIONS = {"alpha": [1.0, 0.125, 8.0], "margin": [1.0, 0.5], "scale_power": [2.0, 0.0, 1.0]}
SAMPLERS = {"target": _signs}

EXAMPLES = [
    {
        "inputs": {"scores": [0.5, -1.25, 3.0], "initial": [0.25, 0.0, 0.5], "target": [1.0, -1.0, -1.0]},
        "options": {"alpha": 2.0},
        "outputs": {"loss": 0.541666666667},
        "gradients": {"scores": [-0.166666666667, 0.0, 0.166666666667]},
    }
]


def test_is_the_hinge_loss(call):
    rng = np.random.default_rng(0)
    f, t = call.floats(rng.standard_normal(257)), call.floats(rng.choice([-1.0, 1.0], 257))
    assert call(f, np.zeros_like(f), t).loss == call.other("hinge_loss")(f, t).loss
