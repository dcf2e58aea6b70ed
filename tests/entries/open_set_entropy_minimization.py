"""open_set_entropy_minimization: entropy of rows that adaptation makes more certain."""

import numpy as np


def _entropy(z):
    d = z - z.max(axis=1, keepdims=True)
    others = np.exp(d)
    np.put_along_axis(others, d.argmax(axis=1)[:, None], 0, axis=1)
    log_p = d - np.log1p(others.sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    return p, log_p, -np.where(p > 0, p * log_p, 0).sum(axis=1)


def _rows(x, o):
    p, log_p, entropy = _entropy(x.logits)
    m = x.source_logits.argmax(axis=1)[:, None]
    rise = np.take_along_axis(p, m, axis=1) - np.take_along_axis(_entropy(x.source_logits)[0], m, axis=1)
    return p, log_p, entropy, ~(rise[:, 0] < o.threshold)


def reference(x, o):
    _, _, entropy, selected = _rows(x, o)
    return {"loss": np.where(selected, entropy, 0), "selected": selected}


def count(x, o):
    return _rows(x, o)[3].sum()


def gradient(x, o, s):
    p, log_p, entropy, selected = _rows(x, o)
    mixed = np.where(p > 0, p * (log_p + entropy[:, None]), 0)
    return {"logits": np.where(selected[:, None], -s[:, None] * mixed, 0)}


def gradient_scale(x, o, s):
    """p_k (x_k - mean of x) is a difference of two terms, x counted from the largest logit."""
    p, log_p, entropy, selected = _rows(x, o)
    size = np.where(p > 0, p * (entropy[:, None] - log_p), 0).max(axis=1, keepdims=True)
    return {"logits": np.abs(s)[:, None] * selected[:, None] * size}


def _other(rng, shape, distribution, _sizes):
    """Not so close to the logits that rounding selects; in no other scale than they are."""
    size = {"tiny": 1e-2, "offset": 4.0}.get(distribution, 3.0)
    return size * rng.standard_normal(shape)


OPTIONS = {"threshold": [0.0, -1.0, 0.02, -0.013]}
SAMPLERS = {"source_logits": _other}

EXAMPLES = [
    {
        "inputs": {"logits": [[0.5, -1.25, 0.25], [3.0, 0.0, 2.5]], "source_logits": [[0.25, -1.0, 0.5], [2.5, 0.0, 2.0]]},
        "outputs": {"loss": 0.777869673192, "selected": [0, 1]},
        "gradients": {"logits": [[0.0, 0.0, 0.0], [-0.164988133748, 0.081962387214, 0.083025746534]]},
    }
]


def test_threshold_minus_one_selects_all(call):
    z = call.floats(3 * np.random.default_rng(0).standard_normal((6, 9)))
    w = call.floats(3 * np.random.default_rng(1).standard_normal((6, 9)))
    assert call(z, w, threshold=-1.0).selected.all()


def test_an_unchanged_model_is_selected(call):
    z = call.floats(3 * np.random.default_rng(0).standard_normal((6, 900)))
    assert call(z, z).selected.all()


def test_nothing_selected(call):
    z = call.floats(3 * np.random.default_rng(0).standard_normal((6, 9)))
    result = call(z, z, threshold=0.5)
    assert result.loss == 0 and not result.selected.any() and not result.backward()["logits"].astype(float).any()


def test_entropy_of_a_certain_row_keeps_its_digits(call):
    loss = call(call.floats([[30.0, 0.0]]), call.floats([[0.0, 0.0]])).loss
    assert abs(loss / (31 * np.exp(-30.0)) - 1) < 1e-6
