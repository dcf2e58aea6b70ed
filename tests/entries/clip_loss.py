"""clip_loss: symmetric softmax cross entropy of the similarities of pairs."""

import numpy as np

from harness.similarities import directions, gradient_size, log_sum_exp, magnitude, rows, through


def _parts(x, o):
    a, b = directions(x.a, o.normalize), directions(x.b, o.normalize)
    return a, b, x.scale[0] * (a @ b.T)


def _confident(s, axis):
    """lse - S_ii from the others, as small as it may be, and the softmax with p - 1 in place of p on the diagonal."""
    own, rest = np.diag(s), s.copy()
    np.fill_diagonal(rest, -np.inf)
    gap = log_sum_exp(rest, axis) - own if len(s) > 1 else np.full(1, -np.inf)
    loss = np.logaddexp(0, gap)
    p = np.exp(rest - np.expand_dims(own + loss, axis))
    np.fill_diagonal(p, -p.sum(axis=axis))
    return loss, p


def reference(x, o):
    _, _, s = _parts(x, o)
    e = o.label_smoothing
    loss = 0
    for axis in (1, 0):
        loss = loss + (_confident(s, axis)[0] + e * (np.diag(s) - s.mean(axis=axis))).mean() / 2
    return {"loss": loss}


def _weights(x, o, g):
    _, _, s = _parts(x, o)
    n, e = len(s), o.label_smoothing
    w = _confident(s, 0)[1] + _confident(s, 1)[1] + 2 * e * (np.eye(n) - 1 / n)
    return g / (2 * n) * w


def gradient(x, o, g):
    a, b, s = _parts(x, o)
    w = _weights(x, o, g)
    return {
        "a": through(x.a, x.scale[0] * (w @ b), o.normalize),
        "b": through(x.b, x.scale[0] * (w.T @ a), o.normalize),
        "scale": np.array([(w * (a @ b.T)).sum()]),
    }


def scale(x, o):
    """Errors of similarities: f32 sums of d products, times the scale."""
    a, b, _ = _parts(x, o)
    return {"loss": magnitude(a, b, x.scale[0]).max()}


def gradient_scale(x, o, g):
    a, b, s = _parts(x, o)
    n, e = len(s), o.label_smoothing
    # Terms that may cancel: each softmax, and what smoothing takes.
    w = np.abs(g) / (2 * n) * (np.abs(_confident(s, 0)[1]) + np.abs(_confident(s, 1)[1]) + 2 * e * (np.eye(n) + 1 / n))
    sizes = magnitude(a, b, x.scale[0])
    sizes = np.maximum(sizes.max(axis=1, keepdims=True), sizes.max(axis=0, keepdims=True))
    return {
        "a": gradient_size(x.a, w, b, sizes, x.scale[0], o.normalize),
        "b": gradient_size(x.b, w.T, a, sizes.T, x.scale[0], o.normalize),
        "scale": np.array([(w * (1 + sizes) * (np.abs(a) @ np.abs(b).T)).sum()]),
    }


def _scales(rng, shape, distribution, sizes):
    return {"normal": 1 / 0.07, "heavy": 100.0, "offset": 30.0, "extreme": 10.0, "tiny": 0.1}.get(distribution, 2.0) * np.ones(shape)


OPTIONS = {"label_smoothing": [0.0, 0.1, 1.0], "normalize": [True, False]}
SAMPLERS = {"a": rows, "b": rows, "scale": _scales}
#: Around the sizes of tiles and vectors. The last is for threads.
SHAPES = [
    {"n": n, "d": d}
    for n, d in [(1, 3), (2, 1), (4, 5), (9, 17), (16, 2), (33, 8), (64, 5), (65, 31), (131, 67), (300, 3), (520, 20)]
]

EXAMPLES = [
    {
        "inputs": {
            "a": [[1.0, 0.5], [-0.5, 1.0], [0.25, -1.0]],
            "b": [[0.75, 0.5], [-0.25, 1.0], [0.5, -0.5]],
            "scale": [2.0],
        },
        "outputs": {"loss": 0.237708615041},
        "gradients": {
            "a": [[0.020389487312, -0.040778974623], [0.059659888009, 0.029829944004], [-0.019088570019, -0.004772142505]],
            "b": [[-0.045943671763, 0.068915507644], [0.12292610562, 0.030731526405], [0.201780704543, 0.201780704543]],
            "scale": [-0.177459387089],
        },
    }
]


def _sample(call, n, d):
    rng = np.random.default_rng(0)
    return call.floats(rng.standard_normal((n, d))), call.floats(rng.standard_normal((n, d)))


def test_sides_are_alike(call):
    a, b = _sample(call, 150, 20)
    scale = np.float32([10.0])
    one, two = call(a, b, scale), call(b, a, scale)
    assert np.isclose(one.loss, two.loss, rtol=1e-6)
    g, h = one.backward(), two.backward()
    near = {4: 3e-6, 2: 2e-2}[call.dtype.itemsize]
    for name, other in (("a", "b"), ("b", "a"), ("scale", "scale")):
        x, y = g[name].astype(float), h[other].astype(float)
        assert np.abs(x - y).max() <= near * np.abs(x).max()


def test_is_the_mean_of_info_nce_both_ways(call):
    import losskit

    if "info_nce" not in losskit.entries():
        return
    a, b = _sample(call, 90, 7)
    other = call.other("info_nce")
    both = [float(other(x, y, temperature=0.125).loss) for x, y in ((a, b), (b, a))]
    assert np.isclose(call(a, b, np.float32([8.0])).loss, sum(both) / 2, rtol=1e-6)


def test_single_gradients(call):
    """Each gradient is the same whichever others are wanted."""
    a, b = _sample(call, 70, 6)
    scale = np.float32([20.0])
    result = call(a, b, scale)
    every = result.backward()
    for name in every:
        alone = result.backward(wanted=[name])[name]
        assert np.array_equal(alone, every[name])


def test_one_pair_and_zero_rows(call):
    a, b = _sample(call, 1, 4)
    assert abs(call(a, b, np.float32([5.0]), label_smoothing=0.3).loss) < 5e-6
    a, b = _sample(call, 5, 4)
    a[2] = 0
    result = call(a, b, np.float32([5.0]))
    assert np.isfinite(result.loss)
    if call.dtype.itemsize == 4:
        assert all(np.isfinite(g).all() for g in result.backward().values())


def test_scale_must_be_positive(call):
    import losskit
    import pytest

    a, b = _sample(call, 3, 4)
    if call.context.kind == "cpu":
        with pytest.raises(losskit.InvalidArgument, match="'scale' has value 0 at element 0"):
            call(a, b, np.float32([0.0]))
