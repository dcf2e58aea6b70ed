"""hebbian_loss: quadratic distances of states to patterns."""

import numpy as np


def _rows(x, o, f):
    """f(b, state -+ patterns) of each state b: all of them at once would be large."""
    sign = -1 if o.sign == "minus" else 1
    return [f(b, state + sign * x.patterns) for b, state in enumerate(x.state)]


def reference(x, o):
    loss = _rows(x, o, lambda _, d: (d**2).sum(axis=1))
    return {"loss": np.reshape(loss, (len(x.state), len(x.patterns))) / (4 * x.state.shape[1])}


def _gradient(x, o, s, size=lambda v: v):
    g = _rows(x, o, lambda b, d: size(s[b]) @ size(d))
    return {"state": np.reshape(g, x.state.shape) / (2 * x.state.shape[1])}


def gradient(x, o, s):
    return _gradient(x, o, s)


def gradient_scale(x, o, s):
    """Terms of different sign may cancel."""
    g = _gradient(x, o, s, np.abs)["state"]
    return {"state": np.broadcast_to(g.max(axis=1, keepdims=True, initial=0), g.shape)}


OPTIONS = {"sign": ["minus", "plus"]}

SHAPES = [
    {"batch": b, "pattern_count": p, "n": n}
    for b, p, n in [
        (1, 1, 1), (3, 5, 4), (2, 7, 16), (5, 0, 9), (0, 3, 2), (1, 130, 33), (65, 3, 17), (64, 64, 64), (31, 70, 127),
        (4, 9, 1025), (130, 66, 257), (7, 3, 4099), (200, 150, 300),
    ]
]  # fmt: skip

EXAMPLES = [
    {
        "inputs": {"state": [[1.0, -1.0, 1.0, 1.0]], "patterns": [[1.0, 0.0, 1.0, -1.0]]},
        "outputs": {"loss": [[0.3125]]},
        "gradients": {"state": [[-0.0, -0.125, -0.0, 0.25]]},
    }
]


def _spins(rng, *shape):
    return 2.0 * rng.integers(0, 2, shape) - 1


def test_spins_give_the_overlap(call):
    rng = np.random.default_rng(0)
    state, patterns = _spins(rng, 9, 50), _spins(rng, 70, 50)
    m = state @ patterns.T / 50
    minus, plus = (call(call.floats(state), call.floats(patterns), sign=sign).loss for sign in ("minus", "plus"))
    np.testing.assert_allclose(minus, (1 - m) / 2, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(plus, (1 + m) / 2, rtol=1e-6, atol=1e-7)


def test_close_states_lose_no_digits(call):
    """Far from the origin the expanded square would."""
    rng = np.random.default_rng(1)
    patterns = call.floats(1000 + 8 * rng.integers(-3, 3, (5, 40)))
    state = call.floats(patterns.astype(float) + 8 * rng.integers(-1, 2, (5, 40)))
    call.compare({"state": state, "patterns": patterns}, {})


def test_pairs_do_not_depend_on_the_others(call):
    rng = np.random.default_rng(2)
    state, patterns = call.floats(rng.standard_normal((70, 33))), call.floats(rng.standard_normal((90, 33)))
    clean = call(state, patterns).loss
    state[3, 5], patterns[7, 2] = np.nan, np.inf
    loss = call(state, patterns).loss
    assert np.isnan(loss[3]).all() and not np.isfinite(loss[:, 7]).any()
    rest = np.ix_(np.arange(70) != 3, np.arange(90) != 7)
    assert loss[rest].tolist() == clean[rest].tolist()


def test_states_near_some_patterns(call):
    """Products and differences side by side: relaxed states at various distances, and a neuron far larger than others."""
    rng = np.random.default_rng(3)
    patterns = _spins(rng, 300, 257)
    state = patterns[rng.integers(0, 300, 140)] * np.linspace(0, 1.25, 140)[:, None]
    state *= rng.uniform(0.9, 1.1, state.shape)
    state[::7] += rng.standard_normal((20, 257))
    for sign in ("minus", "plus"):
        call.compare({"state": call.floats(state), "patterns": call.floats(patterns)}, {"sign": sign})
    patterns[:, 200], state[:, 200] = 96, 97
    call.compare({"state": call.floats(state), "patterns": call.floats(patterns)}, {})
