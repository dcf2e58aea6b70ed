"""topk_softmax_gating: the k largest logits of a row, and softmax over them or before them."""

import numpy as np


def _choice(z, k):
    """By value, the lower index first."""
    return np.argsort(-z, axis=1, kind="stable")[:, :k]


def _softmax(z):
    with np.errstate(all="ignore"):
        p = np.exp(z - z.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)


def _gates(x, o):
    chosen = _choice(x.logits, o.k)
    if o.order == "softmax_then_topk":
        return chosen, np.take_along_axis(_softmax(x.logits), chosen, 1)
    return chosen, _softmax(np.take_along_axis(x.logits, chosen, 1))


def reference(x, o):
    if x.logits.shape[0] == 0:
        return {"gates": np.zeros((0, o.k)), "indices": np.zeros((0, o.k), int)}
    chosen, gates = _gates(x, o)
    return {"gates": gates, "indices": chosen}


def gradient(x, o, s):
    chosen, gates = _gates(x, o)
    mean = (gates * s).sum(axis=1, keepdims=True)
    if o.order == "softmax_then_topk":
        g = -_softmax(x.logits) * mean
        np.put_along_axis(g, chosen, gates * (s - mean), 1)
    else:
        g = np.zeros_like(x.logits)
        np.put_along_axis(g, chosen, gates * (s - mean), 1)
    return {"logits": g}


def gradient_scale(x, o, s):
    """Upstream gradients less their mean: differences."""
    _, gates = _gates(x, o)
    mean = (gates * np.abs(s)).sum(axis=1, keepdims=True)
    largest = (gates * (np.abs(s) + mean)).max(axis=1, keepdims=True)
    return {"logits": np.broadcast_to(largest, x.logits.shape)}


def possible(dims, o):
    return o.k <= dims["experts"]


OPTIONS = {"k": [2, 1, 3, 16, 17, 64, 1000, 2300], "order": ["topk_then_softmax", "softmax_then_topk"]}

EXAMPLES = [
    {
        "inputs": {"logits": [[0.5, -1.25, 0.25, 2.0]]},
        "options": {"k": 2},
        "outputs": {"gates": [[0.817574476194, 0.182425523806]], "indices": [[3, 0]]},
        "gradients": {"logits": [[0.0, 0.0, 0.0, 0.0]]},
    }
]


def test_equal_logits_by_index(call):
    z = call.floats([[1, 3, 3, 0, 3], [0, 0, 0, 0, 0], [-np.inf, 2, -np.inf, -np.inf, 2]])
    result = call(z, k=4)
    assert result.indices.tolist() == [[1, 2, 4, 0], [0, 1, 2, 3], [1, 4, 0, 2]]
    np.testing.assert_allclose(result.gates[1], 0.25)
    np.testing.assert_allclose(result.gates[2], [0.5, 0.5, 0, 0])


def test_many_equal_logits(call):
    """More than are sorted at a time, of few values."""
    z = call.floats(np.random.default_rng(1).integers(0, 4, (2, 2600)))
    for k in (5, 900, 1024, 1025, 2600):
        expected = np.argsort(-z.astype(float), axis=1, kind="stable")[:, :k]
        np.testing.assert_array_equal(call(z, k=k).indices, expected)


def test_all_chosen_is_the_softmax(call):
    z = call.floats(np.random.default_rng(2).standard_normal((5, 40)) * 3)
    first, last = (call(z, k=40, order=order) for order in ("topk_then_softmax", "softmax_then_topk"))
    np.testing.assert_array_equal(first.indices, last.indices)
    np.testing.assert_allclose(first.gates, last.gates, rtol=1e-6)
    np.testing.assert_allclose(first.gates.sum(axis=1), 1, rtol=1e-6)


def test_a_nan_comes_first_and_stays_in_its_row(call):
    z = np.random.default_rng(3).standard_normal((3, 50))
    z[1, [7, 30]] = np.nan
    for k in (3, 20):
        for order in ("topk_then_softmax", "softmax_then_topk"):
            result = call(call.floats(z), k=k, order=order)
            assert result.indices[1, :2].tolist() == [7, 30]
            assert np.isnan(result.gates[1]).all() and np.isfinite(result.gates[[0, 2]]).all()
            g = result.backward()["logits"].astype(float)
            assert np.isnan(g[1, [7, 30]]).all() and np.isfinite(g[[0, 2]]).all()
