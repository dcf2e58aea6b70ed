"""unlearning_mse: mismatched targets for some elements, true ones for others."""

import numpy as np


def _mean(values):
    return values.sum() / max(len(values), 1)


def reference(x, o):
    forget, retain = (x.forget_pred - x.mismatched_target) ** 2, (x.retain_pred - x.retain_target) ** 2
    return {"loss": _mean(forget) + (o.retain_weight * _mean(retain) if o.retain_weight else 0)}


def gradient(x, o, s):
    forget, retain = x.forget_pred - x.mismatched_target, x.retain_pred - x.retain_target
    return {
        "forget_pred": s * 2 * forget / max(len(forget), 1),
        "retain_pred": s * 2 * o.retain_weight * retain / max(len(retain), 1),
    }


OPTIONS = {"retain_weight": [1.0, 0.0, 2.5]}
SAMPLES_DEPEND = True
SHAPES = [{"n": a, "m": b} for a, b in [(1, 3), (4, 1), (7, 5), (8, 0), (0, 9), (17, 33), (64, 47), (1025, 129), (131, 5001), (20011, 4099), (300_007, 150_001)]]

EXAMPLES = [
    {
        "inputs": {"forget_pred": [0.5, -1.25], "mismatched_target": [0.0, 1.0], "retain_pred": [3.0], "retain_target": [2.5]},
        "outputs": {"loss": 2.90625},
        "gradients": {"forget_pred": [0.5, -2.25], "retain_pred": [1.0]},
    }
]


def test_an_empty_side_counts_nothing(call):
    rng = np.random.default_rng(0)
    p, t = (call.floats(rng.standard_normal(50)) for _ in range(2))
    none = call.floats([])
    expected = call.other("mse_loss")(p, t).loss
    assert abs(call(p, t, none, none).loss / expected - 1) < 1e-6
    assert abs(call(none, none, p, t, retain_weight=2.0).loss / expected - 2) < 2e-6
    assert call(none, none, none, none).loss == 0
