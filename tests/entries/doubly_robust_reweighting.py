"""doubly_robust_reweighting: worst case over weights near a prior."""

import numpy as np


def _terms(x, o):
    prior = np.ones_like(x.losses) if x.prior is None else x.prior
    top = x.losses.max()
    return top, prior / prior.sum(), (x.losses - top) / o.temperature


def _weights(x, o):
    _, prior, u = _terms(x, o)
    w = prior * np.exp(u)
    return w / w.sum()


def reference(x, o):
    top, prior, u = _terms(x, o)
    mean = (prior * np.exp(u)).sum()
    log = np.log1p((prior * np.expm1(u)).sum()) if mean > 0.5 else np.log(mean)
    return {"loss": top + o.temperature * log, "weights": _weights(x, o)}


def gradient(x, o, s):
    return {"losses": s * _weights(x, o)}


def scale(x, o):
    top, prior, u = _terms(x, o)
    return {"loss": np.abs(top) + np.abs(reference(x, o)["loss"] - top)}


def _prior(rng, shape, distribution, _sizes):
    if distribution == "extreme":
        return rng.choice([1e-37, 1.0, 1e37], shape)
    return rng.random(shape) + 1e-3


OPTIONS = {"temperature": [1.0, 0.05, 100.0, 1e12, 1e-320]}
SAMPLERS = {"prior": _prior}
SHAPES = [{"n": n} for n in (1, 2, 3, 5, 8, 9, 16, 17, 33, 64, 257, 1023, 1025, 2503, 8192, 8193, 20_011, 70_001)]
SAMPLES_DEPEND = True

EXAMPLES = [
    {
        "inputs": {"losses": [0.5, 2.0, 0.25]},
        "options": {"temperature": 0.5},
        "outputs": {"loss": 1.489167177937, "weights": [0.046099801053, 0.925939256202, 0.027960942745]},
        "gradients": {"losses": [0.046099801053, 0.925939256202, 0.027960942745]},
    }
]


def _sample(call, n=501):
    rng = np.random.default_rng(0)
    return call.floats(3 * rng.standard_normal(n)), np.float32(rng.random(n) + 0.1)


def test_limits(call):
    losses, prior = _sample(call)
    exact, p = losses.astype(float), prior.astype(float)
    np.testing.assert_allclose(call(losses, prior, temperature=1e9).loss, (p * exact).sum() / p.sum(), rtol=1e-6)
    assert call(losses, prior, temperature=1e-9).loss == np.float32(exact.max())


def test_the_maximum(call):
    """No other weights do better."""
    losses, prior = _sample(call)
    got = call(losses, prior, temperature=0.7)
    p = prior.astype(float) / prior.astype(float).sum()

    def objective(w):
        return (w * losses.astype(float)).sum() - 0.7 * (w * np.log(w / p)).sum()

    w = got.weights.astype(float)
    assert abs(w.sum() - 1) < 1e-6 and abs(objective(w / w.sum()) - got.loss) < 1e-5
    assert objective(0.99 * w / w.sum() + 0.01 * p) < got.loss


def test_the_size_of_the_prior_does_not_matter(call):
    losses, prior = _sample(call)
    one, two = call(losses, prior), call(losses, prior * np.float32(2.0**-100))
    assert one.loss == two.loss and np.array_equal(one.weights, two.weights)
    equal, none = call(losses, np.full(501, 3, np.float32)), call(losses)
    np.testing.assert_allclose(equal.loss, none.loss, rtol=1e-6)
