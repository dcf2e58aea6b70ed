"""router_z_loss: square of the logsumexp."""

import numpy as np

def _lse(z):
    with np.errstate(all="ignore"):
        top = z.max(-1, keepdims=True)
        return (top + np.log(np.exp(z - top).sum(-1, keepdims=True)))[:, 0]


def reference(x, o):
    return {"loss": _lse(x.logits) ** 2}


def gradient(x, o, s):
    lse = _lse(x.logits)
    return {"logits": (2 * s * lse)[:, None] * np.exp(x.logits - lse[:, None])}


def _size(x):
    """The largest logit and the logarithm of the sum may cancel."""
    top = x.logits.max(-1)
    return np.abs(top) + np.abs(_lse(x.logits) - top) + 1e-7


def scale(x, o):
    return {"loss": np.abs(_lse(x.logits)) * _size(x) + 1e-7 * _size(x) ** 2}


def gradient_scale(x, o, s):
    p = np.exp(x.logits - _lse(x.logits)[:, None])
    return {"logits": (2 * np.abs(s) * _size(x))[:, None] * p.max(-1, keepdims=True)}

EXAMPLES = [
    {
        "inputs": {"logits": [[0.5, -1.25, 0.25], [3.0, 0.0, 2.5]]},
        "outputs": {"loss": 6.824554269005},
        "gradients": {"logits": [[0.598772921899, 0.10405113187, 0.466324820457], [2.115896511235, 0.105344284264, 1.283356106843]]},
    }
]
