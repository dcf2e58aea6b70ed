"""trades_loss: cross entropy plus divergence under attack."""

import numpy as np

def _log_softmax(z):
    with np.errstate(all="ignore"):
        top = z.max(-1, keepdims=True)
        return z - top - np.log(np.exp(z - top).sum(-1, keepdims=True))


def _parts(x):
    log_p, log_q = _log_softmax(x.logits), _log_softmax(x.adversarial_logits)
    return np.exp(log_p), np.exp(log_q), log_p, log_q


def _at(values, x):
    return np.take_along_axis(values, x.labels[:, None], -1)[:, 0]


def _divergence(p, log_p, log_q):
    return np.where(p > 0, p * (log_p - log_q), 0).sum(-1)


def reference(x, o):
    p, _, log_p, log_q = _parts(x)
    return {"loss": -_at(log_p, x) + o.beta * _divergence(p, log_p, log_q)}


def gradient(x, o, s):
    p, q, log_p, log_q = _parts(x)
    own = np.arange(p.shape[1]) == x.labels[:, None]
    excess = np.where(p > 0, log_p - log_q - _divergence(p, log_p, log_q)[:, None], 0)
    s = s[:, None]
    return {"logits": s * (p - own + o.beta * p * excess), "adversarial_logits": s * o.beta * (q - p)}


def _lead(x, p):
    return np.abs(x.logits - x.adversarial_logits), (p * np.abs(x.logits - x.adversarial_logits)).sum(-1)


def scale(x, o):
    p, _, log_p, _ = _parts(x)
    _, lead = _lead(x, p)
    tops = np.abs(x.logits).max(-1) + np.abs(x.adversarial_logits).max(-1)
    return {"loss": np.abs(_at(log_p, x)) + o.beta * (1 + lead + tops)}


def gradient_scale(x, o, s):
    p, q, _, _ = _parts(x)
    each, lead = _lead(x, p)
    size = np.abs(s[:, None])
    return {
        "logits": size * (np.maximum(p, 1) + o.beta * p * (each + lead[:, None])).max(-1, keepdims=True),
        "adversarial_logits": size * o.beta * np.maximum(p, q).max(-1, keepdims=True),
    }


OPTIONS = {"beta": [6.0, 0.0, 0.5]}

EXAMPLES = [
    {
        "inputs": {"logits": [[0.5, -1.25, 0.25]], "adversarial_logits": [[0.25, -1.0, 0.75]], "labels": [0]},
        "options": {"beta": 6.0},
        "outputs": {"loss": 1.05310779077},
        "gradients": {"logits": [[0.568111400158, 0.005504902304, -0.573616302462]], "adversarial_logits": [[-1.028730182903, 0.051670646251, 0.977059536651]]},
    }
]


def test_beta_zero_is_cross_entropy(call):
    rng = np.random.default_rng(0)
    z, w = (call.floats(3 * rng.standard_normal((7, 19))) for _ in range(2))
    y = rng.integers(0, 19, 7)
    result, other = call(z, w, y, beta=0.0), call.other("token_cross_entropy")(z, y)
    assert abs(result.loss / other.loss - 1) < 1e-6
    g = result.backward()
    assert not g["adversarial_logits"].astype(float).any()
    theirs = other.backward()["logits"].astype(float)
    np.testing.assert_allclose(g["logits"].astype(float), theirs, atol=1e-6 if call.dtype.itemsize == 4 else 1e-3)
