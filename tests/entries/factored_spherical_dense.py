"""factored_spherical_dense: the weights that the factors stand for."""

import numpy as np


def reference(x, o):
    return {"weight": x.v @ x.u + x.omega}


def scale(x, o):
    return {"weight": np.abs(x.v) @ np.abs(x.u) + np.abs(x.omega)}


def _normal(rng, shape, distribution, sizes):
    return rng.standard_normal(shape)


SAMPLERS = {"v": _normal, "u": _normal, "omega": _normal}

SHAPES = [{"classes": classes, "d": d} for classes, d in [(1, 1), (5, 3), (0, 4), (64, 17), (131, 70), (2050, 5), (300, 130)]]

EXAMPLES = [
    {
        "inputs": {"v": [[1.0, 2.0], [0.5, -1.0]], "u": [[1.0, 0.5], [0.0, 2.0]], "omega": [0.25, -1.0]},
        "outputs": {"weight": [[1.25, 3.5], [0.75, -2.75]]},
    }
]
