"""betti_matching_loss: bars of two images matched through their maximum."""

import numpy as np

from harness import barcodes


def _images(x):
    for pred, target in zip(x.pred, x.target):
        yield pred, target, barcodes.matching(pred, target) if pred.size else ([], [[], []])


def _terms(pred, target, found):
    """(loss, [(voxel of pred, slope)]) of each matched pair and unmatched bar."""
    matched, unmatched = found
    l, g = pred.reshape(-1), target.reshape(-1)
    for of_l, of_g in matched:
        ends = [(a, l[a] - g[b]) for a, b in zip(of_l, of_g) if a is not None]
        yield sum(d * d for _, d in ends), [(a, 2 * d) for a, d in ends]
    for side, values in enumerate((l, g)):
        for birth, death in unmatched[side]:
            d = values[birth] - values[death]
            yield d * d / 2, [(birth, d), (death, -d)] if side == 0 else []


def reference(x, o):
    loss, matched, unmatched = [], [], []
    for pred, target, found in _images(x):
        loss.append(sum((term for term, _ in _terms(pred, target, found)), pred.dtype.type(0)))
        matched.append(len(found[0]))
        unmatched.append(sum(map(len, found[1])))
    return {
        "loss": np.array(loss, x.pred.dtype),
        "matched": np.array(matched, np.int64),
        "unmatched": np.array(unmatched, np.int64),
    }


def gradient(x, o, s):
    g = np.zeros(x.pred.shape, x.pred.dtype)
    for i, (pred, target, found) in enumerate(_images(x)):
        for _, slopes in _terms(pred, target, found):
            for voxel, slope in slopes:
                g[i].reshape(-1)[voxel] += s[i] * slope
    return {"pred": g}


def gradient_scale(x, o, s):
    """Slopes of the bars that meet in a voxel cancel."""
    g = np.zeros(x.pred.shape, x.pred.dtype)
    for i, (pred, target, found) in enumerate(_images(x)):
        for _, slopes in _terms(pred, target, found):
            for voxel, slope in slopes:
                g[i].reshape(-1)[voxel] += abs(s[i] * slope)
    return {"pred": np.broadcast_to(g.reshape(len(g), -1).max(axis=1, initial=0)[:, None, None, None], g.shape)}


def _pred(rng, shape, distribution, sizes):
    if distribution == "constant":
        return np.full(shape, 0.5)
    if distribution == "heavy":
        return rng.integers(0, 3, shape) / 2
    return rng.random(shape) + (1000 if distribution == "offset" else 0)


def _target(rng, shape, distribution, sizes):
    if distribution == "normal":
        return rng.random(shape)
    return rng.integers(0, 2, shape) + (1000 if distribution == "offset" else 0)


SAMPLERS = {"pred": _pred, "target": _target}


def _shapes(*shapes):
    return [dict(zip(("batch", "depth", "height", "width"), shape)) for shape in shapes]


SHAPES = _shapes(
    (3, 1, 1, 1), (2, 1, 2, 3), (1, 1, 3, 3), (3, 1, 1, 5), (2, 1, 6, 1), (2, 1, 5, 6), (2, 1, 7, 4), (1, 1, 8, 8), (2, 3, 1, 5),
    (2, 2, 2, 2), (1, 3, 3, 3), (2, 2, 3, 4), (1, 4, 4, 3), (5, 4, 4, 4),
)

EXAMPLES = [
    {
        "inputs": {
            "pred": [[[[1.0, 0.75, 0.875], [0.625, 0.125, 0.5], [0.375, 0.25, 0.9375]]]],
            "target": [[[[1.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 1.0]]]],
        },
        "outputs": {"loss": 0.681640625, "matched": [2], "unmatched": [2]},
        "gradients": {"pred": [[[[0.0, -0.125, 0.125], [0.0, 0.25, -0.4375], [0.0, -1.5, 0.4375]]]]},
    }
]


def _same_bars(call, pred, target):
    """Loss, counts and gradient against the reference."""
    call.compare({"pred": call.floats(pred), "target": call.floats(target)}, {"reduction": "none"})


def test_many_small_images(call):
    rng = np.random.default_rng(0)
    for i in range(40):
        shape = (2, 1, *rng.integers(1, 8, 2)) if i % 2 else (1, *rng.integers(1, 5, 3))
        pred, target = rng.integers(0, rng.integers(2, 9), shape) / 8, rng.integers(0, rng.integers(2, 4), shape)
        _same_bars(call, pred, target)
        _same_bars(call, rng.random(shape), rng.random(shape))


def test_equal_images(call):
    rng = np.random.default_rng(1)
    for shape in [(2, 1, 20, 21), (1, 7, 8, 9)]:
        image = call.floats(rng.random(shape))
        result = call(image, image)
        assert result.loss == 0 and not result.unmatched.any() and not result.backward()["pred"].any()
        one = call.other("cubical_persistence")(image[0])
        assert result.matched[0] == one.count


def test_roles_may_be_swapped(call):
    """The loss treats both images alike."""
    rng = np.random.default_rng(2)
    for shape in [(3, 1, 15, 22), (2, 5, 6, 7)]:
        a, b = (call.floats(rng.random(shape)) for _ in range(2))
        one, two = call(a, b, reduction="none"), call(b, a, reduction="none")
        assert np.allclose(one.loss, two.loss, rtol=1e-6)
        assert (one.matched == two.matched).all() and (one.unmatched == two.unmatched).all()


def test_a_feature_elsewhere_is_another(call):
    """Two equal barcodes, but one dot is far from the other: nothing but the essential component matches."""
    pred, target = np.zeros((1, 1, 5, 20)), np.zeros((1, 1, 5, 20))
    for image in (pred, target):
        image[..., 2, 9:12] = 1
    pred[..., 1, 1], target[..., 3, 18] = 0.75, 0.75
    result = call(call.floats(pred), call.floats(target))
    assert (result.matched, result.unmatched) == ([1], [2]) and result.loss == 0.75**2
    result = call(call.floats(pred), call.floats(np.maximum(pred, target)))
    assert (result.matched, result.unmatched) == ([2], [1]) and result.loss == 0.5 * 0.75**2


def test_descent_repairs_a_ring(call):
    """Following the gradient closes a gap in a ring without losing the hole."""
    target = np.zeros((1, 1, 9, 9))
    target[0, 0, 2:7, 2:7] = 1
    target[0, 0, 3:6, 3:6] = 0
    pred = 0.8 * target + 0.1
    pred[0, 0, 2, 4] = 0.2
    if call.dtype.itemsize < 4:
        return
    for _ in range(60):
        result = call(call.floats(pred), call.floats(target))
        pred = pred - 0.1 * result.backward()["pred"]
    assert result.loss < 1e-2 and pred[0, 0, 2, 4] > 0.9


def test_no_voxels(call):
    result = call(call.floats(np.zeros((2, 1, 0, 3))), call.floats(np.zeros((2, 1, 0, 3))), reduction="none")
    assert not result.loss.any() and not result.matched.any() and not result.unmatched.any()


def test_infinite_values(call):
    """Values like others: an infinite bar in one image only is an infinite loss."""
    pred, target = np.zeros((2, 1, 3, 3)), np.zeros((2, 1, 3, 3))
    pred[0, 0, 0, 0] = np.inf
    target[0] = pred[0]
    result = call(call.floats(pred), call.floats(target), reduction="none")
    assert np.isnan(result.loss[0]) and result.loss[1] == 0
    target[0] = 0
    assert call(call.floats(pred), call.floats(target), reduction="none").loss.tolist() == [np.inf, 0]
