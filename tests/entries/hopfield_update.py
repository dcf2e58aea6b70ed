"""hopfield_update: one parallel step of a Hopfield network."""

import numpy as np

from harness.linear import draws


def _field(x, o):
    """n h."""
    field = x.state @ x.patterns.T @ x.patterns
    return field - x.state * (x.patterns**2).sum(axis=0) if o.zero_diagonal else field


def _draws(x, o):
    if x.draws is not None:
        return x.draws
    words = draws(o.seed, o.offset, x.state.size).astype(np.float64)
    most = 1 - 2.0**-24
    return np.clip(((2 * words + 1) / 2.0**32 - 1).astype(np.float32), -most, most).reshape(x.state.shape).astype(float)


def _decisive(x, o):
    """What has the sign of the next state."""
    field = _field(x, o)
    return field if o.beta == 0 else np.tanh(o.beta / x.state.shape[1] * field) + _draws(x, o)


def reference(x, o):
    value = _decisive(x, o)
    if o.beta == 0:
        return {"next_state": np.where(value > 0, 1, np.where(value < 0, -1, x.state))}
    return {"next_state": np.where(value >= 0, 1, -1)}


def scale(x, o):
    """Whatever rounding may turn is right: with patterns of integers n h is exact, and decisions are in f64."""
    n = x.state.shape[1]
    rounding = 0.0
    if (x.patterns != np.rint(x.patterns)).any():
        size = np.abs(x.state) @ np.abs(x.patterns).T @ np.abs(x.patterns) + (x.patterns**2).sum(axis=0)
        rounding = 1e-6 * size * (o.beta / n if o.beta else 1)
    return {"next_state": np.where(np.abs(_decisive(x, o)) <= rounding, 1e7, 1.0)}


def _spins(rng, shape, _distribution, _sizes):
    return 2.0 * rng.integers(0, 2, shape) - 1


def _patterns(rng, shape, distribution, _sizes):
    if distribution == "heavy":
        return rng.standard_normal(shape)
    return rng.integers(-1, 2, shape).astype(float)


def _uniform(rng, shape, _distribution, _sizes):
    return rng.uniform(-0.999, 0.999, shape)


OPTIONS = {"beta": [0.0, 0.3, 2.0, 50.0], "zero_diagonal": [True, False], "seed": [0, 2**64 - 3], "offset": [0, 2**63 + 17]}
SAMPLERS = {"state": _spins, "patterns": _patterns, "draws": _uniform}
SHAPES = [
    {"batch": b, "pattern_count": p, "n": n}
    for b, p, n in [
        (1, 1, 1), (3, 5, 4), (2, 7, 16), (5, 0, 9), (0, 3, 2), (1, 130, 33), (65, 3, 17), (64, 64, 64), (31, 70, 127),
        (4, 9, 1025), (530, 5, 40), (7, 3, 4099), (300, 40, 600),
        (3, 700, 70),
    ]
]  # fmt: skip

EXAMPLES = [
    {
        "inputs": {"state": [[1.0, -1.0, 1.0, 1.0]], "patterns": [[1.0, 0.0, 1.0, -1.0], [0.0, 1.0, 0.0, 1.0]]},
        "outputs": {"next_state": [[1.0, 1.0, 1.0, -1.0]]},
    }
]


def test_orthogonal_patterns_are_fixed(call):
    signs = np.array([[1]])
    for _ in range(6):
        signs = np.block([[signs, signs], [signs, -signs]])
    patterns = call.floats(signs[1:6])
    assert call(patterns, patterns).next_state.tolist() == patterns.tolist()
    noisy = patterns.copy()
    noisy[:, :5] *= -1
    result = call(noisy, patterns).next_state
    assert result.dtype == call.dtype and result.tolist() == patterns.tolist()


def test_integers_stay_exact(call):
    """Of two overlaps near 2^22 the larger decides if it is by one; if they are equal, spins stay as they are."""
    n = 33030
    state = np.random.default_rng(3).integers(0, 2, n) * 2 - 1
    state[:5] = [-1, 1, 1, -1, 1]
    patterns = np.stack([127 * state, 127 * state])
    patterns[0, :5] = [1, -1, 1, -1, 1]
    patterns[1, :5] = [-1, 1, -1, 1, 0]
    flipped = state.copy()
    flipped[:2] *= -1
    for expected in (flipped, state):
        result = call(call.floats(state[None]), call.floats(patterns), zero_diagonal=False).next_state
        assert result.astype(int).tolist() == [expected.tolist()]
        patterns[1, 4] = 1


def test_spins_follow_their_probability(call):
    n, count = 16, 4000
    rng = np.random.default_rng(0)
    patterns = call.floats(rng.integers(-1, 2, (3, n)))
    state = call.floats(np.repeat(_spins(rng, (1, n), None, None), count, axis=0))
    up = (call(state, patterns, beta=1.5, seed=5).next_state.astype(float) > 0).mean(axis=0)
    spin, patterns = state[0].astype(float), patterns.astype(float)
    h = (spin @ patterns.T @ patterns - spin * (patterns**2).sum(axis=0)) / n
    p = (1 + np.tanh(1.5 * h)) / 2
    assert (np.abs(up - p) < 5 * np.sqrt(p * (1 - p) / count)).all()


def test_draws_win(call):
    rng = np.random.default_rng(1)
    state, patterns = call.floats(_spins(rng, (5, 30), None, None)), call.floats(rng.integers(-1, 2, (4, 30)))
    words = draws(9, 77, 150).astype(np.float64)
    given = ((2 * words + 1) / 2.0**32 - 1).astype(np.float32).reshape(5, 30)
    drawn = call(state, patterns, beta=0.7, seed=9, offset=77).next_state
    assert drawn.tolist() == call(state, patterns, given, beta=0.7, seed=1).next_state.tolist()
    assert drawn.tolist() != call(state, patterns, beta=0.7, seed=9, offset=78).next_state.tolist()


def test_a_nan_stays_in_its_state(call):
    rng = np.random.default_rng(2)
    state, patterns = call.floats(_spins(rng, (70, 33), None, None)), call.floats(rng.integers(-1, 2, (5, 33)))
    for beta in (0.0, 1.0):
        clean = call(state, patterns, beta=beta).next_state
        broken = state.copy()
        broken[3, 5] = np.nan
        result = call(broken, patterns, beta=beta).next_state.astype(float)
        assert np.isnan(result[3]).all()
        assert np.delete(result, 3, axis=0).tolist() == np.delete(clean.astype(float), 3, axis=0).tolist()
