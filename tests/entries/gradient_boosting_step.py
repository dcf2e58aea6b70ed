"""gradient_boosting_step: step size of a new unit."""

import numpy as np
from harness.boosting import parts, targets


def _sums(x, o, size=False):
    p, q, residuals, _, _ = parts(x.pred, x.target, o.kind)
    if size:
        t = np.abs(x.target)
        residuals = np.abs(x.target - x.pred) if o.kind == "squared" else np.where(p > 0.5, np.abs(1 - x.target) + q, t + p)
        numerator = residuals * np.abs(x.direction)
    else:
        numerator = residuals * x.direction
    axis = 0 if o.per_class else None
    return numerator.sum(axis), (p * q * x.direction**2).sum(axis)


def _quotient(a, b):
    with np.errstate(all="ignore"):
        return np.where(b == 0, 0, a / np.where(b == 0, 1, b))


def reference(x, o):
    return {"rho": _quotient(*_sums(x, o))}


def scale(x, o):
    """Of the sum of residual times direction, whose terms have both signs."""
    return {"rho": _quotient(*_sums(x, o, True))}


def _moderate(rng, shape, distribution, _sizes):
    """Second derivatives that no f32 holds make no step."""
    if distribution == "extreme":
        return rng.choice([-30, -20, -1e-6, 0, 1e-6, 1, 20, 30], shape)
    if distribution == "heavy":
        return np.clip(3 * rng.standard_t(1.5, shape), -30, 30)
    if distribution == "offset":
        return 30 + rng.standard_normal(shape)
    return (1e-5 if distribution == "tiny" else 3) * rng.standard_normal(shape)


OPTIONS = {"kind": ["squared", "logistic", "softmax"], "per_class": [True, False]}
SAMPLERS = {"pred": _moderate, "target": targets, "direction": _moderate}
SHAPES = [
    {"n": n, "k": k}
    for n, k in [(1, 1), (3, 5), (5, 3), (2, 17), (64, 16), (7, 33), (130, 2), (1, 70), (300, 9), (65, 129), (2100, 1), (3, 1025), (1025, 31), (4000, 40)]
]

EXAMPLES = [
    {
        "inputs": {"pred": [[0.5, -1.25], [0.0, 1.0]], "target": [[1.0, 0.0], [0.0, 1.0]], "direction": [[0.5, -0.5], [-0.25, 0.25]]},
        "options": {"kind": "softmax"},
        "outputs": {"rho": [3.223577693813, 3.223577693813]},
    }
]


def test_the_step_is_newtons(call):
    """Along the direction the quadratic model of the loss has its minimum at rho."""
    rng = np.random.default_rng(0)
    f, t, d = (call.floats(rng.standard_normal((40, 3))) for _ in range(3))
    rho = call(f, t, d).rho
    t, f, d = (v.astype(float) for v in (t, f, d))
    np.testing.assert_allclose(((t - f - rho * d) * d).sum(0), 0, atol=1e-4)


def test_without_direction_no_step(call):
    f = call.floats(np.ones((3, 4)))
    zero = call.floats(np.zeros((3, 4)))
    for per_class, shape in ((True, (4,)), (False, ())):
        rho = np.asarray(call(f, f, zero, per_class=per_class).rho)
        assert rho.shape == shape and not rho.any()
