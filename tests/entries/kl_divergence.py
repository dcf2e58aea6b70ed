"""kl_divergence: Kullback-Leibler divergence from log-probabilities."""

import numpy as np

def reference(x, o):
    t, p = x.target, x.pred
    if o.log_target:
        return {"loss": np.exp(t) * (t - p)}
    with np.errstate(all="ignore"):
        return {"loss": np.where(t <= 0, 0, t * (np.log(t) - p))}


def gradient(x, o, s):
    t, p = x.target, x.pred
    if o.log_target:
        return {"pred": -s * np.exp(t), "target": s * np.exp(t) * (t - p + 1)}
    with np.errstate(all="ignore"):
        return {"pred": np.where(t <= 0, 0, -s * t), "target": np.where(t <= 0, 0, s * (np.log(t) + 1 - p))}


def _size(x, o):
    t, p = x.target, x.pred
    if o.log_target:
        return np.exp(t), np.abs(t) + np.abs(p)
    with np.errstate(all="ignore"):
        return np.where(t <= 0, 0, t), np.where(t <= 0, 0, np.abs(np.log(t)) + np.abs(p))


def scale(x, o):
    """The logarithms are subtracted: their sizes count."""
    weight, logs = _size(x, o)
    return {"loss": weight * logs}


def gradient_scale(x, o, s):
    weight, logs = _size(x, o)
    return {"pred": np.abs(s) * weight, "target": np.abs(s) * (1 + logs) * (weight if o.log_target else 1)}


def _logs(rng, shape, distribution, _sizes):
    if distribution == "extreme":
        return rng.choice([-80.0, -20.0, -1e-6, 0.0, -1.0], shape)
    return -np.abs(3 * rng.standard_normal(shape)) - 0.001


def _targets(rng, shape, distribution, sizes):
    if sizes["log_target"]:
        return _logs(rng, shape, distribution, sizes)
    values = rng.random(shape)
    if distribution not in ("normal", "offset"):  # where differences are taken
        values[rng.random(shape) < 0.2] = 0.0
    return values * (1e-4 if distribution == "tiny" else 1)


OPTIONS = {"log_target": [False, True]}
SAMPLERS = {"pred": _logs, "target": _targets}


def test_batchmean(call):
    rng = np.random.default_rng(0)
    x, t = call.floats(-rng.random((5, 7))), call.floats(rng.random((5, 7)))
    both = [call(x, t, reduction=r) for r in ("sum", "batchmean")]
    assert abs(both[0].loss / both[1].loss - 5) < 1e-5
    sums, means = (r.backward()["pred"].astype(np.float64) for r in both)
    np.testing.assert_allclose(sums, 5 * means, rtol=2e-2 if call.dtype.itemsize == 2 else 1e-6)
    assert call(x[:0], t[:0], reduction="batchmean").loss == 0

EXAMPLES = [
    {
        "inputs": {"pred": [[-1.609437912434, -0.69314718056, -1.203972804326]], "target": [[0.1, 0.6, 0.3]]},
        "outputs": {"loss": 0.01335940534},
        "gradients": {"pred": [[-0.033333333333, -0.2, -0.1]], "target": [[0.102284273147, 0.394107185598, 0.333333333333]]},
    }
]
