"""spherical_softmax_cross_entropy: probabilities quadratic in the logits."""

import numpy as np


def _rows(x, o):
    z = x.logits
    counted = x.labels != o.ignore_index
    own = np.arange(z.shape[1]) == np.where(counted, x.labels, 0)[:, None]
    if o.kind == "spherical":
        f, slope = z**2 + o.eps, 2 * z
    else:
        f, slope = 1 + z + z**2 / 2, 1 + z
    return counted, own, f, slope, np.where(own, f, 0).sum(axis=1), np.where(own, 0, f).sum(axis=1)


def reference(x, o):
    counted, _, _, _, f_y, rest = _rows(x, o)
    return {"loss": np.where(counted, np.log1p(rest / f_y), 0)}


def count(x, o):
    return (x.labels != o.ignore_index).sum()


def gradient(x, o, s):
    counted, own, _, slope, f_y, rest = _rows(x, o)
    share = np.where(own, -(rest / f_y)[:, None], 1) / (rest + f_y)[:, None]
    return {"logits": np.where(counted[:, None], s[:, None] * slope * share, 0)}


OPTIONS = {"kind": ["spherical", "taylor"], "eps": [0.01, 1.0, 1e-6], "ignore_index": [-100, 0]}

EXAMPLES = [
    {
        "inputs": {"logits": [[0.5, -1.25, 0.25], [3.0, 0.0, 2.5]], "labels": [0, 2]},
        "outputs": {"loss": 1.441960127586},
        "gradients": {
            "logits": [[-1.660609731476, -0.656167979003, 0.131233595801], [0.196335078534, 0.0, -0.235748456919]]
        },
    }
]


def _sample(call):
    rng = np.random.default_rng(0)
    return call.floats(rng.standard_normal((7, 37))), rng.integers(0, 37, 7)


def test_spherical_is_even(call):
    z, y = _sample(call)
    one, two = call(z, y, reduction="none"), call(-z, y, reduction="none")
    assert one.loss.tolist() == two.loss.tolist()
    assert (one.backward()["logits"] == -two.backward()["logits"]).all()


def test_is_the_loss_of_the_factored_layer(call):
    """With W = identity."""
    z, y = _sample(call)
    eye, zero = np.eye(37, dtype=np.float32), np.zeros(37, np.float32)
    try:
        other = call.other("factored_spherical_output")
    except KeyError:
        return  # a library without it
    for kind in ("spherical", "taylor"):
        result = call(z, y, kind=kind, eps=0.1)
        factored = other(z, y, eye, eye, zero, eye, zero + 1, kind=kind, eps=0.1)
        assert np.isclose(result.loss, factored.loss, rtol=1e-6)
        g, h = result.backward()["logits"].astype(float), factored.grad_hidden.astype(float)
        assert np.abs(g - h).max() <= (1e-6 if z.itemsize == 4 else 1e-2) * np.abs(g).max()


def test_squares_beyond_f32(call):
    if call.dtype.itemsize != 4:
        return
    z = call.floats([[1e30, 2e30, 0.0]])
    result = call(z, [0])
    assert np.isclose(result.loss, np.log(5), rtol=1e-6)
    assert np.allclose(result.backward()["logits"] * 1e30, [[-1.6, 0.8, 0]], rtol=1e-6)
