"""co_teaching: small-loss selection between two networks."""

import numpy as np


def _taken(losses, o):
    n = len(losses)
    selected = np.zeros(n, np.uint8)
    selected[np.argsort(losses, kind="stable")[: int(np.floor((1 - o.forget_rate) * n + 1e-9))]] = 1
    return selected


def _means(a, b, o):
    sides = [(a, _taken(b, o)), (b, _taken(a, o))]
    return np.array([(losses * taken).sum() / max(taken.sum(), 1) for losses, taken in sides])


def reference(x, o):
    return {"loss": _means(x.losses_a, x.losses_b, o), "selected_a": _taken(x.losses_a, o), "selected_b": _taken(x.losses_b, o)}


def surrogate(x, o, at):
    """The selections count as constants."""
    sides = [(x.losses_a, _taken(at.losses_b, o)), (x.losses_b, _taken(at.losses_a, o))]
    return np.array([(losses * taken).sum() / max(taken.sum(), 1) for losses, taken in sides])


def gradient(x, o, s):
    b, a = _taken(x.losses_b, o), _taken(x.losses_a, o)
    return {"losses_a": s[0] * b / max(b.sum(), 1), "losses_b": s[1] * a / max(a.sum(), 1)}


def scale(x, o):
    with np.errstate(all="ignore"):
        sizes = [(np.abs(x.losses_a), _taken(x.losses_b, o)), (np.abs(x.losses_b), _taken(x.losses_a, o))]
        return {"loss": np.array([(size * taken).sum() / max(taken.sum(), 1) for size, taken in sizes])}


OPTIONS = {"forget_rate": [0.2, 0.0, 1.0, 0.5, 0.93]}
SHAPES = [{"n": n} for n in (1, 2, 3, 5, 7, 8, 9, 16, 17, 31, 33, 64, 257, 1023, 1025, 2503, 5001, 20_011, 70_001)]
SAMPLES_DEPEND = True

EXAMPLES = [
    {
        "inputs": {"losses_a": [0.5, 2.0, 0.25, 1.0], "losses_b": [0.75, 0.5, 1.5, 0.25]},
        "options": {"forget_rate": 0.5},
        "outputs": {"loss": [1.5, 1.125], "selected_a": [1, 0, 1, 0], "selected_b": [0, 1, 0, 1]},
        "gradients": {"losses_a": [0.0, 0.5, 0.0, 0.5], "losses_b": [0.5, 0.0, 0.5, 0.0]},
    }
]


def test_ties_go_to_lower_indices(call):
    rng = np.random.default_rng(0)
    for n in (100, 70_001):
        a, b = (call.floats(rng.choice([0.0, -0.0, 0.5, 1.0, -1.0], n)) for _ in range(2))
        for forget_rate in (0.1, 0.35, 0.5, 0.99):
            call.compare({"losses_a": a, "losses_b": b}, {"forget_rate": forget_rate})


def test_a_network_with_itself_learns_from_its_smallest(call):
    x = call.floats(np.random.default_rng(0).exponential(size=501))
    got = call(x, x, forget_rate=0.4)
    np.testing.assert_allclose(got.loss, np.sort(x.astype(np.float64))[:300].mean(), rtol=1e-6)


def test_samples_with_nan_are_taken_last(call):
    a, b = call.floats([np.nan, 1.0, 2.0, 3.0]), call.floats([3.0, np.nan, np.inf, 0.0])
    got = call(a, b, forget_rate=0.25)
    assert got.selected_a.tolist() == [0, 1, 1, 1] and got.selected_b.tolist() == [1, 0, 1, 1]
    assert np.isnan(got.loss).all()
    got = call(a, b, forget_rate=0.5)
    assert got.selected_a.tolist() == [0, 1, 1, 0] and got.selected_b.tolist() == [1, 0, 0, 1]


def test_upstream_gradients_of_each_side(call):
    rng = np.random.default_rng(1)
    a, b = (call.floats(rng.standard_normal(3001)) for _ in range(2))
    g = {name: g.astype(float) for name, g in call(a, b).backward(np.float32([2, -3])).items()}
    assert set(np.sign(g["losses_a"])) == {0, 1} and set(np.sign(g["losses_b"])) == {0, -1}
