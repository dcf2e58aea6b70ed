"""ridge_regression: closed form."""

import numpy as np


def _solved(x, o):
    """Weights by singular values, squared singular values with n lambda, and the largest one."""
    n, m = x.features.shape
    if n == 0:
        return np.zeros((m, x.target.shape[1])), 1.0
    u, s, v = np.linalg.svd(np.asarray(x.features, float), full_matrices=False)
    damped = s**2 + n * o.regularization
    # The system that is solved has no singular value of 0 only if m <= n, and then none left out.
    return v.T @ ((s / damped)[:, None] * (u.T @ x.target)), (s[0] ** 2 + n * o.regularization) / damped.min()


def _loss(x, o, w):
    n = max(len(x.features), 1)
    return ((x.features @ w - x.target) ** 2).sum() / n + o.regularization * (w**2).sum()


def reference(x, o):
    w, _ = _solved(x, o)
    return {"weights": w, "loss": np.asarray(_loss(x, o, w))}


def scale(x, o):
    """Systems in f64 of a condition of up to 1e12 and more: errors of condition * 2^-53 * size."""
    w, condition = _solved(x, o)
    size = np.abs(w).max(initial=0) * (1 + 1e-9 * condition)
    residual = np.sqrt(((x.features @ w - x.target) ** 2).sum()) / np.sqrt(max(len(x.features), 1))
    loss = _loss(x, o, w)
    # The loss is at its minimum in the weights, but its terms are rounded.
    terms = (np.abs(x.features) @ np.abs(w) + np.abs(x.target)).max(initial=0)
    return {"weights": np.full(w.shape, size), "loss": np.asarray(loss + residual * terms * 1e-9 * condition)}


OPTIONS = {"regularization": [1e-3, 0.1, 10.0]}
SHAPES = [
    {"n": n, "m": m, "k": k}
    for n, m, k in [(1, 1, 1), (3, 2, 1), (5, 3, 4), (2, 5, 3), (64, 17, 10), (130, 70, 5), (7, 130, 3), (33, 32, 1), (32, 33, 2), (65, 140, 30), (1100, 5, 3), (40, 600, 3), (260, 150, 20)]
]

EXAMPLES = [
    {
        "inputs": {"features": [[1.0, 0.5], [1.0, -1.0], [1.0, 2.0]], "target": [[1.0], [0.0], [2.0]]},
        "options": {"regularization": 0.1},
        "outputs": {"weights": [[0.616246498599], [0.644257703081]], "loss": 0.084033613445},
    }
]


def _some(call, n, m, k, seed=0):
    rng = np.random.default_rng(seed)
    f = call.floats(rng.standard_normal((n, m)))
    return f, call.floats(f.astype(float) @ rng.standard_normal((m, k)) + 0.1 * rng.standard_normal((n, k)))


def test_no_other_weights_are_better(call):
    """The normal equations hold, in both systems."""
    for n, m in ((50, 8), (8, 50)):
        f, t = _some(call, n, m, 3)
        w = call(f, t, regularization=0.05).weights.astype(float)
        f, t = f.astype(float), t.astype(float)
        np.testing.assert_allclose(f.T @ (f @ w - t) + n * 0.05 * w, 0, atol=1e-3)


def test_both_systems_agree(call):
    """A feature that is always 0 changes nothing but the choice of the system."""
    f, t = _some(call, 9, 9, 2)
    wide = call(call.floats(np.c_[f.astype(float), np.zeros(9)]), t)
    square = call(f, t)
    np.testing.assert_allclose(wide.weights[:9], square.weights, rtol=1e-4, atol=1e-4)
    assert not wide.weights[9].any() and abs(wide.loss / square.loss - 1) < 1e-4


def test_more_regularization_means_smaller_weights(call):
    f, t = _some(call, 30, 5, 1)
    sizes = [np.linalg.norm(call(f, t, regularization=v).weights) for v in (1e-6, 1e-2, 1.0, 100.0)]
    assert sizes == sorted(sizes)[::-1]


def test_without_samples(call):
    result = call(call.floats(np.zeros((0, 3))), call.floats(np.zeros((0, 2))))
    assert not result.weights.any() and result.loss == 0


def test_a_nan_is_everywhere(call):
    for n, m in ((8, 3), (3, 8)):
        f, t = _some(call, n, m, 2)
        f[1, 1] = np.nan
        result = call(f, t)
        assert np.isnan(result.loss) and np.isnan(result.weights).any()
