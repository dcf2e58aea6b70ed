"""fused_linear_sequence_log_prob: sequence_log_prob of hidden weight^T + bias."""

import importlib.util
import os

import numpy as np

from harness import linear

_spec = importlib.util.spec_from_file_location("_sequence", os.path.join(os.path.dirname(__file__), "sequence_log_prob.py"))
_sequence = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_sequence)


def _logits(x):
    return linear.logits(x.hidden, x.weight, x.bias)


def reference(x, o):
    total, counts = _sequence.sums(-linear.neg_log_prob(_logits(x)[0], _sequence.safe_labels(x, o)), x, o)
    return {"log_prob": total / _sequence.divisor(counts, o), "counts": counts}


def gradient(x, o, s):
    t = _sequence.token_scale(x, o, s)
    counted = x.labels != o.ignore_index
    g = np.where(counted[:, None], -t[:, None] * linear.softmax_gradient(_logits(x)[0], _sequence.safe_labels(x, o)), 0)
    return {
        "hidden": np.where(counted[:, None], g @ x.weight, 0),
        "weight": g[counted].T @ x.hidden[counted],
        "bias": g.sum(axis=0),
    }


def scale(x, o):
    """An error e of the logits shifts log p by up to 2 e."""
    z, size = _logits(x)
    total, counts = _sequence.sums(linear.neg_log_prob(z, _sequence.safe_labels(x, o)) + 2 * size.max(axis=1), x, o)
    return {"log_prob": total / _sequence.divisor(counts, o)}


def gradient_scale(x, o, s):
    """An error e of the logits is a relative error of up to 2 e of the probabilities; sums of products are rounded
    relative to the sums of their sizes. Probabilities below 2^-126 are 0 in the library."""
    z, size = _logits(x)
    g = np.abs(linear.softmax_gradient(z, _sequence.safe_labels(x, o))) + linear.UNDERFLOW
    g = np.abs(_sequence.token_scale(x, o, s))[:, None] * g * (1 + 2 * size.max(axis=1, keepdims=True))
    return {
        "hidden": np.broadcast_to((g @ np.abs(x.weight)).max(axis=1, keepdims=True), x.hidden.shape),
        "weight": np.broadcast_to((g.T @ np.abs(x.hidden)).max(axis=1, keepdims=True), x.weight.shape),
        "bias": g.sum(axis=0),
    }


def _weight(rng, shape, distribution, sizes):
    return rng.standard_normal(shape) / np.sqrt(sizes["d"])


def _hidden(rng, shape, distribution, sizes):
    spread = {"normal": 3, "heavy": 10, "offset": 1, "constant": 0, "extreme": 40, "tiny": 1e-4}[distribution]
    return spread * rng.standard_normal(shape) + (distribution in ("offset", "constant"))


SAMPLERS = {
    **_sequence.SAMPLERS,
    "weight": _weight,
    "hidden": _hidden,
    "bias": lambda rng, shape, distribution, sizes: rng.standard_normal(shape),
}

OPTIONS = _sequence.OPTIONS

SHAPES = [
    {"tokens": t, "d": d, "classes": c}
    for t, d, c in [(3, 5, 4), (1, 1, 1), (5, 3, 2), (2, 1, 7), (7, 16, 13), (4, 33, 31), (17, 8, 64), (63, 17, 65), (65, 64, 129), (9, 7, 513), (515, 3, 37)]
]  # fmt: skip

EXAMPLES = [
    {
        "inputs": {
            "hidden": [[0.5, -1.0], [0.25, 2.0]],
            "weight": [[1.0, 0.5], [-0.5, 0.25], [0.0, -1.0]],
            "labels": [0, 2],
            "segments": [0, 1],
        },
        "options": {"sequences": 2},
        "outputs": {"log_prob": [-1.464368784108, -3.625443074815], "counts": [1.0, 1.0]},
        "gradients": {
            "hidden": [[0.838898293961, 0.977858674609], [-0.543795884714, -1.388449590908]],
            "weight": [[0.212641844771, -2.142745753725], [-0.141716662063, -0.432511380671], [-0.070925182708, 2.575257134396]],
        },
    }
]


def test_equals_sequence_log_prob_of_the_logits(call):
    if call.dtype.itemsize != 4:
        return  # the logits would be rounded
    rng = np.random.default_rng(0)
    h, w = call.floats(rng.standard_normal((40, 24))), call.floats(rng.standard_normal((90, 24)) / 5)
    y, s = rng.integers(0, 90, 40), rng.integers(0, 3, 40)
    y[::7] = -100
    z = (h.astype(float) @ w.astype(float).T).astype(np.float32)
    for average in (False, True):
        fused = call(h, w, y, s, sequences=3, average=average)
        plain = call.other("sequence_log_prob")(z, y, s, sequences=3, average=average)
        np.testing.assert_allclose(fused.log_prob, plain.log_prob, rtol=2e-6)
        assert fused.counts.tolist() == plain.counts.tolist()
        up = np.array([0.5, -2, 1], np.float32)
        g = plain.backward(up)["logits"].astype(float)
        for name, expected in {"hidden": g @ w, "weight": g.T @ h}.items():
            np.testing.assert_allclose(fused.backward(up)[name], expected, rtol=1e-4, atol=2e-6 * np.abs(expected).max())
