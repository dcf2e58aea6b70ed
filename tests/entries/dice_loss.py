"""dice_loss: soft Dice, Tversky, focal Tversky and Jaccard."""

from types import SimpleNamespace

import numpy as np


def _activate(z, activation):
    """p, 1 - p and d p / d z on the diagonal."""
    if activation == "softmax":
        e = np.exp(z - z.max(axis=1, keepdims=True)) if z.size else z
        p = e / e.sum(axis=1, keepdims=True)
        return p, 1 - p
    if activation == "sigmoid":
        e = np.exp(-np.abs(z))
        large, small = 1 / (1 + e), e / (1 + e)
        return np.where(z < 0, small, large), np.where(z < 0, large, small)
    return z, 1 - z


def _parts(x, o):
    p, q = _activate(x.pred, o.activation)
    classes = p.shape[1]
    if x.labels is not None:
        counted = (x.labels != o.ignore_index)[:, None, :]
        t = (x.labels[:, None, :] == np.arange(classes)[:, None]) * counted
    else:
        counted, t = np.ones_like(p[:, :1], bool), x.target
    t = t.astype(p.dtype)
    axes = (0, 2) if o.batch else (2,)

    def total(v):
        return np.where(counted, v, 0).sum(axis=axes, keepdims=True)

    i = total(p * t)
    fp = total(p * (p - t) if o.squared else p * (1 - t))
    fn = total(t * (t - p) if o.squared else t * q)
    n = 2 * i + o.smooth
    missed = 2 * (o.alpha * fp + o.beta * fn)
    d = n + missed
    # p, and so 1 - p, is rounded to f32 before it is added up.
    rough = 2 * (o.alpha * total(p * p if o.squared else p * (1 - t)) + o.beta * total(t))
    kept = np.ones(classes, bool)
    kept[0] = o.include_background or classes == 1
    return SimpleNamespace(
        p=p, q=q, t=t, counted=counted, n=n, d=d, missed=missed, distance=missed / d, rough=rough / d, kept=kept[:, None]
    )


def _flat(v, o):
    return v[0, :, 0] if o.batch else v[:, :, 0]


def reference(x, o):
    r = _parts(x, o)
    loss = r.distance if o.gamma == 1 else np.maximum(r.distance, 0) ** o.gamma
    return {"loss": _flat(np.where(r.kept, loss, 0), o)}


def count(x, o):
    batch, classes, _ = x.pred.shape
    return (1 if o.batch else batch) * (classes - (not o.include_background and classes > 1))


def _slopes(x, o, s):
    r = _parts(x, o)
    s = s[None, :, None] if o.batch else s[:, :, None]
    if o.gamma == 1:
        c = -s
    else:
        positive = r.distance > 0
        c = np.where(positive, -s * o.gamma * np.where(positive, r.distance, 1) ** (o.gamma - 1), 0)
    c = np.where(r.kept, c, 0)
    of_i = c * (2 * r.d - r.n * (2 - 2 * o.alpha - 2 * o.beta)) / r.d**2
    of_p = -2 * c * o.alpha * r.n / r.d**2
    return r, of_i, of_p


def gradient(x, o, s):
    r, of_i, of_p = _slopes(x, o, s)
    dp = of_i * r.t + of_p * (2 * r.p if o.squared else 1)
    if o.activation == "softmax":
        g = r.p * (dp - (r.p * dp).sum(axis=1, keepdims=True))
    elif o.activation == "sigmoid":
        g = r.p * r.q * dp
    else:
        g = dp + 0 * r.p
    return {"pred": np.where(r.counted, g, 0)}


def scale(x, o):
    r = _parts(x, o)
    size = np.maximum(r.rough, np.abs(r.distance))
    if o.gamma != 1:
        low = np.maximum(r.distance, 0)
        size = ((low + 1e-6 * size) ** o.gamma - low**o.gamma) / 1e-6
    return {"loss": _flat(np.where(r.kept, size, 0), o)}


def gradient_scale(x, o, s):
    """Of an image's largest: the terms dp_k and sum_j p_j dp_j of a softmax cancel where a pixel is certain. Its
    exponentials have an error that grows slowly with their argument. With gamma the slope has the relative error of 1 - x."""
    r, of_i, of_p = _slopes(x, o, s)
    doubt = 1.0
    if o.gamma != 1:
        doubt = 1 + abs(o.gamma - 1) * r.rough / np.where(r.distance > 0, r.distance, np.inf)
    dp = doubt * (np.abs(of_i) * r.t + np.abs(of_p) * (2 * r.p if o.squared else 1))
    if o.activation == "softmax":
        p = r.p * (1 + (x.pred.max(axis=1, keepdims=True) - x.pred) / 8)
        g = p * (dp + (p * dp).sum(axis=1, keepdims=True))
    elif o.activation == "sigmoid":
        g = r.p * r.q * dp
    else:
        g = dp + 0 * r.p
    g = np.where(r.counted, g, 0)
    return {"pred": np.broadcast_to(g.max(axis=(1, 2), keepdims=True), g.shape) if g.size else g}


def _scores(rng, shape, distribution, sizes):
    if sizes["activation"] == "none":
        return np.clip(rng.random(shape) * 1.2 - 0.1, 0, 1)
    from harness.cases import floats
    from harness.compare import F32

    return floats(rng, shape, distribution, F32).clip(-6e4, 6e4)


def _target(rng, shape, _distribution, _sizes):
    return np.clip(rng.random(shape) * 1.4 - 0.2, 0, 1)


SAMPLERS = {"pred": _scores, "target": _target}
ALTERNATIVES = ("labels", "target")

OPTIONS = {
    "activation": ["softmax", "sigmoid", "none"],
    "alpha": [0.5, 1.0, 0.0],
    "beta": [0.5, 1.0, 0.25],
    "smooth": [1e-5, 1.0],
    "gamma": [1.0, 2.0, 0.75],
    "squared": [False, True],
    "include_background": [True, False],
    "batch": [False, True],
    "ignore_index": [-100, 1],
}


def _shape(batch, classes, pixels):
    return {"batch": batch, "classes": classes, "pixels": pixels}


SHAPES = [_shape((3, 1, 2, 5)[i % 4], c, n) for i, (c, n) in enumerate(
    [(2, 3), (2, 1), (1, 5), (3, 7), (2, 13), (4, 16), (5, 17), (3, 31), (8, 33), (1, 64), (2, 127), (6, 257), (7, 511),
     (4, 512), (3, 513), (9, 1021), (130, 67), (129, 1), (64, 128), (33, 131), (4500, 3), (2, 5003)]
)] + [_shape(2, 4, 70_001)]

EXAMPLES = [
    {
        "inputs": {"pred": [[[0.5, -1.0, 2.0], [0.25, 1.0, -0.5]]], "labels": [[0, 1, 0]]},
        "outputs": {"loss": 0.219920222305},
        "gradients": {
            "pred": [[[-0.077935788106, 0.039723037829, -0.022197610089], [0.077935788106, -0.039723037829, 0.022197610089]]]
        },
    }
]


def _sample(call, batch=2, classes=3, pixels=37):
    rng = np.random.default_rng(0)
    return call.floats(2 * rng.standard_normal((batch, classes, pixels))), rng.integers(0, classes, (batch, pixels))


def test_labels_are_a_one_hot_target(call):
    z, y = _sample(call)
    t = call.floats(y[:, None] == np.arange(3)[:, None])
    one, two = call(z, y, reduction="none"), call(z, target=t, reduction="none")
    assert np.allclose(one.loss, two.loss, rtol=1e-6)
    g, h = (r.backward()["pred"].astype(float) for r in (one, two))
    assert np.abs(g - h).max() <= 1e-6 * np.abs(g).max()


def test_labels_or_target(call):
    import losskit
    import pytest

    z, y = _sample(call)
    for inputs in ({"pred": z}, {"pred": z, "labels": y, "target": z}):
        with pytest.raises(losskit.InvalidArgument, match="'target'"):
            call(**inputs)


def test_perfect_prediction(call):
    _, y = _sample(call)
    z = call.floats(200 * (y[:, None] == np.arange(3)[:, None]))
    for options in ({}, {"gamma": 0.5}, {"gamma": 2.0}, {"squared": True}):
        result = call(z, y, **options)
        assert result.loss == 0 and not result.backward()["pred"].astype(float).any()


def test_gradient_of_a_pixel_does_not_grow_with_its_error(call):
    """And at the same overlap not with the size of the object but by its share."""
    z, y = _sample(call, 1, 2, 64)
    largest = []
    for margin in (1.0, 10.0, 1000.0):
        wrong = call.floats(np.where(y[:, None] == np.arange(2)[:, None], -margin, margin) + 0 * z.astype(float))
        largest.append(np.abs(call(wrong, y).backward()["pred"].astype(float)).max())
    assert max(largest) < 0.05
    size = []
    for times in (1, 8):
        result = call(np.tile(z, (1, 1, times)), np.tile(y, (1, times)))
        size.append(np.abs(result.backward()["pred"].astype(float)).sum())
    assert np.isclose(*size, rtol=1e-5 if call.dtype.itemsize == 4 else 1e-2)


def test_ignored_pixels_may_hold_anything(call):
    z, y = _sample(call)
    y[:, ::5] = -100
    clean = call(z, y)
    dirty = z.copy()
    dirty[:, :, ::5] = np.nan
    result = call(dirty, y)
    assert result.loss == clean.loss
    g, h = (r.backward()["pred"].astype(float) for r in (clean, result))
    assert (g == h).all() and not g[:, :, ::5].any()
