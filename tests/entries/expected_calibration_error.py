"""expected_calibration_error: gaps between confidence and accuracy by bins."""

import numpy as np


def _bins(x, o):
    n = len(x.confidence)
    if o.equal_mass:
        order = np.argsort(x.confidence, kind="stable")
        return [order[b * n // o.bins : (b + 1) * n // o.bins] for b in range(o.bins)]
    place = np.clip(np.ceil(x.confidence * o.bins) - 1, 0, o.bins - 1)
    return [np.flatnonzero(place == b) for b in range(o.bins)]


def _combine(terms, shares, o):
    if o.norm == "max":
        return max(terms, default=0.0)
    power = 2 if o.norm == "l2" else 1
    return sum(share * term**power for share, term in zip(shares, terms)) ** (1 / power)


def _sums(x, o):
    bins = [members for members in _bins(x, o) if len(members)]
    right = (x.correct != 0).astype(float)
    return [len(m) / len(right) for m in bins], [x.confidence[m].mean() for m in bins], [right[m].mean() for m in bins]


def reference(x, o):
    shares, confidence, accuracy = _sums(x, o)
    return {"value": np.asarray(_combine([abs(c - a) for c, a in zip(confidence, accuracy)], shares, o))}


def scale(x, o):
    """Differences of means."""
    shares, confidence, accuracy = _sums(x, o)
    return {"value": np.asarray(_combine([c + a for c, a in zip(confidence, accuracy)], shares, o))}


def _confidence(rng, shape, distribution, _sizes):
    if distribution == "constant":
        return np.full(shape, 0.6)
    if distribution == "extreme":
        return rng.choice([0, 1e-30, 0.2, 0.25, 1 / 3, 0.4, 0.6, 2 / 3, 0.8, 1], shape)
    return rng.random(shape) ** {"heavy": 4, "tiny": 20}.get(distribution, 1)


OPTIONS = {"bins": [15, 1, 4, 10, 700], "norm": ["l1", "l2", "max"], "equal_mass": [False, True]}
SAMPLERS = {"confidence": _confidence}
SHAPES = [{"n": n} for n in (1, 2, 3, 7, 15, 16, 17, 64, 257, 1023, 1025, 5001, 20_011, 70_001)]

EXAMPLES = [
    {
        "inputs": {"confidence": [0.9, 0.55, 0.3, 0.8], "correct": [1, 0, 0, 1]},
        "options": {"bins": 5},
        "outputs": {"value": 0.2875},
    }
]


def test_edges_belong_to_the_lower_bin(call):
    """Of 4 bins; confidence 0 to the first."""
    for confidence, others in ((0.0, 0.25), (0.25, 0.2), (0.5, 0.3), (1.0, 0.8)):
        value = call(np.float32([confidence, others]), np.uint8([1, 0]), bins=4).value
        assert abs(value - abs((confidence + others) / 2 - 0.5)) < 1e-6, confidence


def test_equal_mass_takes_equal_confidences_in_order(call):
    right = np.uint8([1, 0, 1, 0, 1, 0])
    for order in (right, np.sort(right)):
        value = call(np.full(6, 0.5, np.float32), order, bins=3, equal_mass=True).value
        gaps = np.abs(0.5 - order.reshape(3, 2).mean(axis=1))
        assert abs(value - gaps.mean()) < 1e-6


def test_a_nan_shows(call):
    for options in ({}, {"equal_mass": True}, {"norm": "max"}, {"norm": "max", "equal_mass": True}):
        assert np.isnan(call(np.float32([0.1, np.nan, 0.9]), np.uint8([1, 1, 0]), **options).value)


def test_perfect_calibration(call):
    c = np.repeat(np.float32([0.25, 0.75]), 4)
    right = np.uint8([1, 0, 0, 0, 1, 1, 1, 0])
    for norm in ("l1", "l2", "max"):
        assert call(c, right, bins=2, norm=norm).value == 0
