"""correctness_aware_calibration: confidence against correctness of the prediction."""

import numpy as np


def _rows(x, o):
    counted = x.labels != o.ignore_index
    t = x.temperatures[:, None]
    m = x.logits.argmax(axis=1)[:, None]
    d = (x.logits - np.take_along_axis(x.logits, m, axis=1)) / t
    own = np.arange(d.shape[1]) == m
    e = np.where(own, 0, np.exp(d))
    rest = e.sum(axis=1)
    p = np.where(own, 1, e) / (1 + rest)[:, None]
    top, others = 1 / (1 + rest), rest / (1 + rest)
    correct = m[:, 0] == x.labels
    error = np.where(correct, -others, top)
    return counted, t[:, 0], own, d, p, top, others, correct, error


def reference(x, o):
    counted, _, _, _, _, top, _, correct, error = _rows(x, o)
    return {"loss": np.where(counted, error**2, 0), "confidence": np.where(counted, top, 0), "correct": counted & correct}


def count(x, o):
    return (x.labels != o.ignore_index).sum()


def gradient(x, o, s):
    counted, t, own, d, p, top, others, _, error = _rows(x, o)
    slope = np.where(counted, 2 * s * error * top / t, 0)
    return {
        "logits": slope[:, None] * np.where(own, others[:, None], -p),
        "temperatures": slope * np.where(p > 0, p * d, 0).sum(axis=1),
    }


def gradient_scale(x, o, s):
    """The rounding of an exponent, counted from the second largest, is an error relative to its term."""
    counted, t, own, d, p, top, others, _, error = _rows(x, o)
    slope = np.abs(np.where(counted, 2 * s * error * top / t, 0))
    second = np.where(own, -np.inf, d).max(axis=1, keepdims=True) if d.shape[1] > 1 else 0
    term = np.where(p > 0, p * (1 + np.maximum(second - d, 0) / 8), 0)
    return {
        "logits": (slope * np.maximum(others, np.where(own, 0, term).max(axis=1)))[:, None],
        "temperatures": slope * np.where(p > 0, term * np.abs(d), 0).sum(axis=1),
    }


def _temperatures(rng, shape, distribution, _sizes):
    return {"tiny": 0.05, "extreme": 30.0}.get(distribution, 0.25) + 2 * rng.random(shape)


OPTIONS = {"ignore_index": [-100, 0]}
SAMPLERS = {"temperatures": _temperatures}

EXAMPLES = [
    {
        "inputs": {"logits": [[0.5, -1.25, 0.25], [3.0, 0.0, 2.5]], "temperatures": [1.5, 0.75], "labels": [0, 2]},
        "outputs": {"loss": 0.357070885159, "confidence": [0.463416736167, 0.652855398455], "correct": [1, 0]},
        "gradients": {"temperatures": [0.038748119951, -0.154171193527], "logits": [[-0.088951791795, 0.023922821319, 0.065028970476], [0.197280042045, -0.006795349649, -0.190484692395]]},
    }
]


def test_hot_rows_have_even_confidence(call):
    z = call.floats(3 * np.random.default_rng(0).standard_normal((3, 8)))
    result = call(z, call.floats([6e4] * 3), [0, 1, 2])
    np.testing.assert_allclose(result.confidence, 1 / 8, rtol=1e-3)


def test_temperature_one_is_softmax(call):
    z = call.floats(3 * np.random.default_rng(0).standard_normal((5, 8)))
    p = np.exp(z.astype(float))
    p /= p.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(call(z, call.floats(np.ones(5)), np.zeros(5, np.int64)).confidence, p.max(axis=1), rtol=1e-6)


def test_first_of_equal_logits_is_the_prediction(call):
    z = call.floats([[1.0, 2.0, 2.0]] * 3)
    result = call(z, call.floats(np.ones(3)), [1, 2, 0], reduction="sum")
    assert list(result.correct) == [1, 0, 0]
    assert (np.sign(result.backward()["logits"].astype(float)) == [[1, -1, 1], [-1, 1, -1], [-1, 1, -1]]).all()


def test_temperatures_must_be_positive(call):
    if call.context.kind == "cpu":
        for bad in (0.0, -1.0):
            try:
                call(call.floats([[0.0, 1.0]]), call.floats([bad]), [0])
            except ValueError as error:
                assert "temperatures" in str(error)
            else:
                raise AssertionError(bad)
