"""logit_gap: gap between the largest logit and the k-th largest."""

import numpy as np


def _order(x, o):
    return np.argsort(-x.logits, axis=1, kind="stable")[:, [0, o.order - 1]]


def reference(x, o):
    two = np.take_along_axis(x.logits, _order(x, o), axis=1)
    gap = two[:, 0] - two[:, 1]
    return {"gap": np.where(np.isnan(x.logits).any(axis=1), np.nan, gap)}


def gradient(x, o, s):
    g = np.zeros(x.logits.shape)
    two, rows = _order(x, o), np.arange(len(g))
    g[rows, two[:, 0]] = s
    g[rows, two[:, 1]] = -s
    return {"logits": g}


def possible(dims, o):
    return 2 <= o.order <= dims["classes"]


OPTIONS = {"order": [2, 3, 5, 17, 40]}
SHAPES = [{"rows": 1 + i % 5, "classes": c} for i, c in enumerate([2, 3, 5, 7, 8, 9, 16, 17, 19, 33, 67, 129, 257, 1025, 2503, 33, 67, 19])] + [{"rows": 37, "classes": 4099}]

EXAMPLES = [
    {
        "inputs": {"logits": [[0.5, -1.25, 0.25], [3.0, 0.0, 2.5]]},
        "options": {"order": 2},
        "outputs": {"gap": 0.375},
        "gradients": {"logits": [[0.5, 0.0, -0.5], [0.5, 0.0, -0.5]]},
    }
]


def test_equal_logits_are_ranked_by_index(call):
    z = call.floats([[1.0, 2.0, 2.0, 2.0, 0.0], [0.0, -0.0, 0.0, -0.0, 0.0]])
    for order, wanted in ((2, [2, 1]), (3, [3, 2]), (4, [0, 3]), (5, [4, 4])):
        result = call(z, order=order, reduction="none")
        g = result.backward()["logits"].astype(float)
        assert list(g.argmax(axis=1)) == [1, 0] and list(g.argmin(axis=1)) == wanted, (order, g)


def test_order_beyond_the_classes_is_refused(call):
    try:
        call(call.floats(np.ones((2, 3))), order=4)
    except ValueError as error:
        assert "'order' is 4" in str(error) and "classes (3)" in str(error)
    else:
        raise AssertionError


def test_infinite_logits(call):
    z = call.floats([[1.0, -np.inf, -np.inf], [np.inf, 0.0, 1.0], [np.nan, 0.0, 1.0]])
    for order in (2, 3):
        result = call(z, order=order, reduction="none")
        assert result.gap[0] == np.inf and result.gap[1] == np.inf and np.isnan(result.gap[2])
        g = result.backward()["logits"].astype(float)
        assert np.isnan(g[2]).all() and np.isfinite(g[:2]).all()
