"""What the tests of gradient boosting share."""

import numpy as np


def parts(f, t, kind):
    """Probabilities, 1 - probabilities, residuals, losses and the size of their terms."""
    if kind == "squared":
        return np.ones_like(f), np.ones_like(f), t - f, (t - f) ** 2 / 2, (t - f) ** 2 / 2
    with np.errstate(all="ignore"):
        if kind == "logistic":
            small = np.exp(-np.abs(f)) / (1 + np.exp(-np.abs(f)))
            p, q = np.where(f > 0, 1 - small, small), np.where(f > 0, small, 1 - small)
            log = np.log1p(np.exp(-np.abs(f)))
            loss = log + (1 - t) * np.maximum(f, 0) + t * np.maximum(-f, 0)
            return p, q, np.where(f > 0, (t - 1) + q, t - p), loss, log + np.abs(1 - t) * np.maximum(f, 0) + np.abs(t) * np.maximum(-f, 0)
        top = f.max(-1, keepdims=True)
        e = np.exp(f - top)
        is_top = f == top
        rest = np.where(is_top, 0, e).sum(-1, keepdims=True) + is_top.sum(-1, keepdims=True) - 1
        p = e / (1 + rest)
        q = np.where(is_top, rest / (1 + rest), 1 - p)
        loss = t * (np.log1p(rest) + top - f)
        return p, q, np.where(is_top, (t - 1) + q, t - p), loss, np.abs(loss)


def targets(rng, shape, distribution, _sizes):
    """One-hot rows, other probabilities, or values."""
    if distribution in ("normal", "tiny"):
        return np.eye(shape[1])[rng.integers(0, shape[1], shape[0])]
    if distribution == "extreme":
        return rng.integers(0, 2, shape)
    if distribution == "offset":
        return 1e4 + rng.standard_normal(shape)
    t = rng.random(shape)
    return t / t.sum(-1, keepdims=True)
