"""softmax_focal_loss: softmax focal loss."""

import numpy as np

def _parts(x, o):
    z = x.logits
    rows, own = np.arange(len(z)), np.where(x.labels == o.ignore_index, 0, x.labels)
    with np.errstate(all="ignore"):
        top = z.max(-1, keepdims=True)
        e = np.exp(z - top)
        p = e / e.sum(-1, keepdims=True)
        u = (z - top)[rows, own] - np.log(e.sum(-1))
        others = e.copy()
        others[rows, own] = 0
        q = others.sum(-1) / e.sum(-1)
    # log p_y of a confident row from what is left of 1.
    u = np.where(q < 0.5, np.log1p(-q), u)
    w = (np.ones(len(z)) if x.class_weights is None else x.class_weights[own]) * (x.labels != o.ignore_index)
    return p, q, u, w, own


def reference(x, o):
    _, q, u, w, _ = _parts(x, o)
    return {"loss": np.where(w == 0, 0, -w * q**o.gamma * u)}


def count(x, o):
    return np.count_nonzero(x.labels != o.ignore_index)


def gradient(x, o, s):
    p, q, u, w, own = _parts(x, o)
    with np.errstate(all="ignore"):
        second = np.where((q == 0) | (o.gamma == 0), 0, o.gamma * q ** (o.gamma - 1) * (1 - q) * u)
    slope = -w * (q**o.gamma - second) * s
    g = -slope[:, None] * p
    g[np.arange(len(p)), own] = slope * q
    return {"logits": np.where((w == 0)[:, None], 0, g)}


def scale(x, o):
    """q has the relative error of an f32 sum, raised to gamma."""
    _, q, u, w, _ = _parts(x, o)
    return {"loss": (1 + o.gamma / 2) * np.abs(w) * q**o.gamma * np.abs(u)}


def gradient_scale(x, o, s):
    largest = np.abs(gradient(x, o, s)["logits"]).max(-1, keepdims=True)
    return {"logits": (1 + o.gamma / 2) * largest}


def _weights(rng, shape, distribution, _sizes):
    return 0.1 + 4 * rng.random(shape)


OPTIONS = {"gamma": [2.0, 0.0, 1.0, 0.5, 3.25], "ignore_index": [-100, 1]}
SAMPLERS = {"class_weights": _weights}

EXAMPLES = [
    {
        "inputs": {"logits": [[0.5, -1.25, 0.25], [3.0, 0.0, 2.5]], "labels": [0, 2]},
        "outputs": {"loss": 0.281409253559},
        "gradients": {"logits": [[-0.139619486704, 0.025470157996, 0.114149328708], [0.262038220838, 0.013046114816, -0.275084335654]]},
    }
]


def test_gamma_zero_is_cross_entropy(call):
    rng = np.random.default_rng(0)
    z, y = call.floats(3 * rng.standard_normal((7, 19))), rng.integers(0, 19, 7)
    assert abs(call(z, y, gamma=0.0).loss / call.other("token_cross_entropy")(z, y).loss - 1) < 1e-6
