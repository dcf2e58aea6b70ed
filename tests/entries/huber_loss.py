"""huber_loss: a square up to delta, a line from there on."""

import numpy as np

def reference(x, o):
    d = np.abs(x.pred - x.target)
    delta = min(o.delta, 1e300)
    return {"loss": np.where(d <= delta, d**2 / 2, delta * (d - delta / 2))}


def gradient(x, o, s):
    g = s * np.clip(x.pred - x.target, -o.delta, o.delta)
    return {"pred": g, "target": -g}


OPTIONS = {"delta": [1.0, 0.125, 5.0, np.inf]}

EXAMPLES = [
    {
        "inputs": {"pred": [0.5, -1.25, 3.0], "target": [0.0, 1.0, 2.5]},
        "outputs": {"loss": 0.666666666667},
        "gradients": {"pred": [0.166666666667, -0.333333333333, 0.166666666667], "target": [-0.166666666667, 0.333333333333, -0.166666666667]},
    }
]


def test_infinite_delta_is_half_the_squared_error(call):
    rng = np.random.default_rng(0)
    a, b = (call.floats(rng.standard_normal(257)) for _ in range(2))
    assert abs(2 * call(a, b, delta=np.inf).loss / call.other("mse_loss")(a, b).loss - 1) < 1e-6
