"""multi_margin_loss: multi-class margin loss."""

import numpy as np

def _parts(x, o):
    z = x.logits
    rows = np.arange(len(z))
    h = o.margin - z[rows, x.labels][:, None] + z
    h[rows, x.labels] = 0
    w = (np.ones(len(z)) if x.class_weights is None else x.class_weights[x.labels]) / z.shape[1]
    return np.maximum(0, h), w, rows


def reference(x, o):
    h, w, _ = _parts(x, o)
    return {"loss": w * (h**o.p).sum(-1)}


def gradient(x, o, s):
    h, w, rows = _parts(x, o)
    g = np.where(h > 0, o.p * h ** (o.p - 1), np.where(np.isnan(h), h, 0)) * (s * w)[:, None]
    g[rows, x.labels] = 0
    g[rows, x.labels] = -g.sum(-1)
    return {"logits": g}


def _size(x, o):
    """Each h is a sum of three terms."""
    z = x.logits
    return abs(o.margin) + np.abs(z - z[np.arange(len(z)), x.labels][:, None])


def scale(x, o):
    _, w, _ = _parts(x, o)
    return {"loss": np.abs(w) * (_size(x, o) ** o.p).sum(-1)}


def gradient_scale(x, o, s):
    h, w, _ = _parts(x, o)
    slope = ((h > 0) * o.p * (_size(x, o) if o.p == 2 else 1)).sum(-1)
    return {"logits": (np.abs(s * w) * slope)[:, None]}


def _weights(rng, shape, distribution, _sizes):
    return 0.1 + 4 * rng.random(shape)


OPTIONS = {"p": [1, 2], "margin": [1.0, 0.25, -0.5]}
SAMPLERS = {"class_weights": _weights}

EXAMPLES = [
    {
        "inputs": {"logits": [[0.5, -1.25, 0.25], [3.0, 0.0, 2.5]], "labels": [0, 2]},
        "outputs": {"loss": 0.375},
        "gradients": {"logits": [[-0.166666666667, 0.0, 0.166666666667], [0.166666666667, 0.0, -0.166666666667]]},
    }
]
