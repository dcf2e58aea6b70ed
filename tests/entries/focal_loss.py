"""focal_loss: sigmoid focal loss."""

import numpy as np

def _softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _terms(x, o):
    m = np.where(x.target > 0.5, x.logits, -x.logits)
    a = np.where(x.target > 0.5, o.alpha, 1 - o.alpha) if o.alpha >= 0 else 1.0
    return m, a, _softplus(-m), np.exp(-o.gamma * _softplus(m))


def reference(x, o):
    m, a, c, power = _terms(x, o)
    return {"loss": a * power * c}


def gradient(x, o, s):
    m, a, c, power = _terms(x, o)
    g = -s * a * power * (np.exp(-_softplus(m)) + o.gamma * np.exp(-_softplus(-m)) * c)
    return {"logits": np.where(x.target > 0.5, g, -g)}


def _hard(rng, shape, distribution, _sizes):
    return rng.integers(0, 2, shape).astype(float)


OPTIONS = {"gamma": [2.0, 0.0, 1.0, 0.5, 3.25], "alpha": [0.25, -1.0, 0.0, 1.0]}
SAMPLERS = {"target": _hard}

EXAMPLES = [
    {
        "inputs": {"logits": [[0.5, -1.25], [3.0, 0.0]], "target": [[1.0, 0.0], [0.0, 1.0]]},
        "outputs": {"loss": 0.536074071438},
        "gradients": {"logits": [[-0.008621062334, 0.00571291045], [0.211265602619, -0.018642924696]]},
    }
]


def test_gamma_zero_without_weights_is_cross_entropy(call):
    rng = np.random.default_rng(0)
    z, t = call.floats(3 * rng.standard_normal((7, 9))), call.floats(rng.integers(0, 2, (7, 9)))
    other = call.other("bce_with_logits")(z, t)
    one = call(z, t, gamma=0.0, alpha=-1.0)
    assert abs(one.loss / other.loss - 1) < 1e-6
    mine, theirs = (r.backward()["logits"].astype(np.float64) for r in (one, other))
    np.testing.assert_allclose(mine, theirs, rtol=1e-2 if call.dtype.itemsize == 2 else 2e-6, atol=1e-9)
