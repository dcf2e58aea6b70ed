"""beta_policy_gradient: REINFORCE for a Beta policy."""

import math

import numpy as np

from harness.special import concentration, digamma, lgamma, trigamma

#: Of rounding in f64, of library and reference, beside that of the result: terms may be far larger than their sum.
NOISE = 1e-7


def _advantage(x, o):
    r = x.rewards
    if o.normalize:
        return (r - r.mean()) / (r.std() + 1e-8) if r.size else r
    return r - o.baseline


def _parts(x):
    return x.concentration1, x.concentration0, x.actions


def _values(x):
    """log-density and entropy of each element, and the size of the terms of both."""
    a, b, u = _parts(x)
    of = [lgamma(v) for v in (a, b, a + b)]
    psi = [digamma(v) for v in (a, b, a + b)]
    ln_beta = of[0] + of[1] - of[2]
    terms = [(a - 1) * np.log(u), (b - 1) * np.log1p(-u)]
    weighted = [-(a - 1) * psi[0], -(b - 1) * psi[1], (a + b - 2) * psi[2]]
    size = [sum(np.abs(v) + 1 for v in of) + sum(np.abs(v) for v in more) for more in (terms, weighted)]
    return sum(terms) - ln_beta, ln_beta + sum(weighted), size


def _rows(values):
    return values.sum(axis=1)


def reference(x, o):
    log_prob, entropy, _ = _values(x)
    loss = -_advantage(x, o) * _rows(log_prob) - o.entropy_weight * _rows(entropy)
    return {"loss": loss, "log_prob": _rows(log_prob)}


def _gradient(x, o, s, size=lambda v: v, plus=1):
    """Of the sizes of its terms with `size` and without differences."""
    a, b, u = _parts(x)
    advantage, s = -size(_advantage(x, o))[:, None], s[:, None]
    psi, psi1 = digamma(a + b), trigamma(a + b)
    result = {}
    for name, c, log in (("concentration1", a, np.log(u)), ("concentration0", b, np.log1p(-u))):
        of_log_prob = size(log) + size(psi) - plus * size(digamma(c))
        of_entropy = size((a + b - 2) * psi1) - plus * size((c - 1) * trigamma(c))
        result[name] = size(s) * (advantage * of_log_prob - plus * o.entropy_weight * of_entropy)
    return result


def gradient(x, o, s):
    return _gradient(x, o, s)


def scale(x, o):
    log_prob, entropy, size = _values(x)
    noise = [NOISE * _rows(v) for v in size]
    loss = np.abs(-_advantage(x, o) * _rows(log_prob) - o.entropy_weight * _rows(entropy))
    loss += np.abs(_advantage(x, o)) * noise[0] + o.entropy_weight * noise[1]
    return {"loss": loss, "log_prob": np.abs(_rows(log_prob)) + noise[0]}


def gradient_scale(x, o, s):
    sizes = _gradient(x, o, s, np.abs, -1)
    found = {}
    for name, g in _gradient(x, o, s).items():
        g = np.abs(g) + NOISE * np.abs(sizes[name])
        found[name] = np.broadcast_to(g.max(axis=1, keepdims=True, initial=0), g.shape)
    return found


def _actions(rng, shape, distribution, _sizes):
    if distribution == "extreme":
        return rng.choice([1e-6, 0.004, 0.5, 0.99], shape)
    if distribution == "offset":
        return 0.5 + 0.01 * rng.standard_normal(shape)
    return rng.uniform(0.004, 0.994, shape)


def _rewards(rng, shape, distribution, _sizes):
    return np.full(shape, 0.75) if distribution == "constant" else rng.standard_normal(shape)


OPTIONS = {"baseline": [0.0, -1.5], "normalize": [False, True], "entropy_weight": [0.0, 0.01, 1.0]}
SAMPLERS = {"concentration1": concentration, "concentration0": concentration, "actions": _actions, "rewards": _rewards}
SHAPES = [{"rows": r, "d": d} for r, d in [(1, 1), (3, 5), (0, 4), (5, 8), (2, 17), (7, 33), (1, 257), (4, 1025), (2, 2503), (33, 1025)]]

EXAMPLES = [
    {
        "inputs": {"concentration1": [[1.5, 2.0]], "concentration0": [[1.0, 3.0]], "actions": [[0.25, 0.5]], "rewards": [0.75]},
        "options": {"baseline": 0.25, "entropy_weight": 0.01},
        "outputs": {"loss": -0.055821133583, "log_prob": [0.117783035656]},
        "gradients": {"concentration1": [[0.36203606945, -0.195283424388]], "concentration0": [[-0.498796905329, 0.056165916279]]},
    }
]


def test_reference_functions(call):
    for v in (1e-3, 0.1, 0.5, 1.0, 3.3, 19.9, 20.1, 1e4):
        assert abs(lgamma(np.float64(v)) - math.lgamma(v)) <= 1e-14 * max(1, abs(math.lgamma(v)))
        v = np.longdouble(v)
        h = v * 1e-4
        slope = (8 * (lgamma(v + h) - lgamma(v - h)) - (lgamma(v + 2 * h) - lgamma(v - 2 * h))) / (12 * h)
        curve = (8 * (digamma(v + h) - digamma(v - h)) - (digamma(v + 2 * h) - digamma(v - 2 * h))) / (12 * h)
        assert abs(slope - digamma(v)) < 1e-10 * max(1, abs(slope)) and abs(curve - trigamma(v)) < 1e-9 * curve
    assert abs(digamma(1.0) + 0.5772156649015329) < 1e-14 and abs(trigamma(1.0) - np.pi**2 / 6) < 1e-14


def test_uniform_policy(call):
    """Beta(1, 1): density 1, entropy 0; the gradient for a is -A (1 + log x)."""
    rng = np.random.default_rng(0)
    one, x = call.floats(np.ones((3, 40))), call.floats(rng.uniform(0.1, 0.9, (3, 40)))
    result = call(one, one, x, call.floats([1.0, -2.0, 0.5]), reduction="sum")
    assert np.abs(result.log_prob).max() < 1e-12
    expected = -np.array([[1.0], [-2.0], [0.5]]) * (1 + np.log(x.astype(float)))
    bound = 1e-6 if call.dtype.itemsize == 4 else 1e-2
    np.testing.assert_allclose(result.backward()["concentration1"].astype(float), expected, rtol=bound, atol=bound)


def test_mirrored_masks(call):
    rng = np.random.default_rng(1)
    a, b = (call.floats(np.exp(rng.standard_normal((4, 9)))) for _ in range(2))
    x = call.floats(rng.integers(1, 8, (4, 9)) / 8)
    rewards, options = call.floats(rng.standard_normal(4)), {"entropy_weight": 0.1, "normalize": True}
    one, other = call(a, b, x, rewards, **options), call(b, a, call.floats(1 - x.astype(float)), rewards, **options)
    np.testing.assert_allclose(one.log_prob, other.log_prob, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(one.loss, other.loss, rtol=1e-6, atol=1e-9)


def test_normalised_advantages_do_not_depend_on_the_baseline(call):
    rng = np.random.default_rng(2)
    a, b = (call.floats(np.exp(rng.standard_normal((5, 7)))) for _ in range(2))
    x, rewards = call.floats(rng.uniform(0.1, 0.9, (5, 7))), call.floats(rng.standard_normal(5))
    losses = [call(a, b, x, rewards, baseline=base, normalize=True).loss for base in (0.0, 3.0)]
    assert losses[0] == losses[1]
    same = call.floats(np.full(5, 0.5))
    assert call(a, b, x, same, normalize=True).loss == 0


def test_bad_input_is_refused(call):
    import losskit
    import pytest

    if call.context.kind != "cpu":
        return
    good = {"concentration1": [[1.0]], "concentration0": [[1.0]], "actions": [[0.5]], "rewards": [1.0]}
    for name, value in (("concentration1", 0.0), ("concentration0", -1.0), ("actions", 0.0), ("actions", 1.0)):
        inputs = {n: call.floats(v) for n, v in {**good, name: [[value]]}.items()}
        with pytest.raises(losskit.Error, match=name):
            call(**inputs)
