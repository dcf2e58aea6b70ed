"""binarize: sign with a surrogate gradient."""

import numpy as np

def _reste(a, o):
    with np.errstate(all="ignore"):
        curve = np.where(a <= o.interval, o.interval ** (1 / o.o - 1), a ** (1 / o.o - 1) / o.o)
    return np.where(a > o.clip, 0, curve)


def reference(x, o):
    return {"output": np.where(np.isnan(x.input), x.input, np.where(x.input >= 0, 1.0, -1.0))}


def gradient(x, o, s):
    a = np.abs(x.input)
    slope = {
        "identity": np.ones_like(a),
        "clipped": (a <= o.clip) * 1.0,
        "polynomial": np.where(a < o.clip, 2 / o.clip * (1 - a / o.clip), 0),
        "reste": _reste(a, o),
    }[o.kind]
    return {"input": np.where(np.isnan(a), a, s * slope)}


SURROGATE = True  # the gradient is not that of the output
OPTIONS = {
    "kind": ["identity", "clipped", "polynomial", "reste"],
    "o": [3.0, 1.0, 1.5],
    "clip": [1.5, 0.5],
    "interval": [0.1, 0.01],
}

EXAMPLES = [
    {
        "inputs": {"input": [0.05, -0.5, 1.25, -2.0]},
        "options": {"kind": "reste", "o": 3.0},
        "outputs": {"output": [1.0, -1.0, 1.0, -1.0]},
        "gradients": {"input": [4.641588833613, 0.529133683989, 0.287257958671, 0.0]},
    }
]


def test_reste_with_o_1_is_clipped(call):
    x = call.floats(2 * np.random.default_rng(0).standard_normal(500))
    gradients = [call(x, kind=kind, o=1.0).backward()["input"] for kind in ("reste", "clipped")]
    np.testing.assert_allclose(*(g.astype(float) for g in gradients), rtol=1e-6)
