"""hermite_features: normalised Hermite polynomials."""

import numpy as np

def _polynomials(x, degree):
    h = [np.ones_like(x), x]
    for k in range(1, degree):
        h.append((x * h[k] - np.sqrt(x.dtype.type(k)) * h[k - 1]) / np.sqrt(x.dtype.type(k + 1)))
    return np.stack(h[: degree + 1], -1)


def reference(x, o):
    return {"features": _polynomials(x.x, o.degree)}


def gradient(x, o, s):
    h = _polynomials(x.x, o.degree)
    slopes = np.sqrt(np.arange(1, o.degree + 1)) * h[:, :-1]
    return {"x": (s[:, 1:] * slopes).sum(-1)}


def gradient_scale(x, o, s):
    h = _polynomials(x.x, o.degree)
    return {"x": (np.abs(s[:, 1:]) * np.abs(np.sqrt(np.arange(1, o.degree + 1)) * h[:, :-1])).sum(-1)}


def _moderate(rng, shape, distribution, _sizes):
    """The polynomials of large numbers overflow f32."""
    return np.clip((1e-5 if distribution == "tiny" else 1.5) * rng.standard_normal(shape), -5, 5)


OPTIONS = {"degree": [4, 0, 1, 9, 30]}
SAMPLERS = {"x": _moderate}
SHAPES = [{"n": n} for n in (1, 2, 3, 7, 16, 33, 129, 1025, 5001)]

EXAMPLES = [
    {
        "inputs": {"x": [0.5, -1.25]},
        "options": {"degree": 4},
        "outputs": {"features": [[1.0, 0.5, -0.53033008589, -0.561341399388, 0.318943976925], [1.0, -1.25, 0.397747564417, 0.733571146927, -0.802941461908]]},
        "gradients": {"x": [-0.334134671133, 1.388294331046]},
    }
]


def test_orthonormal(call):
    """Under the normal distribution, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(24)
    h = call(nodes.astype(np.float32), degree=8).features.astype(float)
    np.testing.assert_allclose((h.T * weights) @ h / weights.sum(), np.eye(9), atol=1e-4)
