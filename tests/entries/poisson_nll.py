"""poisson_nll: Poisson negative log-likelihood."""

import numpy as np

def reference(x, o):
    p, t = x.pred, x.target
    loss = np.exp(p) - t * p if o.log_input else p - t * np.log(p + o.eps)
    if o.full:
        with np.errstate(all="ignore"):
            loss = loss + np.where(t > 1, t * np.log(t) - t + np.log(2 * np.pi * t) / 2, 0)
    return {"loss": loss}


def gradient(x, o, s):
    return {"pred": s * (np.exp(x.pred) - x.target) if o.log_input else s * (1 - x.target / (x.pred + o.eps))}


def scale(x, o):
    """The terms are of both signs; adding eps rounds the logarithm's argument."""
    p, t = x.pred, x.target
    size = np.exp(p) + t * np.abs(p) if o.log_input else np.abs(p) + t * (1 + np.abs(np.log(p + o.eps)))
    return {"loss": size + (np.where(t > 1, t * (1 + np.abs(np.log(np.maximum(t, 1)))), 0) if o.full else 0)}


def gradient_scale(x, o, s):
    return {"pred": np.abs(s) * (np.exp(x.pred) + x.target if o.log_input else 1 + x.target / (x.pred + o.eps))}


def _rates(rng, shape, distribution, sizes):
    if sizes["log_input"]:
        return {"extreme": 10, "offset": 5}.get(distribution, 2) * rng.standard_normal(shape).clip(-2.5, 1)
    return np.abs(3 * rng.standard_normal(shape)) + (0.01 if distribution != "tiny" else 1e-3)


def _counts(rng, shape, distribution, _sizes):
    return rng.poisson(20 if distribution == "heavy" else 2, shape).astype(float)


OPTIONS = {"log_input": [True, False], "full": [False, True], "eps": [1e-8, 0.5]}
SAMPLERS = {"pred": _rates, "target": _counts}

EXAMPLES = [
    {
        "inputs": {"pred": [0.5, -1.25, 1.0], "target": [0.0, 1.0, 5.0]},
        "outputs": {"loss": 0.301169298673},
        "gradients": {"pred": [0.5495737569, -0.23783173438, -0.760572723847]},
    }
]
