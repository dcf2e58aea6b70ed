"""roc_auc: the share of pairs in the right order."""

import numpy as np


def _halves(scores, positive):
    """Twice the pairs in the right order and once those of equal scores."""
    high, low = scores[positive], np.sort(scores[~positive])
    below, upto = np.searchsorted(low, high, "left"), np.searchsorted(low, high, "right")
    return int((below + upto).sum())


def reference(x, o):
    positive = x.labels != 0
    count = positive.sum()
    return {"value": np.asarray(_halves(x.scores, positive) / (2 * int(count) * int(len(positive) - count)))}


def _labels(rng, shape, _distribution, _sizes):
    """Of both classes."""
    labels = rng.integers(0, 3, shape) * rng.integers(0, 2, shape)
    labels[:2] = [0, 7]
    return rng.permutation(labels).astype(np.uint8)


SAMPLERS = {"labels": _labels}
SHAPES = [{"n": n} for n in (2, 3, 5, 7, 8, 9, 16, 17, 33, 64, 257, 1023, 1024, 1025, 2503, 5001, 20_011, 70_001)]

EXAMPLES = [{"inputs": {"scores": [0.5, 0.25, 0.75, 0.5], "labels": [1, 0, 1, 0]}, "outputs": {"value": 0.875}}]


def test_ties_and_zeros(call):
    rng = np.random.default_rng(0)
    for n in (10, 3000):
        scores = call.floats(rng.choice([-1, -0.0, 0.0, 0.5, 2, np.inf, -np.inf], n))
        call.compare({"scores": scores, "labels": _labels(rng, n, "", {})}, {})
    assert call(call.floats([0.0, -0.0]), np.uint8([1, 0])).value == 0.5


def test_order(call):
    for n in (2, 1500, 2500):
        scores, labels = call.floats(np.arange(n) % 2 - 0.5), np.uint8(np.arange(n) % 2)
        assert call(scores, labels).value == 1 and call(scores, 1 - labels).value == 0
        assert call(call.floats(np.ones(n)), labels).value == 0.5


def test_negated_scores(call):
    rng = np.random.default_rng(1)
    scores, labels = call.floats(rng.standard_normal(999)), _labels(rng, 999, "", {})
    assert abs(call(scores, labels).value + call(-scores, labels).value - 1) < 1e-6


def test_one_class(call):
    import pytest

    import losskit

    scores = call.floats([0.5, 0.25, 1.0])
    for labels, missing in (([0, 0, 0], "positive"), ([1, 9, 1], "negative")):
        if call.context.kind == "cpu":
            with pytest.raises(losskit.InvalidArgument, match=rf"argument 'labels' has no {missing} among its 3 samples"):
                call(scores, np.uint8(labels))
        else:
            assert np.isnan(call(scores, np.uint8(labels)).value)


def test_a_nan_shows(call):
    assert np.isnan(call(call.floats([0.5, np.nan, 1.0]), np.uint8([0, 1, 1])).value)
