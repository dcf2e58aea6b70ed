"""cosine_embedding_loss: cosine embedding loss of pairs of vectors."""

import numpy as np


def _parts(x, o):
    aa, bb = ((v**2).sum(axis=1) + 1e-12 for v in (x.a, x.b))
    c = (x.a * x.b).sum(axis=1) / np.sqrt(aa * bb)
    return aa, bb, c, x.target > 0


def reference(x, o):
    _, _, c, same = _parts(x, o)
    return {"loss": np.where(same, 1 - c, np.maximum(0, c - o.margin))}


def gradient(x, o, s):
    aa, bb, c, same = _parts(x, o)
    w = np.where(same, -s, np.where(c > o.margin, s, 0))[:, None]
    aa, bb, c = aa[:, None], bb[:, None], c[:, None]
    return {"a": w * (x.b / np.sqrt(aa * bb) - x.a * c / aa), "b": w * (x.a / np.sqrt(aa * bb) - x.b * c / bb)}


def scale(x, o):
    """1 - c and c - margin are differences; c itself is exact to f64."""
    aa, bb, _, same = _parts(x, o)
    exact = 1e-6 * (np.abs(x.a * x.b).sum(axis=1) / np.sqrt(aa * bb) + 1)
    return {"loss": exact}


def gradient_scale(x, o, s):
    """The part of a vector along the other is taken away from it."""
    aa, bb, c, same = _parts(x, o)
    w = np.where(same | (c > o.margin), np.abs(s), 0)
    a, b = np.abs(x.a).max(axis=1) / np.sqrt(aa), np.abs(x.b).max(axis=1) / np.sqrt(bb)
    size = w * (a + b)
    return {"a": (size / np.sqrt(aa))[:, None], "b": (size / np.sqrt(bb))[:, None]}


def _signs(rng, shape, _distribution, _sizes):
    return 2 * rng.integers(0, 2, shape) - 1


OPTIONS = {"margin": [0.0, 0.3, -1.0]}
SAMPLERS = {"target": _signs}

EXAMPLES = [
    {
        "inputs": {"a": [[1.0, 2.0], [0.5, -1.0]], "b": [[2.0, 1.0], [1.0, 0.25]], "target": [1.0, -1.0]},
        "outputs": {"loss": 0.208465228909},
        "gradients": {"a": [[-0.12, 0.06], [0.390474824073, 0.195237412037]], "b": [[0.06, -0.12], [0.114845536492, -0.459382145968]]},
    }
]


def test_vectors_of_length_zero(call):
    zero, one = call.floats(np.zeros((2, 5))), call.floats(np.ones((2, 5)))
    result = call(zero, one, call.floats([1, -1]), reduction="none")
    assert list(result.loss) == [1, 0]
    assert call.dtype.itemsize == 2 or all(np.isfinite(g.astype(float)).all() for g in result.backward().values())


def test_nearly_parallel_vectors_keep_their_digits(call):
    if call.dtype.itemsize == 4:
        a, b = np.array([[1.0, 0.0]]), np.array([[1.0, 2.0**-10]])
        loss = call(call.floats(a), call.floats(b), call.floats([1])).loss
        assert abs(loss / (1 - 1 / np.sqrt(1 + 2.0**-20)) - 1) < 1e-5
