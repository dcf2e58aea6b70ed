"""unlearning_cross_entropy: random labels for some samples, true ones for others."""

import numpy as np


def _side(z, y):
    """-log p_y exact where it is small, and p - e_y."""
    if len(z) == 0:
        return np.zeros(0), np.zeros(z.shape)
    own = np.arange(z.shape[1]) == y[:, None]
    d = z - np.take_along_axis(z, y[:, None], axis=1)
    top = np.maximum(np.where(own, -np.inf, d).max(axis=1), 0) if z.shape[1] > 1 else np.zeros(len(z))
    others = np.where(own, 0, np.exp(d - top[:, None])).sum(axis=1)
    nll = np.where(top == 0, np.log1p(others), top + np.log(others + np.exp(-top)))
    p = np.where(own, 0, np.exp(d - nll[:, None]))
    return nll, np.where(own, -p.sum(axis=1, keepdims=True), p)


def _mean(values):
    return values.sum() / max(len(values), 1)


def reference(x, o):
    forget, retain = _side(x.forget_logits, x.random_labels)[0], _side(x.retain_logits, x.retain_labels)[0]
    return {"loss": _mean(forget) + (o.retain_weight * _mean(retain) if o.retain_weight else 0)}


def gradient(x, o, s):
    forget, retain = _side(x.forget_logits, x.random_labels)[1], _side(x.retain_logits, x.retain_labels)[1]
    return {
        "forget_logits": s * forget / max(len(forget), 1),
        "retain_logits": s * o.retain_weight * retain / max(len(retain), 1),
    }


OPTIONS = {"retain_weight": [1.0, 0.0, 2.5]}
SAMPLES_DEPEND = True

EXAMPLES = [
    {
        "inputs": {"forget_logits": [[0.5, -1.25, 0.25]], "random_labels": [2], "retain_logits": [[3.0, 0.0, 2.5]], "retain_labels": [0]},
        "outputs": {"loss": 1.423745776568},
        "gradients": {"forget_logits": [[0.512144291543, 0.088997333157, -0.6011416247]], "retain_logits": [[-0.396251103851, 0.03005888757, 0.366192216282]]},
    }
]


def test_an_empty_side_counts_nothing(call):
    rng = np.random.default_rng(0)
    z, y = call.floats(3 * rng.standard_normal((5, 19))), rng.integers(0, 19, 5)
    none, no_labels = call.floats(np.zeros((0, 19))), np.zeros(0, np.int64)
    expected = call.other("token_cross_entropy")(z, y).loss
    assert abs(call(z, y, none, no_labels).loss / expected - 1) < 1e-6
    assert abs(call(none, no_labels, z, y, retain_weight=2.0).loss / expected - 2) < 2e-6
    assert call(none, no_labels, none, no_labels).loss == 0
