"""nt_xent: temperature-scaled cross entropy of two views."""

import numpy as np

from harness.similarities import directions, gradient_size, log_sum_exp, magnitude, rows, through


def _parts(x, o):
    z = directions(np.concatenate([x.a, x.b]), o.normalize)
    s = z @ z.T / o.temperature
    np.fill_diagonal(s, -np.inf)
    partner = np.roll(np.arange(len(z)), len(z) // 2)
    return z, s, partner


def _confident(x, o):
    """lse - S_ip from the others, as small as it may be, and the softmax with p - 1 in place of p there."""
    z, s, partner = _parts(x, o)
    at = (np.arange(len(z)), partner)
    own, rest = s[at], s.copy()
    rest[at] = -np.inf
    gap = log_sum_exp(rest, 1) - own if len(z) > 2 else np.full(len(z), -np.inf)
    loss = np.logaddexp(0, gap)
    p = np.exp(rest - (own + loss)[:, None])
    p[at] = -p.sum(axis=1)
    return z, loss, p


def reference(x, o):
    return {"loss": _confident(x, o)[1]}


def gradient(x, o, s):
    z, _, p = _confident(x, o)
    w = s[:, None] * p
    g = (w + w.T) @ z / o.temperature
    n = len(x.a)
    return {"a": through(x.a, g[:n], o.normalize), "b": through(x.b, g[n:], o.normalize)}


def scale(x, o):
    """Errors of similarities: f32 sums of d products, divided by the temperature."""
    z, _, _ = _parts(x, o)
    return {"loss": magnitude(z, z, 1 / o.temperature).max(axis=1, initial=0)}


def gradient_scale(x, o, s):
    z, _, p = _confident(x, o)
    w = np.abs(s[:, None] * p)
    sizes = magnitude(z, z, 1 / o.temperature)
    sizes = np.broadcast_to(sizes.max(axis=1, keepdims=True, initial=0), w.shape)
    both = np.concatenate([x.a, x.b])
    size = gradient_size(both, w + w.T, z, np.maximum(sizes, sizes.T), 1 / o.temperature, o.normalize)
    n = len(x.a)
    return {"a": size[:n], "b": size[n:]}


OPTIONS = {"temperature": [0.5, 0.07, 0.01, 20.0], "normalize": [True, False]}
SAMPLERS = {"a": rows, "b": rows}
#: Around the sizes of tiles and vectors, with odd and even numbers of them. The last is for threads.
SHAPES = [
    {"n": n, "d": d}
    for n, d in [(1, 3), (2, 1), (4, 5), (9, 17), (16, 2), (31, 8), (33, 5), (65, 31), (100, 67), (200, 3), (290, 20)]
]
#: A NaN is in the similarities of every row.
SAMPLES_DEPEND = True

EXAMPLES = [
    {
        "inputs": {
            "a": [[1.0, 0.5], [-0.5, 1.0], [0.25, -1.0]],
            "b": [[0.75, 0.5], [-0.25, 1.0], [0.5, -0.5]],
        },
        "options": {"temperature": 0.5},
        "outputs": {"loss": 0.425754223375},
        "gradients": {
            "a": [[0.018211596724, -0.036423193447], [0.07653035054, 0.03826517527], [-0.021893500462, -0.005473375115]],
            "b": [[-0.056197585351, 0.084296378026], [0.229294681987, 0.057323670497], [0.316758297641, 0.316758297642]],
        },
    }
]


def _sample(call, n, d):
    rng = np.random.default_rng(0)
    return call.floats(rng.standard_normal((n, d))), call.floats(rng.standard_normal((n, d)))


def test_views_are_alike(call):
    a, b = _sample(call, 120, 20)
    one, two = call(a, b, reduction="none"), call(b, a, reduction="none")
    assert one.loss.shape == (240,)
    assert np.allclose(np.roll(two.loss, 120), one.loss, rtol=2e-6)
    g, h = one.backward(), two.backward()
    near = {4: 3e-6, 2: 2e-2}[call.dtype.itemsize]
    x, y = g["a"].astype(float), h["b"].astype(float)
    assert np.abs(x - y).max() <= near * np.abs(x).max()


def test_one_sample(call):
    a, b = _sample(call, 1, 4)
    result = call(a, b)
    assert result.loss == 0 and not any(g.astype(float).any() for g in result.backward().values())


def test_gradient_of_one_view(call):
    a, b = _sample(call, 70, 6)
    result = call(a, b)
    every = result.backward()
    for name in "ab":
        assert np.array_equal(result.backward(wanted=[name])[name], every[name])


def test_a_nan_poisons_everything(call):
    a, b = _sample(call, 40, 6)
    b[7, 2] = np.nan
    result = call(a, b, reduction="none")
    assert np.isnan(result.loss).all()


def test_zero_rows_have_no_direction(call):
    a, b = _sample(call, 4, 5)
    a[1] = 0
    result = call(a, b, reduction="none")
    assert np.isfinite(result.loss).all() and np.isclose(result.loss[1], np.log(7), rtol=1e-6)
