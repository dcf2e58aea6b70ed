"""hierarchical_polynomial: a polynomial of a quadratic feature."""

import numpy as np


def _parts(x):
    """The feature, its slope in x, and the sizes of their terms."""
    s = x.a + x.a.T
    p = np.einsum("ni,ij,nj->n", x.x, x.a, x.x, optimize=True) - np.trace(x.a)
    absolute, size = np.abs(x.x), np.abs(s)
    return p, x.x @ s, np.einsum("ni,ij,nj->n", absolute, size, absolute, optimize=True) / 2 + np.abs(np.diag(x.a)).sum(), absolute @ size


def _powers(p, c, order):
    """Terms of the derivative of some order of the polynomial."""
    j = np.arange(order, len(c))
    factor = np.prod([j - k for k in range(order)], axis=0) if order else np.ones(len(j))
    return c[order:] * factor * p[:, None] ** (j - order)


def reference(x, o):
    p = _parts(x)[0]
    return {"y": _powers(p, x.coefficients, 0).sum(1), "feature": p}


def gradient(x, o, s):
    p, slope, _, _ = _parts(x)
    return {"x": (s * _powers(p, x.coefficients, 1).sum(1))[:, None] * slope}


def scale(x, o):
    """Powers of the feature, which is a long sum."""
    p, _, size, _ = _parts(x)
    terms = [np.abs(_powers(p, x.coefficients, order)).sum(1) for order in (0, 1)]
    return {"y": terms[0] + terms[1] * size, "feature": size}


def gradient_scale(x, o, s):
    p, _, size, slope = _parts(x)
    terms = [np.abs(_powers(p, x.coefficients, order)).sum(1) for order in (1, 2)]
    return {"x": (np.abs(s) * (terms[0] + terms[1] * size))[:, None] * slope}


def _coefficients(rng, shape, _distribution, _sizes):
    return rng.standard_normal(shape)


def _moderate(rng, shape, distribution, _sizes):
    """Powers of forms of large numbers overflow f32."""
    if distribution == "constant":
        return np.full(shape, -0.7)
    if distribution == "offset":
        return 4 + rng.standard_normal(shape)
    return (1e-3 if distribution == "tiny" else 1) * np.clip(rng.standard_t(3, shape) if distribution == "heavy" else rng.standard_normal(shape), -9, 9)


SAMPLERS = {"x": _moderate, "a": _moderate, "coefficients": _coefficients}
SHAPES = [
    {"n": n, "d": d, "terms": q + 1}
    for n, d, q in [(1, 1, 0), (3, 5, 2), (5, 2, 5), (64, 17, 3), (130, 70, 1), (2, 300, 4), (200, 33, 1), (4, 601, 2), (1000, 9, 2), (40, 300, 2), (33, 129, 2)]
]

EXAMPLES = [
    {
        "inputs": {"x": [[0.5, -1.0]], "a": [[1.0, 0.25], [0.25, -1.0]], "coefficients": [0.0, 1.0, 0.5]},
        "outputs": {"y": [-0.5], "feature": [-1.0]},
        "gradients": {"x": [[0.0, 0.0]]},
    }
]


def test_only_the_symmetric_part_counts(call):
    rng = np.random.default_rng(0)
    x, a = rng.standard_normal((9, 12)), rng.integers(-4, 5, (12, 12))
    c = call.floats([0.5, -1.0, 0.25])
    one = call(call.floats(x), call.floats(2 * a), c)
    other = call(call.floats(x), call.floats(a + a.T), c)
    np.testing.assert_allclose(one.y, other.y, rtol=1e-5, atol=1e-3)


def test_normal_samples_have_features_of_mean_0(call):
    rng = np.random.default_rng(0)
    x, a = rng.standard_normal((20000, 4)), rng.standard_normal((4, 4))
    p = call(call.floats(x), call.floats(a), call.floats([0.0, 1.0])).feature
    assert abs(p.mean()) < 5 * p.std() / np.sqrt(len(p))


def test_rows_stand_alone(call):
    rng = np.random.default_rng(1)
    x, a = rng.standard_normal((70, 40)), rng.standard_normal((40, 40))
    bad = x.copy()
    bad[3, 5] = np.nan
    others = np.arange(70) != 3
    c = call.floats([0.0, 1.0, 1.0])
    clean, dirty = (call(call.floats(v), call.floats(a), c) for v in (x, bad))
    assert (clean.y[others] == dirty.y[others]).all() and np.isnan(dirty.y[3])
    clean, dirty = (r.backward()["x"] for r in (clean, dirty))
    assert (clean[others] == dirty[others]).all() and np.isnan(dirty[3].astype(float)).all()
