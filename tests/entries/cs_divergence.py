"""cs_divergence: log mean k(a, a) + log mean k(b, b) - 2 log mean k(a, b)."""

import numpy as np
from harness.gram import LARGE, SIZES, exponents, logsumexp, pull, pull_scale

OPTIONS = {"bandwidth": [1.0, 0.3, 25.0, 2000.0]}

SHAPES = [dict(zip(("n", "m", "dims"), sizes)) for sizes in [*SIZES, LARGE]]


def _parts(x, o):
    return {pair: exponents(*pair_of(x, pair), o.bandwidth) for pair in ("aa", "bb", "ab")}


def pair_of(x, pair):
    return [getattr(x, name) for name in pair]


def reference(x, o):
    if not len(x.a) or not len(x.b):
        return {"loss": np.float64(0)}
    e = _parts(x, o)
    means = {pair: logsumexp(-v) - np.log(v.dtype.type(v.size)) for pair, v in e.items()}
    return {"loss": means["aa"] + means["bb"] - 2 * means["ab"]}


def scale(x, o):
    """Errors of the exponents, weighted as the kernels are, and one rounding of each sum."""
    if not len(x.a) or not len(x.b):
        return {"loss": np.float64(0)}
    size = 0
    for pair, e in _parts(x, o).items():
        size += (np.exp(-e - logsumexp(-e)) * e).sum() * (2 if pair == "ab" else 1)
    return {"loss": size + 0.5}


def gradient(x, o, s):
    e = _parts(x, o)
    e["ba"] = e["ab"].T
    p = {pair: np.exp(-v - logsumexp(-v)) for pair, v in e.items()}
    factor = 2 * s / np.asarray(o.bandwidth, x.a.dtype) ** 2
    return {
        name: factor * (pull(p[name + other], *pair_of(x, name + other)) - pull(p[name + name], *pair_of(x, name + name)))
        for name, other in ("ab", "ba")
    }


def gradient_scale(x, o, s):
    e = _parts(x, o)
    e["ba"] = e["ab"].T
    factor = 2 * s / o.bandwidth**2
    sizes = {}
    for name, other in ("ab", "ba"):
        pairs = name + other, name + name
        sizes[name] = sum(
            pull_scale(np.exp(-e[pair] - logsumexp(-e[pair])), e[pair], *pair_of(x, pair), factor) for pair in pairs
        )
    return sizes


EXAMPLES = [
    {
        "inputs": {
            "a": [[1.0, 0.5], [-0.5, 1.0], [0.25, -1.0]],
            "b": [[0.75, 0.5], [-0.25, 1.0]],
        },
        "outputs": {"loss": 0.27648563841},
        "gradients": {
            "a": [[0.186587148388, -0.233304255608], [-0.236817727918, -0.034726787737], [-0.002766417333, -0.156157981437]],
            "b": [[-0.091076431011, 0.318805089271], [0.144073427874, 0.105383935511]],
        },
    }
]


def _sets(call, n=70, m=40, dims=5, offset=0.5):
    rng = np.random.default_rng(0)
    return call.floats(rng.standard_normal((n, dims))), call.floats(rng.standard_normal((m, dims)) + offset)


def test_symmetric(call):
    a, b = _sets(call)
    assert np.isclose(call(a, b).loss, call(b, a).loss, rtol=1e-6)
    one, two = call.gradients(a, b), call.gradients(b, a)
    for name, other in ("ab", "ba"):
        x, y = one[name].astype(float), two[other].astype(float)
        assert np.allclose(x, y, rtol=1e-2 if call.dtype.itemsize == 2 else 1e-5, atol=1e-6 * np.abs(x).max())


def test_not_negative_and_zero_for_equal_sets(call):
    a, b = _sets(call)
    assert call(a, b).loss > 0
    result = call(a, a)
    assert result.loss == 0
    size = np.abs(call(a, b).backward()["a"].astype(float)).max()
    assert np.abs(result.backward()["a"].astype(float)).max() < 1e-6 * size


def test_unchanged_by_a_common_shift(call):
    if call.dtype.itemsize == 4:
        a, b = (np.round(64 * v) / 64 for v in _sets(call))
        moved = (np.float32(v + 2.0**17) for v in (a, b))
        assert call(a, b).loss == call(*moved).loss


def test_sets_far_apart_keep_their_gradient(call):
    a, b = _sets(call, offset=100.0)
    result = call(a, b)
    assert np.isfinite(result.loss) and result.loss > 1e4
    g = result.backward()["a"].astype(float)
    # a moves towards b: against the gradient.
    assert np.isfinite(g).all() and (g.sum(axis=0) < 0).all()


def test_bandwidths_around_the_switch_to_products(call):
    """On the CPU distances in many dimensions come from products where the points are near the origin."""
    rng = np.random.default_rng(0)
    a, b = (call.floats(rng.standard_normal((n, 70)) * rng.uniform(0.1, 2, (n, 1))) for n in (70, 140))
    a[5], b[7] = a[6], a[6]
    for bandwidth in (3.0, 6.0, 9.0, 30.0):
        call.compare({"a": a, "b": b}, {"bandwidth": bandwidth})


def test_no_points(call):
    a, b = _sets(call)
    for x, y in ((a[:0], b), (a, b[:0]), (a[:0], b[:0])):
        result = call(x, y)
        assert result.loss == 0
        assert not any(g.astype(float).any() for g in result.backward().values())


def test_a_nan_shows(call):
    a, b = _sets(call)
    a[3, 2] = np.nan
    result = call(a, b)
    assert np.isnan(result.loss)
    assert np.isnan(result.backward()["a"].astype(float)).all()


def test_many_dimensions(call):
    """More than the scratch memory of the CPU keeps of a block of rows."""
    if call.context.kind == "cpu":
        rng = np.random.default_rng(0)
        for dims in (1025, 4500):
            a, b = (call.floats(rng.standard_normal((5, dims))) for _ in range(2))
            call.compare({"a": a, "b": b}, {"bandwidth": np.sqrt(dims)})
