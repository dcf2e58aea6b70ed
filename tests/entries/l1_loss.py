"""l1_loss: mean absolute error."""

import numpy as np


def reference(x, o):
    return {"loss": np.abs(x.pred - x.target)}


def gradient(x, o, s):
    g = s * np.sign(x.pred - x.target)
    return {"pred": g, "target": -g}


EXAMPLES = [
    {
        "inputs": {"pred": [0.5, -1.25, 3.0], "target": [0.0, 1.0, 2.5]},
        "outputs": {"loss": 1.083333333333},
        "gradients": {"pred": [0.333333333333, -0.333333333333, 0.333333333333], "target": [-0.333333333333, 0.333333333333, -0.333333333333]},
    }
]


def test_symmetric(call):
    rng = np.random.default_rng(0)
    a, b = (call.floats(rng.standard_normal(257)) for _ in range(2))
    assert call(a, b).loss == call(b, a).loss


def test_keeps_any_shape(call):
    rng = np.random.default_rng(0)
    for shape in [(), (1,), (2, 3, 5), (0, 4), (4, 0)]:
        a, b = (call.floats(rng.standard_normal(shape)) for _ in range(2))
        result = call(a, b, reduction="none")
        assert result.loss.shape == shape
        gradients = result.backward(np.ones(shape, np.float32))
        assert gradients["pred"].shape == gradients["target"].shape == shape
