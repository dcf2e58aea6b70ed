"""hebbian_energy: cost function of the multitasking Hebbian network."""

import numpy as np


def _points(x, o, size=lambda v: v):
    """What a state is compared with, [points, n], and the share of each of the sum over patterns."""
    if o.mode == "supervised":
        return size(x.examples).mean(axis=1), 1.0
    return size(x.examples).reshape(-1, x.examples.shape[2]), 1 / x.examples.shape[1]


def _load(x, o):
    return x.state.shape[1] * (1 - o.dilution)


def _weight(x, o):
    r2 = o.quality**2
    return 1 / (_load(x, o) * (r2 + (1 - r2) / x.examples.shape[1]))


def reference(x, o):
    points, share = _points(x, o)
    overlaps = x.state @ points.T
    energy = -_weight(x, o) * share * (overlaps**2).sum(axis=1) / 2
    return {"energy": energy, "magnetization": x.state @ x.examples.mean(axis=1).T / _load(x, o)}


def gradient(x, o, s):
    points, share = _points(x, o)
    return {"state": -_weight(x, o) * share * s[:, None] * (x.state @ points.T @ points)}


def scale(x, o):
    """Overlaps are sums of products, whose rounding is relative to the sizes of their terms."""
    points, share = _points(x, o)
    sizes = np.abs(x.state) @ _points(x, o, np.abs)[0].T
    energy = _weight(x, o) * share * (np.abs(x.state @ points.T) * sizes).sum(axis=1)
    return {"energy": energy, "magnetization": np.abs(x.state) @ np.abs(x.examples).mean(axis=1).T / _load(x, o)}


def gradient_scale(x, o, s):
    points, share = _points(x, o, np.abs)
    g = _weight(x, o) * share * np.abs(s)[:, None] * (np.abs(x.state) @ points.T @ points)
    return {"state": np.broadcast_to(g.max(axis=1, keepdims=True, initial=0), g.shape)}


def _state(rng, shape, distribution, _sizes):
    if distribution in ("normal", "constant"):
        return 2.0 * rng.integers(0, 2, shape) - 1
    return {"tiny": 1e-5, "extreme": 100.0}.get(distribution, 1.0) * rng.standard_normal(shape)


def _examples(rng, shape, distribution, _sizes):
    if distribution == "heavy":
        return rng.standard_normal(shape)
    return rng.integers(-1, 2, shape).astype(float)


OPTIONS = {"mode": ["supervised", "unsupervised"], "quality": [1.0, 0.3], "dilution": [0.0, 0.25]}
SAMPLERS = {"state": _state, "examples": _examples}
SHAPES = [
    {"batch": b, "patterns": p, "samples": m, "n": n}
    for b, p, m, n in [
        (1, 1, 1, 1), (3, 2, 4, 5), (2, 3, 1, 17), (5, 0, 2, 9), (0, 3, 2, 4), (9, 7, 3, 64), (1, 130, 2, 33), (65, 3, 5, 127),
        (4, 9, 2, 1025), (530, 5, 3, 40), (31, 66, 2, 257), (7, 3, 2, 4099), (300, 40, 4, 600),
        (3, 300, 2, 50),
    ]
]  # fmt: skip

EXAMPLES = [
    {
        "inputs": {
            "state": [[1.0, -1.0, 1.0, 1.0]],
            "examples": [[[1.0, 0.0, 1.0, -1.0], [1.0, 0.0, 1.0, 1.0]], [[0.0, -1.0, 0.0, 1.0], [0.0, -1.0, 0.0, 1.0]]],
        },
        "options": {"mode": "supervised"},
        "outputs": {"energy": [-1.0], "magnetization": [[0.5, 0.5]]},
        "gradients": {"state": [[-0.5, 0.5, -0.5, -0.5]]},
    }
]


def test_one_example_needs_no_supervision(call):
    rng = np.random.default_rng(0)
    state, examples = call.floats(rng.standard_normal((5, 40))), call.floats(rng.integers(-1, 2, (7, 1, 40)))
    results = [call(state, examples, mode=mode, quality=0.7) for mode in ("supervised", "unsupervised")]
    assert results[0].energy.tolist() == results[1].energy.tolist()
    assert results[0].magnetization.tolist() == results[1].magnetization.tolist()


def test_the_energy_falls_as_the_loss_does(call):
    """E / n = -1/2 sum over p of (1 - 2 loss_p)^2 for dense patterns without noise."""
    rng = np.random.default_rng(1)
    state, patterns = (call.floats(2 * rng.integers(0, 2, shape) - 1) for shape in ((6, 64), (3, 64)))
    energy = call(state, patterns[:, None]).energy
    m = 1 - ((patterns[None].astype(float) - state[:, None]) ** 2).sum(-1) / (2 * 64)
    np.testing.assert_allclose(energy, -64 / 2 * (m**2).sum(axis=1), rtol=1e-6)


def test_states_do_not_depend_on_the_others(call):
    rng = np.random.default_rng(2)
    state, examples = call.floats(rng.standard_normal((70, 33))), call.floats(rng.integers(-1, 2, (5, 3, 33)))
    clean = call(state, examples).energy
    state[3, 5] = np.nan
    energy = call(state, examples).energy
    assert np.isnan(energy[3]) and np.delete(energy, 3).tolist() == np.delete(clean, 3).tolist()
