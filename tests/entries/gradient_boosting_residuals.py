"""gradient_boosting_residuals: what the next unit is fitted to."""

import numpy as np
from harness.boosting import parts, targets


def reference(x, o):
    p, q, residuals, loss, _ = parts(x.pred, x.target, o.kind)
    return {"residuals": residuals, "hessian": p * q, "losses": loss.sum(-1)}


def scale(x, o):
    """Differences of the target and a probability, or of 1 - target and the other probability."""
    t = x.target
    p, q, residuals, _, size = parts(x.pred, t, o.kind)
    terms = np.abs(residuals) if o.kind == "squared" else np.where(p > 0.5, np.abs(1 - t) + q, np.abs(t) + p)
    return {"residuals": terms, "losses": size.sum(-1)}


OPTIONS = {"kind": ["squared", "logistic", "softmax"]}
SAMPLERS = {"target": targets}

EXAMPLES = [
    {
        "inputs": {"pred": [[0.5, -1.25, 0.25]], "target": [[1.0, 0.0, 0.0]]},
        "options": {"kind": "softmax"},
        "outputs": {"residuals": [[0.487855708457, -0.088997333157, -0.3988583753]], "hessian": [[0.249852516183, 0.081076807848, 0.239770371753]], "losses": [0.669148874226]},
    }
]


def _softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_certain_predictions_keep_their_digits(call):
    """1 - p of the right class is as exact as p of the others."""
    f, t = call.floats([[30.0, -1.0, 2.5], [20.0, 20.0, -50.0]]), call.floats([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    result = call(f, t, kind="softmax")
    z = f.astype(float)
    rest = np.exp(z[0, 1:] - z[0, 0]).sum()
    np.testing.assert_allclose(result.residuals[0, 0], rest / (1 + rest), rtol=1e-6)
    np.testing.assert_allclose(result.losses[0], np.log1p(rest), rtol=1e-6)
    np.testing.assert_allclose(result.residuals[1], [0.5, -0.5, 0.0], atol=1e-6)
    result = call(f, t, kind="logistic")
    np.testing.assert_allclose(result.residuals[0, 0], 1 / (1 + np.exp(z[0, 0])), rtol=1e-6)


def test_impossible_classes(call):
    """A class without probability that is not asked for costs nothing."""
    f, t = call.floats([[1.0, -np.inf, 0.5]]), call.floats([[0.0, 0.0, 1.0]])
    result = call(f, t, kind="softmax")
    np.testing.assert_allclose(result.residuals[0], t.astype(float)[0] - _softmax(f.astype(float))[0], atol=1e-6)
    assert np.isfinite(result.losses).all() and result.hessian[0, 1] == 0


def test_rows_stand_alone(call):
    f = np.random.default_rng(0).standard_normal((4, 19))
    for kind in ("squared", "logistic", "softmax"):
        for bad in (np.nan, np.inf):
            dirty = f.copy()
            dirty[1, 3] = bad
            clean, result = (call(call.floats(v), call.floats(f), kind=kind) for v in (f, dirty))
            for name in ("residuals", "hessian", "losses"):
                a, b = getattr(clean, name), getattr(result, name)
                assert (a[[0, 2, 3]] == b[[0, 2, 3]]).all()
            assert not np.isfinite(result.losses[1])


def test_rows_too_long_to_be_kept(call):
    rng = np.random.default_rng(0)
    f, t = 3 * rng.standard_normal((2, 70_001)), rng.random((2, 70_001))
    call.compare({"pred": call.floats(f), "target": call.floats(t / t.sum(-1, keepdims=True))}, {"kind": "softmax"})
