"""token_cross_entropy: softmax cross entropy."""

import numpy as np


def _rows(x, o):
    z = x.logits
    capped = o.softcap * np.tanh(z / o.softcap) if o.softcap > 0 else z
    w = np.ones(z.shape[1], z.dtype) if x.class_weights is None else x.class_weights
    counted = x.labels != o.ignore_index
    y = np.where(counted, x.labels, 0)
    top = capped.max(axis=1, keepdims=True)
    lse = top + np.log(np.exp(capped - top).sum(axis=1, keepdims=True))
    log_p = capped - lse
    # -log p_y = log(1 + sum of the others), which keeps its digits where p_y is near 1.
    own = np.arange(z.shape[1]) == y[:, None]
    d = capped - _own(capped, y)[:, None]
    high = np.maximum(np.where(own, -np.inf, d).max(axis=1), 0)
    others = np.where(own, 0, np.exp(d - high[:, None])).sum(axis=1)
    v = np.where(high == 0, np.log1p(others), high + np.log(others + np.exp(-high)))
    return capped, w, counted, y, own, log_p, v, lse[:, 0], top[:, 0]


def _own(a, y):
    return np.take_along_axis(a, y[:, None], axis=1)[:, 0]


def reference(x, o):
    capped, w, counted, y, own, log_p, v, lse, _ = _rows(x, o)
    e, classes = o.label_smoothing, log_p.shape[1]
    loss = 0 * lse
    if e < 1:
        loss = loss + (1 - e) * w[y] * v
    if e > 0:
        loss = loss - e / classes * np.where(w == 0, 0, w * log_p).sum(axis=1)
    if o.z_weight > 0:
        loss = loss + o.z_weight * lse**2
    return {"loss": np.where(counted, loss, 0)}


def count(x, o):
    w = np.ones(x.logits.shape[1]) if x.class_weights is None else x.class_weights
    counted = x.labels != o.ignore_index
    return (w[np.where(counted, x.labels, 0)] * counted).sum()


def gradient(x, o, s):
    capped, w, counted, y, own, log_p, v, lse, _ = _rows(x, o)
    e, classes = o.label_smoothing, log_p.shape[1]
    p = np.exp(log_p)
    # Q p_k - q_k in its two parts; p_y - 1 as minus the sum of the others.
    others = np.where(own, 0, p)
    g = (1 - e) * w[y][:, None] * np.where(own, -others.sum(axis=1, keepdims=True), p)
    g = g + e / classes * (w.sum() * p - w) + 2 * o.z_weight * lse[:, None] * p
    if o.softcap > 0:
        g = g * (1 - (capped / o.softcap) ** 2)
    return {"logits": np.where(counted[:, None], s[:, None] * g, 0)}


def scale(x, o):
    """The terms are all positive. Within them, lse = max + log(sum) cancels where it is near 0, and the cap
    rounds logits of its own size to f32 before their difference is taken."""
    capped, w, counted, y, own, log_p, v, lse, top = _rows(x, o)
    e, classes = o.label_smoothing, log_p.shape[1]
    cap = np.abs(capped).max(axis=1) if o.softcap > 0 else np.zeros(len(capped))
    size = (1 - e) * w[y] * (cap + v) + e / classes * (w * (cap[:, None] - log_p)).sum(axis=1)
    size = size + o.z_weight * (np.abs(top) + np.abs(lse - top)) ** 2
    return {"loss": np.where(counted, size, 0)}


def gradient_scale(x, o, s):
    """The largest gradient of the row, before the factor of the cap: 1 - (z/c)^2 is a difference of numbers
    near 1 for capped logits near the cap. With smoothing and z penalty p_k and q_k may cancel in every
    element of a row; their size is what counts. lse itself cancels between max and log(sum)."""
    capped, w, counted, y, own, log_p, v, lse, top = _rows(x, o)
    e, classes = o.label_smoothing, log_p.shape[1]
    p = np.exp(log_p)
    hard = (1 - e) * w[y] * np.where(own, 0, p).sum(axis=1)
    soft = e / classes * (w.sum() * p + w) + 2 * o.z_weight * (np.abs(top) + np.abs(lse - top))[:, None] * p
    size = np.maximum(hard, soft.max(axis=1))
    return {"logits": np.broadcast_to((np.abs(s) * counted * size)[:, None], capped.shape)}


def _weights(rng, shape, distribution, _sizes):
    w = 3 * rng.random(shape)
    return w * (rng.random(shape) > 0.2) if distribution == "normal" else w + 0.1


SAMPLERS = {"class_weights": _weights}

OPTIONS = {
    "label_smoothing": [0.0, 0.1, 1.0],
    "ignore_index": [-100, 0, -1],
    "z_weight": [0.0, 1e-4, 0.5],
    "softcap": [0.0, 30.0, 2.5],
}

EXAMPLES = [
    {
        "inputs": {"logits": [[0.5, -1.25, 0.25], [3.0, 0.0, 2.5]], "labels": [0, 2]},
        "options": {"label_smoothing": 0.1, "z_weight": 0.01},
        "outputs": {"loss": 0.971785097641},
        "gradients": {
            "logits": [[-0.204606791676, 0.028872511231, 0.187425769188], [0.30636674652, -0.000583780039, -0.270736997457]]
        },
    }
]


def _sample(call, rows=5, classes=37, seed=0):
    rng = np.random.default_rng(seed)
    return call.floats(3 * rng.standard_normal((rows, classes))), rng.integers(0, classes, rows)


def test_shift_invariant(call):
    z, y = _sample(call)
    z = call.floats(np.round(z.astype(float)))
    assert call(z, y, reduction="none").loss.tolist() == call(call.floats(z.astype(float) + 64), y, reduction="none").loss.tolist()


def test_gradient_rows_sum_to_zero(call):
    z, y = _sample(call)
    sums = call(z, y, label_smoothing=0.3, reduction="sum").backward()["logits"].astype(float).sum(axis=1)
    assert np.abs(sums).max() < {4: 1e-6, 2: 2e-2}[z.itemsize]


def test_full_smoothing_does_not_depend_on_the_label(call):
    z, y = _sample(call)
    one = call(z, y, label_smoothing=1.0, reduction="none")
    two = call(z, (y + 3) % 37, label_smoothing=1.0, reduction="none")
    assert np.allclose(one.loss, two.loss, rtol=1e-6)


def test_minus_infinity_has_no_probability(call):
    z = call.floats([[1.0, -np.inf, 2.0, -np.inf]])
    result = call(z, [0])
    assert np.isclose(result.loss, np.logaddexp(1, 2) - 1, rtol=1e-6)
    assert result.backward()["logits"][0, [1, 3]].astype(float).tolist() == [0, 0]


def test_minus_infinity_at_the_label(call):
    z = call.floats([[1.0, -np.inf, 2.0]])
    result = call(z, [1])
    assert result.loss == np.inf
    p = 1 / (1 + np.e)
    got = result.backward()["logits"].astype(float)
    assert np.allclose(got, [[p, -1, 1 - p]], rtol=1e-6 if z.itemsize == 4 else 1e-2)


def test_only_minus_infinity_is_nan(call):
    z = call.floats([[-np.inf, -np.inf], [1.0, 2.0]])
    result = call(z, [0, 1], reduction="none")
    assert np.isnan(result.loss[0]) and np.isfinite(result.loss[1])
    gradient = result.backward()["logits"].astype(float)
    assert np.isnan(gradient[0]).all() and np.isfinite(gradient[1]).all()


def test_nan_among_minus_infinity(call):
    for classes in (9, 100, 1500):
        z = np.full((2, classes), -np.inf)
        z[:, 0], z[0, 5] = 1.0, np.nan
        result = call(logits=call.floats(z), labels=[0, 0], reduction="none")
        assert np.isnan(result.loss[0]) and result.loss[1] == 0
        assert np.isnan(result.backward()["logits"][0].astype(float)).any()


def test_weights_that_sum_to_zero(call):
    z, y = _sample(call, 3, 4)
    result = call(z, y, class_weights=call.floats(np.zeros(4)))
    assert result.loss == 0 and not result.backward()["logits"].astype(float).any()


def test_tiny_losses_keep_their_digits(call):
    z = call.floats([[30.0, 0.0]])
    result = call(z, [0])
    assert abs(result.loss / np.log1p(np.exp(-30.0)) - 1) < 1e-6
    expected = -np.exp(-30.0)
    got = float(result.backward()["logits"][0, 0])
    assert abs(got / expected - 1) < 1e-6 if z.itemsize == 4 else abs(got - expected) < 1e-7


def test_confident_rows(call):
    """Where the label is far ahead, loss and gradients are of the size of the other terms, exp(-margin)."""
    if call.dtype.itemsize != 4:
        return
    rng = np.random.default_rng(0)
    margin = np.array([1, 3, 6, 10, 15, 20, 30, 45, 60, 80.0])
    z = rng.uniform(-2, 0, (10, 12)) - margin[:, None]
    y = rng.integers(0, 12, 10)
    z[np.arange(10), y] = 0
    z = z.astype(np.float32)
    call.compare({"logits": z, "labels": y}, {"reduction": "none"})
    z = -rng.uniform(1, 86, (200, 2)).astype(np.float32)
    z[:, 0] = 0
    call.compare({"logits": z, "labels": np.zeros(200, np.int64)}, {"reduction": "none"})
