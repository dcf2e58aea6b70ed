"""saliency_mask: the largest gradients."""

import numpy as np


def reference(x, o):
    size = np.abs(x.gradient)
    kept = np.argsort(-size, kind="stable")[: int(np.floor(o.fraction * len(size) + 0.5))]
    mask = np.zeros(len(size), np.uint8)
    mask[kept] = 1
    return {"mask": mask, "threshold": np.asarray(size[kept].min(initial=np.inf))}


def _gradients(rng, shape, distribution, _sizes):
    if distribution == "constant":
        return np.full(shape, -2.75)
    if distribution == "extreme":
        return rng.choice([-500, -1e-6, 0, -0.0, 1e-6, 3, -3, np.inf], shape)
    if distribution == "heavy":
        return np.clip(rng.standard_t(1.5, shape), -3e4, 3e4)
    return {"tiny": 1e-5, "offset": 1e-41}.get(distribution, 3) * rng.standard_normal(shape)


OPTIONS = {"fraction": [0.5, 0.0, 1.0, 0.1, 0.93]}
SAMPLERS = {"gradient": _gradients}
SHAPES = [{"n": n} for n in (1, 2, 3, 5, 7, 8, 9, 16, 17, 31, 33, 64, 257, 1023, 1025, 2503, 5001, 20_011, 70_001, 262_147)]

EXAMPLES = [
    {
        "inputs": {"gradient": [0.5, -2.0, 0.25, 1.0]},
        "options": {"fraction": 0.5},
        "outputs": {"mask": [0, 1, 0, 1], "threshold": 1.0},
    }
]


def test_ties_go_to_lower_indices(call):
    rng = np.random.default_rng(0)
    for n in (1000, 100_001):
        g = rng.integers(-2, 3, n).astype(np.float64)
        for fraction in (0.001, 0.35, 0.5, 0.79, 0.9):
            call.compare({"gradient": call.floats(g)}, {"fraction": fraction})
            kept = int(np.floor(fraction * n + 0.5))
            assert call(call.floats(np.ones(n)), fraction=fraction).mask.tolist() == [1] * kept + [0] * (n - kept)


def test_a_nan_is_the_largest(call):
    g = call.floats([3.0, np.nan, -np.inf, np.nan, 1.0])
    g[3] = -g[3]
    for fraction, mask in ((0.2, [0, 1, 0, 0, 0]), (0.4, [0, 1, 0, 1, 0]), (0.6, [0, 1, 1, 1, 0]), (1, [1] * 5)):
        got = call(g, fraction=fraction)
        assert got.mask.tolist() == mask and np.isnan(got.threshold)
    got = call(g, fraction=0.0)
    assert not got.mask.any() and got.threshold == np.inf


def test_threshold_alone(call):
    g = call.floats(np.random.default_rng(0).standard_normal(777))
    assert call(g, fraction=0.3).threshold == np.sort(np.abs(g.astype(np.float32)))[-233]
