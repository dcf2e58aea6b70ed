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


def gradient_scale(x, o, s):
    """The terms of an element, [k = y] and 1/C + u_y u_k / C, cancel where the label is an outlier, and always
    with two classes. Where the slope is small, an error of u_y (1.2e-7 of it: mean and deviation are f32)
    comes back multiplied by a."""
    counted, _, std, u, u_y = _rows(x, o)
    slope = 1 / (1 + np.exp(-o.a * (o.b - u_y)))
    size = slope * (1 + (1 - slope) * o.a * np.abs(u_y) / 4) / np.where(std == 0, np.inf, std)
    return {"logits": np.broadcast_to(np.abs(s)[:, None] * counted[:, None] * size, u.shape)}


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


def test_an_outlier_in_the_first_place(call):
    """What comes first in a row must not matter."""
    if call.dtype.itemsize != 4:
        return
    rng = np.random.default_rng(0)
    z = rng.standard_normal((1, 5000)).astype(np.float32)
    z[0, 0] = 1e4
    moved = np.roll(z, 17, axis=1)
    for label in (0, 1):
        for a, b in ((0.1, 10.0), (25.0, -2.0)):
            one, two = call(z, [label], a=a, b=b), call(moved, [label + 17], a=a, b=b)
            if np.isfinite(one.loss) and one.loss > 1e-30:
                assert np.isclose(one.loss, two.loss, rtol=2e-6), (label, a, b, one.loss, two.loss)
            g, h = (r.backward()["logits"].astype(float) for r in (one, two))
            h = np.roll(h, -17, axis=1)
            assert np.abs(g - h).max() <= 1e-6 * np.abs(h).max(), (label, a, b, np.abs(g - h).max() / np.abs(h).max())
