"""ensloss: slopes of a calibrated loss drawn at random."""

from types import SimpleNamespace

import numpy as np

from harness.linear import draws


def _draws(x, o):
    if x.draws is not None:
        return x.draws
    n = len(x.scores)
    words = draws(o.seed, o.offset, n + n % 2).astype(np.float64)
    u = (words + 0.5) / 2.0**32
    radius, angle = np.sqrt(-2 * np.log(u[::2])), 2 * np.pi * u[1::2]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)[:n]


def _w(x, o):
    """w, how much larger the size of its terms is, and the margins."""
    d = np.asarray(_draws(x, o), np.float64)
    with np.errstate(all="ignore"):
        inside = np.maximum(1 + o.box_cox * d, 0)
        t = np.exp(d) if o.box_cox == 0 else np.exp(np.log(inside) / o.box_cox)
        t = np.minimum(t, 1)
        # Draws that the library makes are rounded to f32: a relative error of 1 + box_cox draw near 0.
        size = np.where(t < 1, 1 + np.abs(d) / np.maximum(inside, 1e-6) / 4, 1)
        margin = x.target * x.scores
        w, sizes = np.empty((2, *margin.shape), margin.dtype)
        steep, flat = np.argsort(-t), np.argsort(margin, kind="stable")
        w[flat], sizes[flat] = t[steep], size[steep]
        return np.where(margin > 1, w / np.where(margin > 1, margin, 1), w) + 1e-6, sizes, margin


def reference(x, o):
    w, _, margin = _w(x, o)
    return {"loss": -w * margin, "slopes": -w}


def gradient(x, o, s):
    return {"scores": -s * _w(x, o)[0] * x.target}


def scale(x, o):
    w, size, margin = _w(x, o)
    return {"loss": np.abs(w * margin) * size, "slopes": np.abs(w) * size}


def gradient_scale(x, o, s):
    w, size, _ = _w(x, o)
    return {"scores": np.abs(s) * w * size}


def _signs(rng, shape, _distribution, _sizes):
    return 2 * rng.integers(0, 2, shape) - 1


def _normals(rng, shape, distribution, _sizes):
    return np.zeros(shape) if distribution == "constant" else rng.standard_normal(shape)


OPTIONS = {"box_cox": [0.0, 0.5, 2.0, -0.75], "seed": [0, 2**64 - 3], "offset": [0, 2**63 + 17]}
SAMPLERS = {"target": _signs, "draws": _normals}
SHAPES = [{"n": n} for n in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 64, 127, 257, 1023, 1024, 1025, 2503, 5001, 20_011, 70_001)]
SAMPLES_DEPEND = True
SURROGATE = True

EXAMPLES = [
    {
        "inputs": {"scores": [0.5, -1.25, 3.0, 0.25], "target": [1.0, -1.0, 1.0, -1.0], "draws": [0.3, -1.2, 0.7, -0.1]},
        "options": {"box_cox": 0.5},
        "outputs": {"loss": -0.328126125, "slopes": [-1.000001, -0.722001, -0.053334333333, -1.000001]},
        "gradients": {"scores": [-0.25000025, 0.18050025, -0.013333583333, 0.25000025]},
    }
]


def test_slopes_fall_off_as_margins_grow(call):
    rng = np.random.default_rng(0)
    score = call.floats(np.sort(rng.uniform(-3, 1, 200)))
    for box_cox in (0.0, 0.5, -0.5):
        slopes = call(score, call.floats(np.ones(200)), box_cox=box_cox, seed=5).slopes
        assert (slopes < 0).all() and (np.diff(slopes) >= 0).all()


def test_draws_as_the_library_makes_them(call):
    rng = np.random.default_rng(0)
    x, t = call.floats(3 * rng.standard_normal(101)), call.floats(_signs(rng, 101, "", {}))
    mine = SimpleNamespace(scores=x, draws=None)
    for seed, offset in ((0, 0), (7, 2**64 - 1)):
        given = np.float32(_draws(mine, SimpleNamespace(seed=seed, offset=offset)))
        one, two = call(x, t, given, reduction="none"), call(x, t, seed=seed, offset=offset, reduction="none")
        np.testing.assert_allclose(one.slopes, two.slopes, rtol=1e-6)
        three = call(x, t, seed=seed + 1, offset=offset, reduction="none")
        assert not np.array_equal(two.slopes, three.slopes)
