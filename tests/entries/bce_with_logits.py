"""bce_with_logits: binary cross entropy on logits."""

import numpy as np


def _softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def _parts(x):
    w = 1 if x.weight is None else x.weight
    q = 1 if x.pos_weight is None else x.pos_weight
    return x.logits, x.target, w, q


def reference(x, o):
    # (1 - t) z + k softplus(-z) with k = 1 + (q - 1) t, written without cancellation: z = softplus(z) - softplus(-z).
    z, t, w, q = _parts(x)
    return {"loss": w * ((1 - t) * _softplus(z) + q * t * _softplus(-z))}


def gradient(x, o, s):
    z, t, w, q = _parts(x)
    return {
        "logits": s * w * ((1 - t) * _sigmoid(z) - q * t * _sigmoid(-z)),
        "target": s * w * (q * _softplus(-z) - _softplus(z)),
    }


def gradient_scale(x, o, s):
    """The gradients are differences of two terms, (1 - t) sigmoid(z) - q t sigmoid(-z) and q softplus(-z) -
    softplus(z), which cancel where the loss is flat. The loss is a sum of two terms that are not negative,
    (1 - t) softplus(z) + q t softplus(-z): nothing cancels."""
    z, t, w, q = _parts(x)
    return {
        "logits": np.abs(s * w) * ((1 - t) * _sigmoid(z) + q * t * _sigmoid(-z)),
        "target": np.abs(s * w) * (_softplus(z) + q * _softplus(-z)),
    }


def _target(rng, shape, distribution, _sizes):
    hard = rng.integers(0, 2, shape).astype(float)
    return hard if distribution in ("extreme", "constant") else np.where(rng.random(shape) < 0.5, hard, rng.random(shape))


def _weight(rng, shape, distribution, _sizes):
    return 4 * rng.random(shape)


SAMPLERS = {"target": _target, "weight": _weight, "pos_weight": _weight}

EXAMPLES = [
    {
        "inputs": {"logits": [[0.5, -1.25], [3.0, 0.0]], "target": [[1.0, 0.0], [0.25, 1.0]]},
        "outputs": {"loss": 0.929435149415},
        "gradients": {
            "logits": [[-0.0943851672, 0.055675034706], [0.175643531706, -0.125]],
            "target": [[-0.125, 0.3125], [-0.75, 0.0]],
        },
    }
]


def test_hard_targets_far_out(call):
    """Exact where sigmoid is 0 or 1 in f32."""
    z = call.floats([[300, -300, 300, -300]])
    t = call.floats([[1, 1, 0, 0]])
    result = call(z, t, reduction="none")
    assert result.loss.tolist() == [[0, 300, 300, 0]]
    assert result.backward()["logits"].astype(float).tolist() == [[0, -1, 1, 0]]


def test_small_losses_keep_their_digits(call):
    """softplus(-20) = 2.06e-9: in (1 - t) z + softplus(-z) = -20 + 20 for the negative class it would be lost."""
    for z, t in ((20.0, 1.0), (-20.0, 0.0)):
        loss = call(call.floats([[z]]), call.floats([[t]])).loss
        assert abs(loss / np.log1p(np.exp(-20.0)) - 1) < 1e-6, (z, t, loss)


def test_weight_zero_counts_in_the_mean(call):
    z, t = call.floats([[1.0, 2.0]]), call.floats([[0.0, 0.0]])
    weighted = call(z, t, weight=call.floats([[1.0, 0.0]])).loss
    assert abs(weighted - np.logaddexp(0, 1.0) / 2) < 1e-6


def test_no_classes(call):
    assert call(call.floats(np.zeros((3, 0))), call.floats(np.zeros((3, 0)))).loss == 0
