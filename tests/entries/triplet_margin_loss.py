"""triplet_margin_loss: distances of an anchor to a positive and a negative."""

import numpy as np


def _parts(x, o):
    u = [x.anchor - x.positive + o.eps, x.anchor - x.negative + o.eps, x.positive - x.negative + o.eps]
    with np.errstate(all="ignore"):
        most = [np.abs(v).max(axis=1, keepdims=True) for v in u]
        d = [(m * (np.where(m == 0, 0, np.abs(v) / np.where(m == 0, 1, m)) ** o.p).sum(axis=1, keepdims=True) ** (1 / o.p)) for v, m in zip(u, most)]
    swapped = ~(d[1] <= d[2]) if o.swap else np.zeros(d[0].shape, bool)
    return u, d, swapped, o.margin + d[0] - np.where(swapped, d[2], d[1])


def reference(x, o):
    return {"loss": np.maximum(0, _parts(x, o)[3])[:, 0]}


def gradient(x, o, s):
    u, d, swapped, excess = _parts(x, o)
    with np.errstate(all="ignore"):
        slopes = [np.where(r == 0, 0, np.sign(v) * np.abs(v / r) ** (o.p - 1)) for v, r in zip(u, d)]
    w = np.where(excess > 0, s[:, None], 0)
    near, far, other = w * slopes[0], w * np.where(swapped, 0, slopes[1]), w * np.where(swapped, slopes[2], 0)
    return {"anchor": near - far, "positive": -near - other, "negative": far + other}


def scale(x, o):
    """A difference of distances, of differences of coordinates in f32."""
    _, d, swapped, _ = _parts(x, o)
    return {"loss": (o.margin + d[0] + np.where(swapped, d[2], d[1]))[:, 0]}


def gradient_scale(x, o, s):
    """Each is the difference of two unit vectors; a coordinate near -eps is the rounding of a sum."""
    u, d, swapped, excess = _parts(x, o)
    size = np.where(excess > 0, np.abs(s[:, None]), 0)
    with np.errstate(all="ignore"):
        largest = [np.where(r == 0, 0, np.abs(v / r) ** (o.p - 1)).max(axis=1, keepdims=True) for v, r in zip(u, d)]
    size = size * (largest[0] + np.where(swapped, largest[2], largest[1])) * max(1, o.p / 2)
    return {name: size for name in ("anchor", "positive", "negative")}


def _around(rng, shape, distribution, _sizes):
    """Two of three points far from each other, so that the choice between them does not hang on rounding."""
    return 5 + {"tiny": 1e-2, "heavy": 10.0}.get(distribution, 2.0) * rng.standard_normal(shape)


OPTIONS = {"margin": [1.0, 0.1, 20.0], "p": [2.0, 1.0, 3.0, 1.5], "eps": [1e-6, 0.0, 0.125], "swap": [False, True]}
SAMPLERS = {"negative": _around}

EXAMPLES = [
    {
        "inputs": {"anchor": [[1.0, 2.0]], "positive": [[2.0, 1.5]], "negative": [[0.5, -0.25]]},
        "options": {"margin": 2.0},
        "outputs": {"loss": 0.813146234096},
        "gradients": {"anchor": [[-1.111357433729, -0.528972319912]], "positive": [[0.894426654343, -0.447214668813]], "negative": [[0.216930779386, 0.976186988724]]},
    }
]


def test_equal_vectors(call):
    x = call.floats(np.ones((2, 7)))
    for p in (1.0, 2.0, 3.0):
        result = call(x, x, x, p=p, eps=0.0, reduction="none")
        assert list(result.loss) == [1, 1]
        assert not any(g.astype(float).any() for g in result.backward().values())


def test_swap_takes_the_nearer(call):
    a, p, n = (call.floats([v]) for v in ([0.0, 0.0], [1.0, 0.0], [1.5, 0.0]))
    one, two = call(a, p, n, margin=2.0, eps=0.0), call(a, p, n, margin=2.0, eps=0.0, swap=True)
    assert one.loss == 1.5 and two.loss == 2.5
    assert (two.backward()["anchor"].astype(float) == [[-1, 0]]).all()
