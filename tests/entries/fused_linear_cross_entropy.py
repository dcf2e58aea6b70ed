"""fused_linear_cross_entropy: token_cross_entropy of hidden weight^T + bias."""

import importlib.util
import os
from types import SimpleNamespace

import numpy as np

from harness import linear

# The mathematics on logits is that of token_cross_entropy, and so is its reference.
_spec = importlib.util.spec_from_file_location("_token", os.path.join(os.path.dirname(__file__), "token_cross_entropy.py"))
_token = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_token)


def _logits(x):
    z, size = linear.logits(x.hidden, x.weight, x.bias)
    return SimpleNamespace(logits=z, labels=x.labels, class_weights=x.class_weights), size


def reference(x, o):
    return _token.reference(_logits(x)[0], o)


def count(x, o):
    return _token.count(_logits(x)[0], o)


def gradient(x, o, s):
    g = _token.gradient(_logits(x)[0], o, s)["logits"]
    counted = x.labels != o.ignore_index
    return {
        "hidden": np.where(counted[:, None], g @ x.weight, 0),
        "weight": g[counted].T @ x.hidden[counted],
        "bias": g.sum(axis=0),
    }


def scale(x, o):
    """Of the logits' losses; beside it an error e of the logits shifts -log p and lse by up to 2 e. A cap halts
    its growth: what it lets through of e is at most the cap."""
    y, size = _logits(x)
    size = size.max(axis=1)
    if o.softcap > 0:
        size = np.minimum(size, 2 * o.softcap)
    w = np.ones(x.weight.shape[0]) if x.class_weights is None else x.class_weights
    own = w[np.where(x.labels == o.ignore_index, 0, x.labels)]
    capped, _, counted, *_, lse, top = _token._rows(y, o)
    slope = (1 - o.label_smoothing) * own + o.label_smoothing * w.mean() + o.z_weight * (np.abs(lse) + np.abs(top))
    return {"loss": _token.scale(y, o)["loss"] + np.where(counted, 2 * slope * size, 0)}


def gradient_scale(x, o, s):
    """An error e of a row's logits is a relative error of up to 2 e of its probabilities, and so of the terms of
    the sums that the gradients are; z_weight multiplies lse itself. Sums of products are rounded relative to the
    sums of their sizes."""
    y, size = _logits(x)
    capped, w, counted, label, own, log_p, v, lse, top = _token._rows(y, o)
    e, classes = o.label_smoothing, log_p.shape[1]
    p = np.exp(log_p) + linear.UNDERFLOW
    others = np.where(own, 0, p)
    hard = (1 - e) * w[label][:, None] * np.where(own, others.sum(axis=1, keepdims=True), p)
    size = size.max(axis=1)
    soft = e / classes * (w.sum() * p + w) + 2 * o.z_weight * (np.abs(top) + np.abs(lse - top) + size)[:, None] * p
    g = np.where(counted[:, None], np.abs(s)[:, None] * (hard + soft), 0) * (1 + 2 * size[:, None])
    return {
        "hidden": np.broadcast_to((g @ np.abs(x.weight)).max(axis=1, keepdims=True), x.hidden.shape),
        "weight": np.broadcast_to((g.T @ np.abs(x.hidden)).max(axis=1, keepdims=True), x.weight.shape),
        "bias": g.sum(axis=0),
    }


def _weight(rng, shape, distribution, sizes):
    """Logits of a size that training has: few are certain."""
    return rng.standard_normal(shape) / np.sqrt(sizes["d"])


def _hidden(rng, shape, distribution, sizes):
    spread = {"normal": 3, "heavy": 10, "offset": 1, "constant": 0, "extreme": 40, "tiny": 1e-4}[distribution]
    return spread * rng.standard_normal(shape) + (distribution in ("offset", "constant"))


def _bias(rng, shape, distribution, sizes):
    return rng.standard_normal(shape)


SAMPLERS = {**_token.SAMPLERS, "weight": _weight, "hidden": _hidden, "bias": _bias}

OPTIONS = _token.OPTIONS

#: Around vectors, around the tiles of the CPU (512 of 1024 x 2048) and of the kernels (64).
SHAPES = [
    {"rows": r, "d": d, "classes": c}
    for r, d, c in [
        (3, 5, 4), (1, 1, 1), (5, 3, 2), (2, 1, 7), (7, 16, 13), (4, 33, 31), (17, 8, 64), (63, 17, 65), (65, 64, 129),
        (5, 130, 511), (9, 7, 513), (2, 20, 1025), (129, 5, 200), (3, 4, 2049), (515, 3, 37), (1030, 2, 9),
    ]
]  # fmt: skip

EXAMPLES = [
    {
        "inputs": {
            "hidden": [[0.5, -1.0], [0.25, 2.0]],
            "weight": [[1.0, 0.5], [-0.5, 0.25], [0.0, -1.0]],
            "bias": [0.1, 0.0, -0.2],
            "labels": [0, 2],
        },
        "options": {},
        "outputs": {"loss": 2.580585180444},
        "gradients": {
            "hidden": [[-0.398164059371, -0.443196482322], [0.288567471313, 0.701140412793]],
            "weight": [[-0.090915885652, 1.070931203226], [0.072048552412, 0.191264402455], [0.01886733324, -1.262195605681]],
            "bias": [-0.004011884919, 0.211169406279, -0.20715752136],
        },
    }
]


def _sample(call, rows=70, d=24, classes=90, seed=0):
    rng = np.random.default_rng(seed)
    return (
        call.floats(rng.standard_normal((rows, d))),
        call.floats(rng.standard_normal((classes, d)) / np.sqrt(d)),
        call.floats(rng.standard_normal(classes)),
        rng.integers(0, classes, rows),
    )


def test_equals_token_cross_entropy_of_the_logits(call):
    if call.dtype.itemsize != 4:
        return  # the logits would be rounded
    h, w, b, y = _sample(call)
    y[::7] = -100
    z = (h.astype(float) @ w.astype(float).T + b).astype(np.float32)
    for options in ({}, {"label_smoothing": 0.2, "z_weight": 0.01}, {"softcap": 3.0}, {"reduction": "sum"}):
        fused = call(hidden=h, weight=w, bias=b, labels=y, **options)
        plain = call.other("token_cross_entropy")(z, y, **options)
        assert abs(fused.loss / plain.loss - 1) < 2e-6
        g = plain.backward()["logits"].astype(float)
        for name, expected in {"hidden": g @ w, "weight": g.T @ h, "bias": g.sum(axis=0)}.items():
            np.testing.assert_allclose(fused.backward()[name], expected, rtol=1e-4, atol=2e-6 * np.abs(expected).max())


def test_a_gradient_alone_is_the_same(call):
    """What is not wanted is not computed, and changes nothing."""
    h, w, b, y = _sample(call)
    both = call(hidden=h, weight=w, bias=b, labels=y).backward()
    for name in both:
        alone = call(hidden=h, weight=w, bias=b, labels=y).backward(wanted=[name])
        assert list(alone) == [name] and alone[name].tobytes() == both[name].tobytes()


def test_ignored_rows_may_hold_anything(call):
    h, w, b, y = _sample(call)
    y[::3] = -100
    clean = call(hidden=h, weight=w, bias=b, labels=y)
    dirty = h.copy()
    dirty[::3] = np.nan
    other = call(hidden=dirty, weight=w, bias=b, labels=y)
    assert clean.loss == other.loss
    for name, g in other.backward().items():
        assert g.tobytes() == clean.backward()[name].tobytes()
        if name == "hidden":
            assert not g[::3].astype(float).any()


def test_many_tiles(call):
    """More rows and classes than a tile of the CPU has, some of them ignored."""
    if call.context.kind != "cpu":
        return
    h, w, b, y = _sample(call, 2100, 9, 4500)
    y[::5] = -100
    call.compare({"hidden": h, "weight": w, "bias": b, "labels": y}, {})
