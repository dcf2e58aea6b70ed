"""nested_dropout: zeros from some channel on."""

import numpy as np


def _kept(x):
    return np.arange(x.features.shape[1]) < x.keep[:, None]


def reference(x, o):
    return {"output": np.where(_kept(x), x.features, 0)}


def gradient(x, o, s):
    return {"features": np.where(_kept(x), s, 0)}


EXAMPLES = [
    {
        "inputs": {"features": [[0.5, -1.25, 0.25], [1.0, 2.0, 3.0]], "keep": [2, 1]},
        "outputs": {"output": [[0.5, -1.25, 0.0], [1.0, 0.0, 0.0]]},
        "gradients": {"features": [[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]},
    }
]


def test_all_and_nothing(call):
    x = call.floats(np.random.default_rng(0).standard_normal((5, 37)))
    assert np.array_equal(call(x, np.full(5, 37)).output, x)
    assert not call(x, np.zeros(5, np.int64)).output.astype(float).any()


def test_what_is_dropped_does_not_matter(call):
    x = call.floats(np.random.default_rng(0).standard_normal((4, 19)))
    keep = np.array([3, 0, 19, 8])
    clean = call(x, keep).output
    x[0, 3:], x[1], x[3, 8:] = np.nan, np.inf, np.nan
    assert np.array_equal(call(x, keep).output, clean)
