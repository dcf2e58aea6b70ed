"""distillation_kl: divergence of softened distributions."""

import numpy as np

def _log_softmax(z):
    with np.errstate(all="ignore"):
        top = z.max(-1, keepdims=True)
        return z - top - np.log(np.exp(z - top).sum(-1, keepdims=True))


def _parts(x, o):
    log_p, log_q = _log_softmax(x.teacher / o.temperature), _log_softmax(x.student / o.temperature)
    return np.exp(log_p), np.exp(log_q), log_p, log_q


def reference(x, o):
    p, _, log_p, log_q = _parts(x, o)
    return {"loss": o.temperature**2 * np.where(p > 0, p * (log_p - log_q), 0).sum(-1)}


def gradient(x, o, s):
    p, q, _, _ = _parts(x, o)
    return {"student": s[:, None] * o.temperature * (q - p)}


def scale(x, o):
    """A mean of logit differences and a difference of logsumexps."""
    p, _, _, _ = _parts(x, o)
    t = o.temperature
    size = (p * np.abs(x.teacher - x.student) / t).sum(-1)
    return {"loss": t**2 * (1 + size + np.abs(x.teacher).max(-1) / t + np.abs(x.student).max(-1) / t)}


def gradient_scale(x, o, s):
    """A difference of two probabilities."""
    p, q, _, _ = _parts(x, o)
    return {"student": np.abs(s[:, None]) * o.temperature * np.maximum(p, q).max(-1, keepdims=True)}


AMPLIFIED = 16  # T^2
OPTIONS = {"temperature": [4.0, 1.0, 0.5, 20.0]}

EXAMPLES = [
    {
        "inputs": {"student": [[0.5, -1.25, 0.25]], "teacher": [[1.0, 0.0, -0.5]]},
        "options": {"temperature": 2.0},
        "outputs": {"loss": 0.272755664399},
        "gradients": {"student": [[-0.092240868104, -0.220922150244, 0.313163018349]]},
    }
]


def test_equal_rows(call):
    z = call.floats(np.random.default_rng(0).standard_normal((5, 33)))
    result = call(z, z, reduction="none")
    assert np.abs(result.loss).max() < 1e-5 and not result.backward()["student"].astype(float).any()


def test_impossible_classes(call):
    """A class of probability 0 under the teacher adds nothing."""
    t, x = call.floats([[1.0, -np.inf, 0.5]]), call.floats([[0.5, 2.0, 1.0]])
    result = call(x, t, temperature=1.0)
    p, q = np.exp(_log_softmax(t.astype(float))), np.exp(_log_softmax(x.astype(float)))
    expected = (p[0, [0, 2]] * np.log(p[0, [0, 2]] / q[0, [0, 2]])).sum()
    assert abs(result.loss - expected) < 1e-5
    assert np.isfinite(result.backward()["student"].astype(float)).all()
