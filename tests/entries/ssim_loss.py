"""ssim_loss: structural similarity."""

from types import SimpleNamespace

import numpy as np


def _window(o, dtype):
    i = np.arange(o.window, dtype=dtype) - o.window // 2
    w = np.exp(-((i / o.sigma) ** 2) / 2)
    return w / w.sum()


def _filter(a, w):
    """Valid positions, along the last two axes."""
    n = len(w)
    for axis in (-2, -1):
        length = a.shape[axis] - n + 1
        a = sum(w[t] * np.take(a, np.arange(t, t + length), axis=axis) for t in range(n))
    return a


def _spread(a, w):
    """The transpose of _filter."""
    n = len(w)
    pad = [(0, 0)] * (a.ndim - 2) + [(n - 1, n - 1)] * 2
    return _filter(np.pad(a, pad), w[::-1])


def _parts(x, o):
    a, b = x.pred, x.target
    w = _window(o, a.dtype)
    mx, my = _filter(a, w), _filter(b, w)
    # About the mean, which changes nothing but rounding.
    ca, cb = (v - v.mean(axis=(2, 3), keepdims=True) for v in (a, b))
    cx, cy = _filter(ca, w), _filter(cb, w)
    v = _filter(ca**2 + cb**2, w) - cx**2 - cy**2
    difference = _filter((ca - cb) ** 2, w) - (cx - cy) ** 2
    d1 = mx**2 + my**2 + (o.k1 * o.data_range) ** 2
    d2 = v + (o.k2 * o.data_range) ** 2
    l, cs = 1 - (mx - my) ** 2 / d1, 1 - difference / d2
    loss = (mx - my) ** 2 / d1 + l * difference / d2
    return SimpleNamespace(w=w, mx=mx, my=my, ca=ca, cb=cb, cx=cx, cy=cy, d1=d1, d2=d2, l=l, cs=cs, loss=loss)


def reference(x, o):
    if x.pred.shape[0] == 0:
        return {"loss": np.zeros(0), "ssim": np.zeros(0)}
    loss = _parts(x, o).loss.mean(axis=(1, 2, 3))
    return {"loss": loss, "ssim": 1 - loss}


def _each(x, r, s):
    return -s[:, None, None, None] / r.l[0].size


def gradient(x, o, s):
    r = _parts(x, o)
    g = _each(x, r, s)
    dc, dv = 2 * r.l / r.d2, -r.l * r.cs / r.d2
    result = {}
    for name, own, m, other, m_other, c, c_other in (
        ("pred", r.ca, r.mx, r.cb, r.my, r.cx, r.cy),
        ("target", r.cb, r.my, r.ca, r.mx, r.cy, r.cx),
    ):
        dm = r.cs * (2 * m_other - 2 * r.l * m) / r.d1
        through_mean = _spread(dm - 2 * c * dv - c_other * dc, r.w)
        result[name] = g * (through_mean + 2 * own * _spread(dv, r.w) + other * _spread(dc, r.w))
    return result


def _sizes(x, o):
    """Squares are about the mean of a tile, so a variance has the error of the mean square there; 1 - cs and
    the slopes inherit it over D2. In terms of the sum s and the difference d of the images."""
    r = _parts(x, o)
    s, d = r.ca + r.cb, r.ca - r.cb
    shift = np.abs((x.pred - x.target).mean(axis=(2, 3), keepdims=True))
    squares, of_d = _filter(s**2 + d**2, r.w) / r.d2 / 2, _filter(d**2, r.w) / r.d2
    mean_d = _filter(np.abs(d), r.w) + shift
    u = mean_d**2 / r.d1
    e = of_d + (1 - r.cs) * squares
    return r, s, d, u, e, squares, mean_d


def scale(x, o):
    if x.pred.shape[0] == 0:
        return {}
    _, _, _, u, e, _, _ = _sizes(x, o)
    size = (u + e).mean(axis=(1, 2, 3))
    return {"loss": size, "ssim": 1 + size}


def gradient_scale(x, o, s):
    r, a, d, u, e, squares, mean_d = _sizes(x, o)
    g = np.abs(_each(x, r, s))
    of_variance_s = (e + (1 - r.cs) * squares) / r.d2
    of_variance_d = (1 + e + squares) / r.d2
    of_mean = (1 + e) * (2 * mean_d + u * np.abs(r.mx + r.my)) / r.d1
    through = of_mean + _filter(np.abs(a), r.w) * of_variance_s + _filter(np.abs(d), r.w) * of_variance_d
    size = _spread(through, r.w) + np.abs(a) * _spread(of_variance_s, r.w) + np.abs(d) * _spread(of_variance_d, r.w)
    size = g * np.broadcast_to(size.max(axis=(1, 2, 3), keepdims=True), size.shape)
    return {"pred": size, "target": size}


OPTIONS = {
    "window": [11, 3, 1, 7],
    "sigma": [1.5, 0.5, 4.0],
    "data_range": [1.0, 255.0],
    "k1": [0.01, 0.1],
    "k2": [0.03, 0.2],
}


def possible(dims, o):
    return min(dims["height"], dims["width"]) >= o.window


def _shape(batch, channels, height, width):
    return {"batch": batch, "channels": channels, "height": height, "width": width}


SHAPES = [
    _shape(3, 2, 11, 11), _shape(2, 1, 13, 17), _shape(1, 3, 16, 33), _shape(5, 1, 31, 12), _shape(2, 2, 24, 67),
    _shape(1, 1, 11, 64), _shape(2, 1, 64, 11), _shape(3, 1, 29, 47), _shape(1, 2, 37, 128), _shape(1, 1, 263, 19),
    _shape(1, 1, 19, 263), _shape(2, 1, 257, 300), _shape(1, 2, 530, 270),
]  # fmt: skip

EXAMPLES = [
    {
        "inputs": {
            "pred": [[[[0.0, 0.0625, 0.125, 0.1875], [0.25, 0.3125, 0.375, 0.4375], [0.5, 0.5625, 0.625, 0.6875], [0.75, 0.8125, 0.875, 0.9375]]]],
            "target": [[[[0.9375, 0.875, 0.8125, 0.75], [0.6875, 0.625, 0.5625, 0.5], [0.4375, 0.375, 0.3125, 0.25], [0.1875, 0.125, 0.0625, 0.0]]]],
        },
        "options": {"window": 3},
        "outputs": {"loss": 1.842805842019, "ssim": [-0.842805842019]},
        "gradients": {
            "pred": [[[[0.032460043508, 0.059647384278, 0.057499110432, 0.019770371358], [0.025433333855, 0.039210161022, 0.037296904415, 0.00862171592], [0.018292767608, 0.025837209099, 0.024572827827, 0.004088657346], [-0.012461651959, -0.030584626904, -0.030125393078, -0.014673045935]]]],
            "target": [[[[-0.014673045935, -0.030125393078, -0.030584626904, -0.012461651959], [0.004088657346, 0.024572827827, 0.025837209099, 0.018292767608], [0.00862171592, 0.037296904415, 0.039210161022, 0.025433333855], [0.019770371358, 0.057499110432, 0.059647384278, 0.032460043508]]]],
        },
    }
]  # fmt: skip


def _images(call, noise=0.1, shape=(2, 3, 40, 53)):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: shape[2], : shape[3]]
    a = 0.5 + 0.3 * np.sin(x / 5) * np.cos(y / 7) + np.zeros(shape)
    return call.floats(a), call.floats(a + noise * rng.standard_normal(shape))


def test_equal_images(call):
    a, _ = _images(call)
    result = call(a, a)
    assert result.loss == 0 and (result.ssim == 1).all()
    assert all(not g.astype(float).any() for g in result.backward().values())


def test_symmetric(call):
    a, b = _images(call)
    one, two = call(a, b), call(b, a)
    assert np.isclose(one.loss, two.loss, rtol=1e-6)
    g, h = one.backward(), two.backward()
    close = {"rtol": 1e-5, "atol": 1e-8} if call.dtype.itemsize == 4 else {"rtol": 1e-2, "atol": 1e-6}
    assert np.allclose(g["pred"].astype(float), h["target"].astype(float), **close)


def test_flat_bright_images(call):
    """Where squares about 0 would leave no digits of the variance."""
    if call.dtype.itemsize != 4:
        return
    rng = np.random.default_rng(0)
    a = (0.9 + 1e-3 * rng.standard_normal((1, 1, 64, 64))).astype(np.float32)
    b = (a + 1e-4 * rng.standard_normal(a.shape)).astype(np.float32)
    call.compare({"pred": a, "target": b}, {})


def test_window_too_large(call):
    import losskit
    import pytest

    a, b = _images(call, shape=(1, 1, 12, 9))
    with pytest.raises(losskit.InvalidArgument, match="'width' is 9, expected at least 11"):
        call(a, b)
    with pytest.raises(losskit.InvalidOption, match="'window' is 4, expected an odd number"):
        call(a, b, window=4)


def test_one_gradient_at_a_time(call):
    a, b = _images(call)
    result = call(a, b)
    both = result.backward()
    for name in ("pred", "target"):
        one = result.backward(wanted=[name])[name].astype(float)
        assert np.abs(one - both[name].astype(float)).max() <= (1e-6 if call.dtype.itemsize == 4 else 1e-2) * np.abs(one).max()
