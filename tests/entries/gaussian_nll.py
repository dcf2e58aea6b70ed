"""gaussian_nll: Gaussian negative log-likelihood with predicted variance."""

import numpy as np

def _parts(x, o):
    return np.maximum(x.var, o.eps), x.pred - x.target


def reference(x, o):
    c, d = _parts(x, o)
    return {"loss": (np.log(c) + d**2 / c) / 2 + (np.log(2 * np.pi) / 2 if o.full else 0)}


def gradient(x, o, s):
    c, d = _parts(x, o)
    return {"pred": s * d / c, "target": -s * d / c, "var": s / 2 * (1 / c - d**2 / c**2)}


def scale(x, o):
    c, d = _parts(x, o)
    return {"loss": (np.abs(np.log(c)) + d**2 / c) / 2 + (1 if o.full else 0)}


def gradient_scale(x, o, s):
    c, d = _parts(x, o)
    g = np.abs(s * d / c)
    return {"pred": g, "target": g, "var": np.abs(s) / 2 * (1 / c + d**2 / c**2)}


def _near(rng, shape, distribution, _sizes):
    return {"offset": 1e3, "tiny": 0}.get(distribution, 1) + (1e-3 if distribution == "tiny" else 3) * rng.standard_normal(shape)


def _variances(rng, shape, distribution, _sizes):
    values = 4 * rng.random(shape) + 0.05
    if distribution == "extreme":
        values = rng.choice([0.0, 1e-3, 1.0, 1e4], shape)
    return values


# Below eps the clamp passes the gradient, so that the closed form is not the slope there: eps is small.
OPTIONS = {"full": [False, True], "eps": [1e-6, 0.04]}
SAMPLERS = {"pred": _near, "target": _near, "var": _variances}

EXAMPLES = [
    {
        "inputs": {"pred": [0.5, -1.25, 3.0], "target": [0.0, 1.0, 2.5], "var": [1.0, 0.5, 4.0]},
        "outputs": {"loss": 1.855107863427},
        "gradients": {"pred": [0.166666666667, -1.5, 0.041666666667], "target": [-0.166666666667, 1.5, -0.041666666667], "var": [0.125, -3.041666666667, 0.0390625]},
    }
]
