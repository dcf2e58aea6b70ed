"""isogclr: global contrastive loss with a temperature for each sample."""

import numpy as np
import pytest

import losskit
from harness.similarities import directions, gradient_size, log_sum_exp, magnitude, rows, through


def _parts(x, o):
    a, b = directions(x.a, o.normalize), directions(x.b, o.normalize)
    s = a @ b.T
    z = (s - np.diag(s)[:, None]) / x.temperatures[:, None]
    np.fill_diagonal(z, -np.inf)
    n = len(z)
    log_mean = log_sum_exp(z, 1) - np.log(n - 1)
    with np.errstate(divide="ignore"):
        log_u = np.logaddexp(np.log(1 - o.gamma) + x.log_u, np.log(o.gamma) + log_mean)
    p = np.exp(z - (np.log(n - 1) + log_u)[:, None])
    return a, b, z, log_u, p


def reference(x, o):
    a, b, z, log_u, p = _parts(x, o)
    pull = np.where(p > 0, p * np.where(p > 0, z, 0), 0).sum(axis=1)
    grad = log_u + o.rho - pull
    moved = np.clip(x.temperatures - o.learning_rate * grad, o.min_temperature, o.max_temperature)
    return {"loss": x.temperatures * (log_u + o.rho), "log_u_next": log_u, "temperature_grad": grad, "temperatures_next": moved}


def _weights(x, o, s):
    a, b, _, _, p = _parts(x, o)
    w = s[:, None] * p
    np.fill_diagonal(w, -w.sum(axis=1))
    return a, b, w


def gradient(x, o, s):
    a, b, w = _weights(x, o, s)
    return {"a": through(x.a, w @ b, o.normalize), "b": through(x.b, w.T @ a, o.normalize)}


def surrogate(x, o, at):
    """p counts as constant: it is an estimate by the moving average."""
    a, b = directions(x.a, o.normalize), directions(x.b, o.normalize)
    s = a @ b.T
    return (_parts(at, o)[4] * (s - np.diag(s)[:, None])).sum(axis=1)


def _sizes(x, o):
    """Of the terms of (S_ij - S_ii) / t_i, whose f32 errors exp makes relative ones."""
    a, b = directions(x.a, o.normalize), directions(x.b, o.normalize)
    size = magnitude(a, b, 1)
    return (size + np.diag(size)[:, None]) / x.temperatures[:, None]


def scale(x, o):
    _, _, z, log_u, p = _parts(x, o)
    size = _sizes(x, o).max(axis=1) + np.abs(log_u) + 1  # the 1 for f32 exponentials in the sum
    far = np.where(p > 0, np.abs(np.where(p > 0, z, 0)) * p, 0).sum(axis=1)
    grad = size * (1 + far) + o.rho
    return {
        "loss": x.temperatures * (size + o.rho),
        "log_u_next": size,
        "temperature_grad": grad,
        "temperatures_next": x.temperatures + o.learning_rate * grad,
    }


def gradient_scale(x, o, s):
    a, b, w = _weights(x, o, s)
    # Beside the similarity's: log u' is f32 when it meets the exponent.
    sizes = _sizes(x, o) + 1 + np.abs(_parts(x, o)[3])[:, None]
    return {"a": gradient_size(x.a, w, b, sizes, 1, o.normalize), "b": gradient_size(x.b, w.T, a, sizes.T, 1, o.normalize)}


def _log_u(rng, shape, distribution, sizes):
    return {"extreme": 30, "tiny": 0.01}.get(distribution, 1) * rng.standard_normal(shape)


def _temperatures(rng, shape, distribution, sizes):
    return {"extreme": 0.01, "offset": 0.2}.get(distribution, 0.05) + 0.9 * rng.random(shape)


SAMPLERS = {"a": rows, "b": rows, "log_u": _log_u, "temperatures": _temperatures}
OPTIONS = {
    "gamma": [0.8, 0.1, 1.0],
    "rho": [0.3, 0.0, 2.0],
    "learning_rate": [0.0, 0.01, 1.0],
    "min_temperature": [0.005, 0.1],
    "max_temperature": [1.0, 0.5],
    "normalize": [True, False],
}
SHAPES = [
    {"n": n, "d": d}
    for n, d in [(2, 1), (2, 3), (3, 4), (5, 2), (9, 17), (16, 8), (33, 5), (65, 31), (131, 66), (260, 3), (520, 20), (600, 33)]
]
SAMPLES_DEPEND = True

EXAMPLES = [
    {
        "inputs": {
            "a": [[1.0, 0.5], [-0.5, 1.0], [0.25, -1.0]],
            "b": [[0.75, 0.5], [-0.25, 1.0], [0.5, -0.5]],
            "log_u": [0.0, 0.0, 0.0],
            "temperatures": [0.3, 0.5, 0.7],
        },
        "options": {"gamma": 0.8, "rho": 0.3, "learning_rate": 0.01},
        "outputs": {
            "loss": -0.471810078326,
            "log_u_next": [-1.301269079969, -1.26842730413, -1.201194084172],
            "temperature_grad": [-0.208343169511, -0.271679225143, -0.075703631391],
            "temperatures_next": [0.302083431695, 0.502716792251, 0.700757036314],
        },
        "gradients": {
            "a": [[0.01185143487, -0.023702869741], [0.067857221314, 0.033928610657], [0.021589337014, 0.005397334254]],
            "b": [[-0.01591620475, 0.023874307125], [0.067019236411, 0.016754809103], [0.136855549208, 0.136855549208]],
        },
    }
]


def test_with_all_of_the_average_new_it_is_a_loss(call):
    """gamma = 1: the gradient is that of t log mean exp(h / t), and the one in t that of the loss."""
    if call.dtype.itemsize != 4:
        return
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((6, 5)).astype(np.float32), rng.standard_normal((6, 5)).astype(np.float32)
    t = np.full(6, 0.4, np.float32)
    result = call(a, b, np.zeros(6, np.float32), t, gamma=1.0, reduction="sum")

    def loss(a, b, t):
        u, v = directions(a, True), directions(b, True)
        s = u @ v.T
        z = (s - np.diag(s)[:, None]) / t[:, None]
        np.fill_diagonal(z, -np.inf)
        return t * (log_sum_exp(z, 1) - np.log(5) + 0.3)

    x = [value.astype(float) for value in (a, b, t)]
    gradients = [*result.backward().values(), result.temperature_grad]
    for k, (g, value) in enumerate(zip(gradients, x)):
        for place in np.ndindex(value.shape):
            step = np.zeros_like(value)
            step[place] = 1e-6
            up, down = ([*x[:k], value + sign * step, *x[k + 1 :]] for sign in (1, -1))
            slope = (loss(*up).sum() - loss(*down).sum()) / 2e-6
            assert abs(slope - g[place]) < 2e-6, (k, place)


def test_small_temperatures_stay_finite(call):
    a = call.floats([[1, 0], [1, 0.001], [-1, 0]])
    b = call.floats([[-1, 0], [1, 0], [1, 0]])
    result = call(a, b, np.zeros(3, np.float32), np.full(3, 0.01, np.float32), reduction="none")
    assert np.isfinite(result.loss).all() and np.isclose(result.log_u_next[0], 200 + np.log(0.8), rtol=1e-3)
    assert all(np.isfinite(g.astype(float)).all() for g in result.backward().values())


def test_temperatures_stay_in_their_bounds(call):
    a, b = (call.floats(np.random.default_rng(i).standard_normal((4, 3))) for i in (0, 1))
    state = np.zeros(4, np.float32), np.full(4, 0.2, np.float32)
    bounds = dict(min_temperature=0.1, max_temperature=0.3)
    moved = call(a, b, *state, learning_rate=100.0, **bounds)
    assert np.isin(moved.temperatures_next, np.float32([0.1, 0.3])).all()
    with pytest.raises(losskit.Error, match=r"option 'min_temperature' is 2, expected at most max_temperature \(1\)"):
        call(a, b, *state, min_temperature=2.0)
