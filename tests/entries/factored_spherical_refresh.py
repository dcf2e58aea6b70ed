"""factored_spherical_refresh: folds u into v."""

import numpy as np


def _rounded(x):
    return (x.v.astype(np.float64) @ x.u.astype(np.float64)).astype(np.float32).astype(x.v.dtype)


def reference(x, o):
    v = x.v @ x.u
    w = _rounded(x) + x.omega
    return {"v_next": v, "u_next": np.eye(len(x.u)), "q_next": w.T @ w, "wsum_next": w.sum(axis=0)}


def scale(x, o):
    v = np.abs(x.v) @ np.abs(x.u)
    w = v + np.abs(x.omega)
    return {"v_next": v, "q_next": w.T @ w, "wsum_next": w.sum(axis=0)}


def _normal(rng, shape, distribution, sizes):
    return rng.standard_normal(shape)


SAMPLERS = {"v": _normal, "u": _normal, "omega": _normal}

SHAPES = [{"classes": classes, "d": d} for classes, d in [(1, 1), (5, 3), (0, 4), (64, 17), (131, 70), (2050, 5), (4100, 33), (300, 130)]]

EXAMPLES = [
    {
        "inputs": {"v": [[1.0, 2.0], [0.5, -1.0]], "u": [[1.0, 0.5], [0.0, 2.0]], "omega": [0.25, -1.0]},
        "outputs": {
            "v_next": [[1.0, 4.5], [0.5, -1.75]],
            "u_next": [[1.0, 0.0], [0.0, 1.0]],
            "q_next": [[2.125, 2.3125], [2.3125, 19.8125]],
            "wsum_next": [2.0, 0.75],
        },
    }
]


def test_weights_stay_and_the_state_fits(call):
    rng = np.random.default_rng(0)
    v, u, omega = (rng.standard_normal(s).astype(np.float32) for s in ((40, 6), (6, 6), (6,)))
    result = call(v, u, omega)
    dense = call.other("factored_spherical_dense")
    before, after = dense(v, u, omega).weight, dense(result.v_next, result.u_next, omega).weight
    assert np.allclose(before, after, rtol=1e-6, atol=1e-6)
    w = after.astype(float)
    assert np.allclose(result.q_next, w.T @ w, rtol=1e-6, atol=1e-5) and np.allclose(result.wsum_next, w.sum(axis=0), rtol=1e-6, atol=1e-6)
