"""kernel_alignment: cosine between kernel matrices."""

import numpy as np

import losskit


def _centred(v, o):
    if not o.centered or not len(v):
        return v
    c = v - v.mean(0)
    c[:, (v == v[:1]).all(0)] = 0
    return c


def _parts(x, o):
    a, b = _centred(x.a, o), _centred(x.b, o)
    # Neither squares of squares of tiny values nor those of large ones are in the way.
    sizes = [max(np.abs(v).max(initial=0), 1e-300) for v in (a, b)]
    a, b = a / sizes[0], b / sizes[1]
    cross, of_a, of_b = a.T @ b, a.T @ a, b.T @ b
    return a, b, cross, of_a, of_b, sizes


def _value(cross, of_a, of_b):
    p, q = (of_a**2).sum(), (of_b**2).sum()
    return (cross**2).sum() / np.sqrt(p * q) if p and q else p * 0


def reference(x, o):
    _, _, cross, of_a, of_b, _ = _parts(x, o)
    return {"value": np.asarray(_value(cross, of_a, of_b))}


def gradient(x, o, s):
    a, b, cross, of_a, of_b, sizes = _parts(x, o)
    p, q = (of_a**2).sum(), (of_b**2).sum()
    if not p or not q:
        return {"a": np.zeros_like(x.a), "b": np.zeros_like(x.b)}
    v, both = _value(cross, of_a, of_b), np.sqrt(p * q)
    one, other = b @ cross.T / both - v * a @ of_a / p, a @ cross / both - v * b @ of_b / q
    return {"a": 2 * s * one / sizes[0], "b": 2 * s * other / sizes[1]}


def scale(x, o):
    """A sum of squares of products of columns, which are long sums themselves."""
    a, b, cross, of_a, of_b, _ = _parts(x, o)
    p, q = (of_a**2).sum(), (of_b**2).sum()
    size = (np.abs(cross) * (np.abs(a).T @ np.abs(b))).sum()
    return {"value": np.asarray(size / np.sqrt(p * q) if p and q else 0.0)}


def gradient_scale(x, o, s):
    """Differences of two terms, of products of columns as in `scale`."""
    a, b, cross, of_a, of_b, sizes = _parts(x, o)
    p, q, v = (of_a**2).sum(), (of_b**2).sum(), _value(cross, of_a, of_b)
    if not p or not q:
        return {"a": np.zeros_like(x.a), "b": np.zeros_like(x.b)}
    a, b = np.abs(a), np.abs(b)
    one, other = b @ (b.T @ a) / np.sqrt(p * q) + v * a @ (a.T @ a) / p, a @ (a.T @ b) / np.sqrt(p * q) + v * b @ (b.T @ b) / q
    return {"a": 2 * np.abs(s) * one / sizes[0], "b": 2 * np.abs(s) * other / sizes[1]}


OPTIONS = {"centered": [True, False]}
SHAPES = [
    {"n": n, "d": d, "k": k}
    for n, d, k in [(1, 1, 1), (3, 2, 1), (5, 3, 4), (2, 5, 3), (64, 17, 10), (130, 70, 5), (7, 130, 3), (9, 2, 33), (300, 3, 65), (65, 140, 130), (1100, 5, 3), (140, 200, 3), (260, 150, 40)]
]

EXAMPLES = [
    {
        "inputs": {"a": [[1.0, 0.5], [-0.5, 1.0], [0.25, -1.0]], "b": [[1.0], [0.0], [-1.0]]},
        "outputs": {"value": 0.562891032373},
        "gradients": {"a": [[0.170563550653, 0.520876449057], [0.208559347739, -0.376408912886], [-0.379122898392, -0.144467536171]], "b": [[-0.137595585691], [0.275191171382], [-0.137595585691]]},
    }
]


def _some(call, n, d, k, seed=0):
    rng = np.random.default_rng(seed)
    return call.floats(rng.standard_normal((n, d))), call.floats(rng.standard_normal((n, k)))


def test_kernels_that_are_multiples_are_aligned(call):
    """Also after rotations of the features, in both branches."""
    for n, d in ((40, 8), (6, 33)):
        a, _ = _some(call, n, d, 1)
        assert abs(call(a, a).value - 1) < 2e-6
        turned = np.linalg.qr(np.random.default_rng(1).standard_normal((d, d)))[0]
        b = call.floats(3 * a.astype(float) @ turned)
        assert abs(call(a, b).value - 1) < (2e-6 if call.dtype == np.float32 else 1e-2)
        size = 2 / np.abs(a.astype(float)).max()
        gradients = call(a, a).backward()
        assert all(np.abs(g.astype(float)).max() < 1e-5 * size for g in gradients.values())


def test_symmetric_and_without_scale(call):
    a, b = _some(call, 30, 7, 12)
    one = call(a, b).value
    assert abs(one - call(b, a).value) < 1e-6
    assert abs(one - call(call.floats(a.astype(float) * 1024), b).value) < 1e-6
    tiny = call.floats(a.astype(float) * 2.0**-10)
    assert abs(one - call(tiny, b).value) < 1e-3


def test_as_many_samples_as_features(call):
    """Both sides of the choice between products of columns and kernels of samples."""
    for n in (11, 12, 13):
        a, b = _some(call, n, 12, 3, n)
        call.compare({"a": a, "b": b}, {})


def test_features_that_do_not_vary(call):
    for n, d in ((6, 3), (3, 6)):
        a, b = call.floats(np.full((n, d), 0.3)), _some(call, n, d, 2)[1]
        result = call(a, b)
        assert result.value == 0
        assert not any(g.astype(float).any() for g in result.backward().values())


def test_large_and_small_features(call):
    if call.dtype != np.float32:
        return
    a, b = _some(call, 20, 4, 3)
    expected = call(a, b).value
    for size in (1e-30, 1e-12, 1e12, 1e30):
        assert abs(call(a * np.float32(size), b).value - expected) < 1e-6
        assert np.isfinite(call(a * np.float32(size), b).backward()["b"]).all()


def test_a_nan_is_everywhere(call):
    for n, d in ((8, 3), (3, 8)):
        a, b = _some(call, n, d, 2)
        a[1, 1] = np.nan
        result = call(a, b)
        assert np.isnan(result.value) and all(np.isnan(g.astype(float)).all() for g in result.backward().values())

def test_any_number_of_threads(call):
    """Kernels of samples in several tiles; test_large has products of columns."""
    if call.context.kind != "cpu":
        return
    a, b = _some(call, 300, 310, 2)
    results = [losskit.kernel_alignment.forward_backward(a, b, context=losskit.Context("cpu", num_threads=t)) for t in (1, 2, 3)]
    for other in results[1:]:
        assert other.value == results[0].value
        assert all((other.gradients[name] == g).all() for name, g in results[0].gradients.items())
    call.compare({"a": a, "b": b}, {})
