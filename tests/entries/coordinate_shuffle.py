"""coordinate_shuffle: coordinates exchanged between samples."""

import numpy as np


def reference(x, o):
    return {"output": np.where(x.mask != 0, x.x[x.permutation], x.x)}


EXAMPLES = [
    {
        "inputs": {"x": [[0.5, 1.0], [2.0, 3.0]], "permutation": [1, 0], "mask": [1, 0]},
        "outputs": {"output": [[2.0, 1.0], [0.5, 3.0]]},
    }
]


def test_all_and_nothing(call):
    rng = np.random.default_rng(0)
    x, p = call.floats(rng.standard_normal((9, 37))), rng.permutation(9)
    assert np.array_equal(call(x, p, np.full(37, 200, np.uint8)).output, x[p])
    assert np.array_equal(call(x, p, np.zeros(37, np.uint8)).output, x)


def test_the_inverse_permutation_restores(call):
    rng = np.random.default_rng(1)
    x, p, mask = call.floats(rng.standard_normal((50, 11))), rng.permutation(50), rng.integers(0, 2, 11).astype(np.uint8)
    assert np.array_equal(call(call(x, p, mask).output, np.argsort(p), mask).output, x)


def test_bits_are_copied(call):
    x = call.floats([[np.nan, np.inf], [-0.0, 1e-40]])
    output = call(x, np.array([1, 0]), np.uint8([1, 0])).output
    assert np.isnan(output[1, 0]) and np.signbit(output[0, 0]) and output[0, 1] == np.inf and output[1, 1] == x[1, 1]
