"""label_distributionally_robust: worst case over distributions of the label."""

import numpy as np


def _rows(x, o):
    z = x.logits
    counted = x.labels != o.ignore_index
    y = np.where(counted, x.labels, 0)[:, None]
    own = np.arange(z.shape[1]) == y
    return counted, own, np.where(own, 0, z - np.take_along_axis(z, y, axis=1) + o.margin)


def _softmax(d, t):
    u = d / t
    top = u.max(axis=1, keepdims=True)
    e = np.exp(u - top)
    return e / e.sum(axis=1, keepdims=True), (top + np.log(e.sum(axis=1, keepdims=True)))[:, 0]


def _temperatures(d, o):
    """By bisection."""
    low = np.full(len(d), o.temperature, d.dtype)
    if not o.adaptive:
        return low
    high = low + np.log(d.shape[1]) / o.alpha
    for _ in range(90):
        t = (low + high) / 2
        p, lse = _softmax(d, t[:, None])
        with np.errstate(all="ignore"):
            log_p = d / t[:, None] - lse[:, None]
            divergence = np.log(d.shape[1]) + np.where(p > 0, p * log_p, 0).sum(axis=1)
        more = o.alpha * (t - o.temperature) < divergence
        low, high = np.where(more, t, low), np.where(more, high, t)
    return np.where(np.isnan(d).any(axis=1), np.nan, (low + high) / 2)


def reference(x, o):
    counted, _, d = _rows(x, o)
    t = _temperatures(d, o)
    loss = t * (_softmax(d, t[:, None])[1] - np.log(d.shape[1])) + (o.alpha / 2 * (t - o.temperature) ** 2 if o.adaptive else 0)
    return {"loss": np.where(counted, loss, 0), "temperatures": np.where(counted, t, 0)}


def count(x, o):
    return (x.labels != o.ignore_index).sum()


def gradient(x, o, s):
    counted, own, d = _rows(x, o)
    p = _softmax(d, _temperatures(d, o)[:, None])[0]
    p = np.where(own, -np.where(own, 0, p).sum(axis=1, keepdims=True), p)
    return {"logits": np.where(counted[:, None], s[:, None] * p, 0)}


def scale(x, o):
    """The logarithm of a sum less that of its number of terms. A row's own temperature comes from the same
    difference, over alpha."""
    counted, _, d = _rows(x, o)
    t, log = _temperatures(d, o), np.log(d.shape[1])
    lse = _softmax(d, t[:, None])[1]
    return {"loss": counted * t * (np.abs(lse) + log), "temperatures": counted * (t + (log / o.alpha if o.adaptive else 0))}


def gradient_scale(x, o, s):
    """A relative error of the temperature is one of every exponent."""
    counted, own, d = _rows(x, o)
    t = _temperatures(d, o)[:, None]
    p = _softmax(d, t)[0]
    u = np.where(p > 0, (d - d.max(axis=1, keepdims=True)) / t, 0)
    error = (1 + np.log(d.shape[1]) / o.alpha / t) * np.abs(u - (p * u).sum(axis=1, keepdims=True)) if o.adaptive else 0
    size = (np.where(own, 1 - p, p) + p * error).max(axis=1, keepdims=True)
    return {"logits": np.abs(s)[:, None] * counted[:, None] * size}


OPTIONS = {
    "temperature": [1.0, 0.1, 30.0],
    "margin": [0.1, 0.0, 2.0],
    "adaptive": [False, True],
    "alpha": [1.0, 0.05, 20.0],
    "ignore_index": [-100, 0],
}

EXAMPLES = [
    {
        "inputs": {"logits": [[0.5, -1.25, 0.25], [3.0, 0.0, 2.5]], "labels": [0, 2]},
        "outputs": {"loss": -0.204456471368, "temperatures": [1.0, 1.0]},
        "gradients": {"logits": [[-0.256425244476, 0.046778509541, 0.209646734935], [0.312773930446, 0.015572097059, -0.328346027505]]},
    }
]


def _sample(call, classes=37):
    rng = np.random.default_rng(0)
    return call.floats(3 * rng.standard_normal((7, classes))), rng.integers(0, classes, 7)


def test_temperature_one_without_margin_is_cross_entropy(call):
    z, y = _sample(call)
    one, other = call(z, y, margin=0.0), call.other("token_cross_entropy")(z, y)
    assert abs(one.loss + np.log(37) - other.loss) < 1e-5
    theirs = other.backward()["logits"].astype(float)
    np.testing.assert_allclose(one.backward()["logits"].astype(float), theirs, atol=1e-6 if call.dtype.itemsize == 4 else 1e-3)


def test_small_temperature_is_the_largest_margin(call):
    z, y = _sample(call)
    loss = call(z, y, temperature=1e-3, margin=0.5, reduction="none").loss
    d = z.astype(float) - np.take_along_axis(z.astype(float), y[:, None], axis=1) + 0.5
    d[np.arange(7), y] = 0
    np.testing.assert_allclose(loss, d.max(axis=1), atol=5e-3)


def test_costly_temperatures_stay(call):
    z, y = _sample(call)
    one, two = call(z, y, adaptive=True, alpha=1e9), call(z, y)
    np.testing.assert_allclose(one.temperatures, 1, rtol=1e-6)
    assert abs(one.loss - two.loss) < 1e-5


def test_flatter_rows_have_lower_temperatures(call):
    z, y = _sample(call)
    flat, sharp = (call(call.floats(f * z.astype(float)), y, adaptive=True).temperatures for f in (0.1, 1.0))
    assert (flat < sharp).all() and (flat >= 1).all()
