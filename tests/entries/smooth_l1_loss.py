"""smooth_l1_loss: a square below beta, a line from there on."""

import numpy as np

def reference(x, o):
    d = np.abs(x.pred - x.target)
    with np.errstate(all="ignore"):
        return {"loss": np.where(d < o.beta, d**2 / (2 * o.beta), d - o.beta / 2)}


def gradient(x, o, s):
    d = x.pred - x.target
    with np.errstate(all="ignore"):
        g = s * np.where(np.abs(d) < o.beta, d / o.beta, np.sign(d))
    return {"pred": g, "target": -g}


OPTIONS = {"beta": [1.0, 0.125, 5.0, 0.0]}

EXAMPLES = [
    {
        "inputs": {"pred": [0.5, -1.25, 3.0], "target": [0.0, 1.0, 2.5]},
        "outputs": {"loss": 0.666666666667},
        "gradients": {"pred": [0.166666666667, -0.333333333333, 0.166666666667], "target": [-0.166666666667, 0.333333333333, -0.166666666667]},
    }
]


def test_beta_zero_is_l1(call):
    rng = np.random.default_rng(0)
    a, b = (call.floats(rng.standard_normal(257)) for _ in range(2))
    assert call(a, b, beta=0.0).loss == call.other("l1_loss")(a, b).loss


def test_is_huber_over_beta(call):
    rng = np.random.default_rng(0)
    a, b = (call.floats(rng.standard_normal(257)) for _ in range(2))
    huber = call.other("huber_loss")(a, b, delta=0.5).loss
    assert abs(0.5 * call(a, b, beta=0.5).loss / huber - 1) < 1e-6
