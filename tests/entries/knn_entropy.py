"""knn_entropy: digamma(n) - digamma(k) + log V + (d/n) sum log e_i."""

import functools
import math

import numpy as np

OPTIONS = {"k": [5, 1, 2, 16, 17, 60]}

#: A k-d tree up to 6 dimensions, beyond tiles of all pairs.
SHAPES = [
    dict(zip(("n", "dims"), sizes))
    for sizes in [(2, 1), (7, 3), (33, 2), (64, 7), (65, 40), (130, 300), (1111, 1), (600, 3), (300, 9), (700, 6), (500, 11)]
]


def possible(dims, o):
    return o.k < dims["n"]


def distances(x, k):
    """Of every row to its k-th nearest other row."""
    found = []
    for start in range(0, len(x), 256):
        rows = x[start : start + 256]
        square = np.zeros((len(rows), len(x)), x.dtype)
        for column in range(x.shape[1]):
            square += (rows[:, column, None] - x[None, :, column]) ** 2
        square[np.arange(len(rows)), start + np.arange(len(rows))] = np.inf
        found.append(np.sqrt(np.partition(square, k - 1, axis=1)[:, k - 1]))
    return np.concatenate(found)


def harmonic(n):
    return sum(1 / i for i in range(1, n))


def reference(x, o):
    return {"entropy": _reference(x.x.tobytes(), x.x.shape, x.x.dtype, o.k)}


@functools.lru_cache(maxsize=64)
def _reference(values, shape, dtype, k):
    x = np.frombuffer(values, dtype).reshape(shape)
    n, d = x.shape
    constant = harmonic(n) - harmonic(k) + d / 2 * math.log(math.pi) - math.lgamma(d / 2 + 1)
    with np.errstate(divide="ignore"):
        return constant + d * np.log(distances(x, k)).mean()


def scale(x, o):
    """A distance has a relative error of some f32 roundings; its logarithm counts d times."""
    n, d = x.x.shape
    return {"entropy": abs(reference(x, o)["entropy"]) + d / 3}


EXAMPLES = [
    {"inputs": {"x": [[0.0], [1.0], [3.0], [7.0]]}, "options": {"k": 1}, "outputs": {"entropy": 3.046340899313}},
]


def _points(n=3000, d=2):
    return np.random.default_rng(0).standard_normal((n, d)).astype(np.float32)


def test_of_a_normal_distribution(call):
    """The estimate itself: within a few of its standard deviations of the truth."""
    if call.context.kind == "cpu":
        sizes = ((2000, 1), (1500, 3), (12_000, 8))
    else:
        sizes = ((500, 1), (500, 3))
    for n, d in sizes:
        truth = d / 2 * math.log(2 * math.pi * math.e)
        assert abs(call(_points(n, d)).entropy - truth) < 0.15


def test_unchanged_by_shift_and_order(call):
    for n, d in ((500, 1), (150, 9)):
        x = np.round(_points(n, d) * 1024) / 1024 + np.arange(n, dtype=np.float32)[:, None] / 2**18
        x = np.round(x * 2**18) / 2**18
        value = call(x).entropy
        assert np.isclose(call(x[::-1].copy()).entropy, value, rtol=1e-6)
        moved = x + np.float32(2)
        if ((moved - np.float32(2)) == x).all():
            assert np.isclose(call(moved).entropy, value, rtol=1e-6)


def test_grows_with_the_scale(call):
    for n, d in ((500, 1), (150, 9)):
        x = _points(n, d)
        for factor in (2.0**-60, 2.0**-100, 2.0**50, 2.0**100):
            assert np.isclose(call(x * np.float32(factor)).entropy, call(x).entropy + d * math.log(factor), rtol=1e-6)


def test_duplicates(call):
    for n, d in ((500, 1), (150, 9)):
        x = _points(n, d)
        x[:3] = x[3]
        assert call(x, k=3).entropy == -np.inf
        assert np.isfinite(call(x, k=4).entropy)
        assert call(np.zeros((n, d), np.float32)).entropy == -np.inf


def test_points_on_a_grid(call):
    """Ties everywhere."""
    x = np.stack(np.meshgrid(np.arange(25.0), np.arange(21.0)), axis=-1).reshape(-1, 2).astype(np.float32)
    n = len(x)
    for k in (1, 2, 3, 4, 5):
        expected = harmonic(n) - harmonic(k) + math.log(math.pi) + 2 * np.log(distances(x.astype(float), k)).mean()
        assert np.isclose(call(x, k=k).entropy, expected, rtol=2e-6)


def test_not_finite(call):
    for n, d in ((500, 1), (150, 9)):
        for bad in (np.nan, np.inf):
            x = _points(n, d)
            x[7, d - 1] = bad
            assert np.isnan(call(x).entropy)


def test_every_other_point_as_neighbour(call):
    for n, d in ((2500, 1), (90, 9)):
        x = _points(n, d)
        expected = harmonic(n) - harmonic(n - 1) + d / 2 * math.log(math.pi) - math.lgamma(d / 2 + 1)
        expected += d * np.log(distances(x.astype(float), n - 1)).mean()
        assert np.isclose(call(x, k=n - 1).entropy, expected, rtol=1e-6)


def test_too_many_neighbours(call):
    import losskit
    import pytest

    with pytest.raises(losskit.InvalidOption, match=r"knn_entropy: option 'k' is 9, expected at most n - 1 \(8\)"):
        call(_points(9, 2), k=9)
