"""z_loss: shift- and scale-invariant loss of the spherical family."""

import numpy as np


def _rows(x, o):
    z = x.logits
    counted = x.labels != o.ignore_index
    y = np.where(counted, x.labels, 0)[:, None]
    d = z - z.mean(axis=1, keepdims=True)
    # Exactly 0 for a constant row, whatever its mean rounds to.
    d = np.where(z.max(axis=1, keepdims=True) == z.min(axis=1, keepdims=True), 0, d)
    std = np.sqrt((d**2).mean(axis=1, keepdims=True))
    u = np.where(std == 0, 0, d / np.where(std == 0, 1, std))
    own = np.zeros(z.shape, z.dtype)
    np.put_along_axis(own, y, 1, axis=1)
    return counted, own, std, u, np.take_along_axis(u, y, axis=1)


def reference(x, o):
    counted, _, _, _, u_y = _rows(x, o)
    t = o.a * (o.b - u_y[:, 0])
    loss = (np.maximum(t, 0) + np.log1p(np.exp(-np.abs(t)))) / o.a
    return {"loss": np.where(counted, loss, 0)}


def count(x, o):
    return (x.labels != o.ignore_index).sum()


def gradient(x, o, s):
    counted, own, std, u, u_y = _rows(x, o)
    classes = u.shape[1]
    slope = 1 / (1 + np.exp(-o.a * (o.b - u_y)))
    g = -slope * (own - 1 / classes - u_y * u / classes) / np.where(std == 0, np.inf, std)
    return {"logits": np.where(counted[:, None], s[:, None] * g, 0)}


def scale(x, o):
    """The argument a (b - u_y) of the softplus cancels where u_y is near b; and where it is very negative, an
    error of the argument becomes a relative one of the loss."""
    counted, _, _, _, u_y = _rows(x, o)
    t = o.a * (o.b - u_y[:, 0])
    loss = (np.maximum(t, 0) + np.log1p(np.exp(-np.abs(t)))) / o.a
    slope = 1 / (1 + np.exp(-t))
    return {"loss": np.where(counted, np.maximum(loss, slope * (abs(o.b) + np.abs(u_y[:, 0]))), 0)}


OPTIONS = {"a": [0.1, 1.0, 25.0], "b": [10.0, 0.0, -2.0], "ignore_index": [-100, 0]}

EXAMPLES = [
    {
        "inputs": {"logits": [[0.5, -1.25, 0.25], [3.0, 0.0, 2.5]], "labels": [0, 2]},
        "outputs": {"loss": 12.636583925792},
        "gradients": {
            "logits": [[-0.193312737884, -0.032218789647, 0.225531527531], [0.132911537919, 0.026582307584, -0.159493845503]]
        },
    }
]


def _sample(call, classes=37):
    rng = np.random.default_rng(0)
    return call.floats(np.round(16 * rng.standard_normal((7, classes))) / 8), rng.integers(0, classes, 7)


def test_invariant_under_scale_and_shift(call):
    z, y = _sample(call)
    one = call(z, y, reduction="none").loss
    assert np.allclose(call(call.floats(4 * z.astype(float) + 16), y, reduction="none").loss, one, rtol=1e-6)


def test_gradient_is_orthogonal(call):
    z, y = _sample(call)
    g = call(z, y, reduction="sum").backward()["logits"].astype(float)
    z = z.astype(float)
    d = z - z.mean(axis=1, keepdims=True)
    size = np.abs(g).max()
    bound = {4: 1e-6, 2: 1e-2}[call.dtype.itemsize] * size
    assert np.abs(g.sum(axis=1)).max() < 37 * bound
    assert np.abs((g * d).sum(axis=1)).max() < 37 * np.abs(d).max() * bound


def test_constant_row_and_single_class(call):
    for z in (np.full((2, 9), 0.3), np.full((2, 1), 1e4)):
        result = call(call.floats(z), [0, 0], reduction="none")
        assert np.allclose(result.loss, np.log1p(np.exp(-1.0)) / 0.1 + 10, rtol=1e-6)
        assert not result.backward()["logits"].astype(float).any()


def test_large_common_offset(call):
    z, y = _sample(call)
    if call.dtype.itemsize == 4:
        moved = (z.astype(float) + 1e4).astype(np.float32)
        assert np.allclose(call(moved, y, reduction="none").loss, call(z, y, reduction="none").loss, rtol=1e-6)
