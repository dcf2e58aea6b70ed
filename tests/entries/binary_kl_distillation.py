"""binary_kl_distillation: each class of a teacher as a binary decision."""

import numpy as np


def _parts(x, o):
    """q at most 1/2 by mirroring; p - q without cancellation."""
    t, z = x.teacher / o.temperature, x.student / o.temperature
    side = np.where(t > 0, -1, 1)
    t, step = side * t, side * (z - t)
    q = np.exp(t) / (1 + np.exp(t))
    far = step > 300
    growth = np.expm1(np.where(far, 0, step))
    z = side * z
    value = np.where(far, np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))) - np.log1p(np.exp(t)), np.log1p(q * growth)) - q * step
    p = np.where(z < 0, np.exp(-np.abs(z)), 1) / (1 + np.exp(-np.abs(z)))
    return side, t, q, step, value, np.where(far, p - q, q * (1 - q) * growth / (1 + q * growth))


def reference(x, o):
    return {"loss": o.temperature**2 * _parts(x, o)[4].sum(axis=1)}


def gradient(x, o, s):
    side, *_, difference = _parts(x, o)
    return {"student": s[:, None] * o.temperature * side * difference}


def scale(x, o):
    """log(1 + q (exp(step) - 1)) less q step; the rounding of a logit's exponent is a relative error of q and p."""
    _, t, q, step, value, _ = _parts(x, o)
    exponent = 1 + (np.abs(t) + np.abs(step)) / 4
    return {"loss": o.temperature**2 * (exponent * (q * np.abs(step) + value)).sum(axis=1)}


def gradient_scale(x, o, s):
    """The rounding of a logit's exponent is a relative error of q and p."""
    _, t, _, step, _, difference = _parts(x, o)
    size = (np.abs(difference) * (1 + (np.abs(t) + np.abs(step)) / 4)).max(axis=1, keepdims=True)
    return {"student": np.abs(s)[:, None] * o.temperature * size}


OPTIONS = {"temperature": [2.0, 1.0, 5.0]}

EXAMPLES = [
    {
        "inputs": {"student": [[0.5, -1.25, 0.25]], "teacher": [[1.0, 0.0, -0.5]]},
        "options": {"temperature": 2.0},
        "outputs": {"loss": 0.292026277945},
        "gradients": {"student": [[-0.120565660632, -0.302709729332, 0.186771748519]]},
    }
]


def test_not_shift_invariant(call):
    rng = np.random.default_rng(0)
    x, t = (np.round(16 * rng.standard_normal((3, 8))) / 16 for _ in range(2))
    one, two = (call(call.floats(x + shift), call.floats(t)).loss for shift in (0, 1.0))
    assert abs(one - two) > 1e-2 * one


def test_a_student_like_its_teacher(call):
    t = call.floats(3 * np.random.default_rng(0).standard_normal((3, 1000)))
    result = call(t, t)
    assert result.loss == 0 and not result.backward()["student"].astype(float).any()
    if call.dtype.itemsize == 4:
        x = (t + np.float32(2.0**-12)).astype(np.float32)
        call.compare({"student": x, "teacher": t}, {})


def test_gradients_are_bounded(call):
    t = call.floats([[-3e4, 3e4, -3e4, 3e4, 0.0]])
    x = call.floats([[3e4, -3e4, -3e4, 3e4, 3e4]])
    result = call(x, t, temperature=1.0)
    assert np.isfinite(result.loss)
    np.testing.assert_allclose(result.backward()["student"].astype(float), [[1, -1, 0, 0, 0.5]])
