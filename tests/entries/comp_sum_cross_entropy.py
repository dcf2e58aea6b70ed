"""comp_sum_cross_entropy: from sum-exponential over cross entropy to mean absolute error."""

import numpy as np


def _rows(x, o):
    z = x.logits
    counted = x.labels != o.ignore_index
    y = np.where(counted, x.labels, 0)[:, None]
    own = np.zeros(z.shape, bool)
    np.put_along_axis(own, y, True, axis=1)
    d = z - np.take_along_axis(z, y, axis=1)
    top = np.maximum(np.where(own, -np.inf, d).max(axis=1), 0) if z.shape[1] > 1 else np.zeros(len(z), z.dtype)
    # v = log(1 + sum of the others), exact where p_y is near 1.
    others = np.where(own, 0, np.exp(d - top[:, None])).sum(axis=1)
    v = np.where(top == 0, np.log1p(others), top + np.log(others + np.exp(-top)))
    p = np.where(own, 0, np.exp(d - v[:, None]))
    return counted, own, v, p


def reference(x, o):
    counted, _, v, _ = _rows(x, o)
    c = 1 - o.tau
    loss = np.expm1(c * v) / c if c != 0 else v
    return {"loss": np.where(counted, loss, 0)}


def count(x, o):
    return (x.labels != o.ignore_index).sum()


def gradient(x, o, s):
    counted, own, v, p = _rows(x, o)
    factor = np.exp((1 - o.tau) * v) * s
    g = factor[:, None] * np.where(own, -p.sum(axis=1, keepdims=True), p)
    return {"logits": np.where(counted[:, None], g, 0)}



def scale(x, o):
    """exp((1 - tau) v) makes a relative error of the result out of an absolute one of v: the rounding of the
    sum of exponentials to f32, 6e-8, times |1 - tau|."""
    counted, _, v, _ = _rows(x, o)
    c = 1 - o.tau
    loss = np.abs(np.expm1(c * v) / c) if c != 0 else v
    return {"loss": np.where(counted, loss, 0)}


OPTIONS = {
    "tau": [1.0, 0.0, 0.5, 0.999, 1.0 + 1e-9, 1.5, 2.0, 3.0],
    "ignore_index": [-100, 0],
}

EXAMPLES = [
    {
        "inputs": {"logits": [[0.5, -1.25, 0.25], [3.0, 0.0, 2.5]], "labels": [0, 2]},
        "outputs": {"loss": 0.836872888284},
        "gradients": {
            "logits": [[-0.243927854228, 0.044498666579, 0.19942918765], [0.301874448074, 0.015029443785, -0.316903891859]]
        },
    }
]


def _sample(call):
    rng = np.random.default_rng(0)
    return call.floats(3 * rng.standard_normal((7, 37))), rng.integers(0, 37, 7)


def test_tau_one_is_cross_entropy(call):
    z, y = _sample(call)
    one, other = call(z, y), call.other("token_cross_entropy")(z, y)
    assert one.loss == other.loss
    assert one.backward()["logits"].tobytes() == other.backward()["logits"].tobytes()


def test_tau_two_is_mean_absolute_error(call):
    z, y = _sample(call)
    result = call(z, y, tau=2.0, reduction="none")
    e = np.exp(z.astype(float) - z.astype(float).max(axis=1, keepdims=True))
    p = np.take_along_axis(e / e.sum(axis=1, keepdims=True), y[:, None], axis=1)[:, 0]
    assert np.allclose(result.loss, 1 - p, rtol=1e-6)
    own = np.take_along_axis(result.backward()["logits"].astype(float), y[:, None], axis=1)
    assert np.abs(own).max() <= 0.25 + 1e-3


def test_continuous_across_one(call):
    z, y = _sample(call)
    losses = [call(z, y, tau=tau, reduction="none").loss for tau in (1 - 1e-7, 1.0, 1 + 1e-7)]
    assert np.allclose(losses[0], losses[1], rtol=2e-6) and np.allclose(losses[2], losses[1], rtol=2e-6)


def test_overflows_to_infinity_alone(call):
    z = call.floats([[0.0, 300.0], [0.0, 1.0]])
    loss = call(z, [0, 0], tau=0.0, reduction="none").loss
    assert loss[0] == np.inf and np.isfinite(loss[1])
