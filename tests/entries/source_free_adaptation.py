"""source_free_adaptation: weighted entropy with a prior on the class ratios."""

from types import SimpleNamespace

import numpy as np


def _parts(x, o):
    z, tau = x.logits, x.prior
    d = z - z.max(axis=1, keepdims=True) if z.size else z
    total = np.exp(d).sum(axis=1, keepdims=True)
    log_p = d - np.log(total)
    p = np.exp(log_p)
    nu = 1 / tau if o.class_weighting == "inverse_prior" else np.ones_like(tau)
    nu = nu / nu.sum(axis=1, keepdims=True)
    n = max(z.shape[2], 1)
    q = p.sum(axis=2) / n
    log_p = np.where(p == 0, 0, log_p)
    ratio = np.log(np.where(q == 0, 1, q) / tau) * (q != 0)
    return SimpleNamespace(d=d, p=p, log_p=log_p, nu=nu, n=n, q=q, tau=tau, ratio=ratio)


def reference(x, o):
    r = _parts(x, o)
    entropy = -(r.nu * (r.p * r.log_p).sum(axis=2)).sum(axis=1) / r.n
    kl = -(r.tau * r.ratio) if o.reverse else r.q * r.ratio
    return {"loss": (entropy + o.kl_weight * kl.sum(axis=1)) * (x.logits.shape[2] > 0)}


def _slope(r, o):
    return -r.tau / r.q if o.reverse else r.ratio + 1


def gradient(x, o, s):
    r = _parts(x, o)
    g = (-r.nu[:, :, None] * (r.log_p + 1) + o.kl_weight * _slope(r, o)[:, :, None]) / r.n
    return {"logits": s[:, None, None] * r.p * (g - (r.p * g).sum(axis=1, keepdims=True))}


def scale(x, o):
    """Logarithms have the error of the differences they come from, and log(q / tau) that of q."""
    r = _parts(x, o)
    entropy = (r.nu * (r.p * (np.abs(r.d) + np.abs(r.log_p))).sum(axis=2)).sum(axis=1) / r.n
    kl = (r.tau if o.reverse else r.q) * (np.abs(r.ratio) + 1)
    return {"loss": entropy + o.kl_weight * kl.sum(axis=1)}


def gradient_scale(x, o, s):
    """Of an image's largest: G_k and sum_j p_j G_j cancel where a pixel is certain, and entropy and KL may. The
    exponentials have an error that grows slowly with their argument."""
    r = _parts(x, o)
    p = r.p * (1 + np.abs(r.d) / 8)
    g = (r.nu[:, :, None] * (np.abs(r.log_p) + 1) + o.kl_weight * (np.abs(_slope(r, o)) + 1)[:, :, None]) / r.n
    size = np.abs(s)[:, None, None] * p * (g + (p * g).sum(axis=1, keepdims=True))
    return {"logits": np.broadcast_to(size.max(axis=(1, 2), keepdims=True), size.shape) if size.size else size}


def _logits(rng, shape, distribution, sizes):
    from harness.cases import floats
    from harness.compare import F32

    # Where a class vanishes from an image, the reverse divergence is infinite.
    most = 15 if sizes["reverse"] else 6e4
    return floats(rng, shape, distribution, F32).clip(-most, most)


def _prior(rng, shape, _distribution, _sizes):
    tau = rng.random(shape) + 0.05
    return tau / tau.sum(axis=1, keepdims=True)


SAMPLERS = {"logits": _logits, "prior": _prior}

OPTIONS = {
    "kl_weight": [1.0, 0.0, 2.5],
    "reverse": [False, True],
    "class_weighting": ["inverse_prior", "uniform"],
}

SHAPES = [
    {"batch": (3, 1, 2, 5)[i % 4], "classes": c, "pixels": n}
    for i, (c, n) in enumerate(
        [(2, 3), (2, 1), (1, 5), (3, 7), (2, 13), (4, 16), (5, 17), (3, 31), (8, 33), (2, 127), (6, 257), (7, 511),
         (4, 512), (3, 513), (9, 1021), (130, 67), (129, 1), (33, 131), (4500, 3), (2, 5003)]
    )
] + [{"batch": 2, "classes": 4, "pixels": 70_001}]  # fmt: skip

EXAMPLES = [
    {
        "inputs": {"logits": [[[0.5, -1.0, 0.25], [0.0, 2.0, -0.5]]], "prior": [[0.25, 0.75]]},
        "options": {"kl_weight": 1.0},
        "outputs": {"loss": 0.334143755699},
        "gradients": {
            "logits": [[[0.039850305616, 0.040221901344, 0.029242690655], [-0.039850305616, -0.040221901344, -0.029242690655]]]
        },
    }
]


def test_gradient_sums_to_zero_over_classes(call):
    """But for what each of the five may be off."""
    rng = np.random.default_rng(0)
    z = call.floats(2 * rng.standard_normal((2, 5, 37)))
    g = call(z, np.full((2, 5), 0.2, np.float32)).backward()["logits"].astype(float)
    assert np.abs(g.sum(axis=1)).max() <= (5 * 5e-7 if call.dtype.itemsize == 4 else 2e-2) * np.abs(g).max()


def test_certain_prediction_at_the_prior(call):
    """No entropy and no divergence."""
    z = np.zeros((1, 2, 4))
    z[0, 0, :1] = z[0, 1, 1:] = 80
    result = call(call.floats(z), np.float32([[0.25, 0.75]]))
    assert abs(result.loss) < 1e-6 and np.abs(result.backward()["logits"].astype(float)).max() < 1e-6


def test_impossible_classes(call):
    """-inf logits have no probability and take no gradient."""
    z = call.floats([[[1.0, 2.0], [-np.inf, -np.inf], [0.5, 0.25]]])
    result = call(z, np.float32([[0.3, 0.3, 0.4]]))
    g = result.backward()["logits"].astype(float)
    assert np.isfinite(result.loss) and np.isfinite(g).all() and not g[0, 1].any()
