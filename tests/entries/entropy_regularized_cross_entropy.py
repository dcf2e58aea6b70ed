"""entropy_regularized_cross_entropy: cross entropy plus a multiple of the entropy."""

import numpy as np


def _rows(x, o):
    z = x.logits
    counted = x.labels != o.ignore_index
    y = np.where(counted, x.labels, 0)[:, None]
    d = z - z.max(axis=1, keepdims=True)
    # log(1 + sum of the others), exact where the row is certain.
    others = np.exp(d)
    np.put_along_axis(others, d.argmax(axis=1)[:, None], 0, axis=1)
    log_p = d - np.log1p(others.sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    entropy = -np.where(p > 0, p * log_p, 0).sum(axis=1)
    own = np.arange(z.shape[1]) == y
    return counted, own, p, log_p, entropy, np.take_along_axis(log_p, y, axis=1)[:, 0]


def reference(x, o):
    counted, _, _, _, entropy, log_own = _rows(x, o)
    return {"loss": np.where(counted, -log_own + o.entropy_weight * entropy, 0)}


def count(x, o):
    return (x.labels != o.ignore_index).sum()


def gradient(x, o, s):
    counted, own, p, log_p, entropy, _ = _rows(x, o)
    # 1 - p_y without cancellation.
    error = np.where(own, -np.where(own, 0, p).sum(axis=1, keepdims=True), p)
    mixed = np.where(p > 0, p * (log_p + entropy[:, None]), 0)
    return {"logits": np.where(counted[:, None], s[:, None] * (error - o.entropy_weight * mixed), 0)}


def scale(x, o):
    counted, _, _, _, entropy, log_own = _rows(x, o)
    return {"loss": np.where(counted, -log_own + np.abs(o.entropy_weight) * entropy, 0)}


def gradient_scale(x, o, s):
    """p_k (x_k - mean of x) is a difference of two terms, x counted from the largest logit."""
    counted, own, p, log_p, entropy, _ = _rows(x, o)
    each = np.where(p > 0, p * (1 + np.abs(o.entropy_weight) * (entropy[:, None] - log_p)), 0)
    error = np.where(own, 1 - p, 0)
    size = np.maximum(error, each).max(axis=1, keepdims=True)
    return {"logits": np.abs(s)[:, None] * counted[:, None] * size}


OPTIONS = {"entropy_weight": [1.0, 0.0, -0.5, 20.0], "ignore_index": [-100, 0]}

EXAMPLES = [
    {
        "inputs": {"logits": [[0.5, -1.25, 0.25], [3.0, 0.0, 2.5]], "labels": [0, 2]},
        "outputs": {"loss": 1.688112125418},
        "gradients": {"logits": [[-0.309344025855, 0.111003706982, 0.198340318873], [0.2193803812, 0.056010637392, -0.275391018592]]},
    }
]


def test_without_entropy_it_is_cross_entropy(call):
    rng = np.random.default_rng(0)
    z, y = call.floats(3 * rng.standard_normal((7, 37))), rng.integers(0, 37, 7)
    one, other = call(z, y, entropy_weight=0.0), call.other("token_cross_entropy")(z, y)
    assert abs(one.loss / other.loss - 1) < 1e-6
    theirs = other.backward()["logits"].astype(float)
    np.testing.assert_allclose(one.backward()["logits"].astype(float), theirs, atol=1e-6 if call.dtype.itemsize == 4 else 1e-3)


def test_a_certain_row_keeps_its_digits(call):
    """H of a row whose label leads by d is about (d + 1) exp(-d)."""
    loss = call(call.floats([[30.0, 0.0]]), [0], entropy_weight=1e6).loss
    assert abs(loss / (np.exp(-30.0) * (1 + 31e6)) - 1) < 1e-6


def test_classes_without_probability(call):
    z = call.floats([[0.0, -np.inf, 1.0, -np.inf], [0.0, -np.inf, -np.inf, -np.inf]])
    result = call(z, [0, 0], reduction="none")
    g = result.backward()["logits"].astype(float)
    assert np.isfinite(result.loss).all() and np.isfinite(g).all() and not g[:, [1, 3]].any()
    impossible = call(z, [1, 1], reduction="none")
    assert np.isposinf(impossible.loss).all()
    assert (impossible.backward()["logits"].astype(float)[:, 1] == -1).all()
