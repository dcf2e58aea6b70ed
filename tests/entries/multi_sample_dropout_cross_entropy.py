"""multi_sample_dropout_cross_entropy: mean cross entropy over dropout samples of the features."""

import numpy as np

from harness import linear


def _samples(x, o):
    """Masked features of each sample, and their masks."""
    if x.masks is not None:
        masks = x.masks != 0
    else:
        count = o.samples * x.features.size
        words = linear.draws(o.seed, o.offset, count).astype(np.float64)
        masks = (words / 2**32 >= o.dropout).reshape(o.samples, *x.features.shape)
    return [(x.features * mask / (1 - o.dropout), mask / (1 - o.dropout)) for mask in masks]


def reference(x, o):
    total = 0
    for features, _ in _samples(x, o):
        total = total + linear.neg_log_prob(linear.logits(features, x.weight, x.bias)[0], x.labels)
    return {"loss": total / o.samples}


def gradient(x, o, s):
    g = {"features": 0, "weight": 0, "bias": 0}
    for features, mask in _samples(x, o):
        z, _ = linear.logits(features, x.weight, x.bias)
        d = linear.softmax_gradient(z, x.labels) * s[:, None] / o.samples
        g["features"] = g["features"] + d @ x.weight * mask
        g["weight"] = g["weight"] + d.T @ features
        g["bias"] = g["bias"] + d.sum(axis=0)
    return g


def scale(x, o):
    """An error e of the logits shifts -log p by up to 2 e."""
    size = sum(linear.logits(features, x.weight, x.bias)[1].max(axis=1) for features, _ in _samples(x, o))
    return {"loss": reference(x, o)["loss"] + 2 * size / o.samples}


def gradient_scale(x, o, s):
    """An error e of the logits is a relative error of up to 2 e of the probabilities; sums of products are rounded
    relative to the sums of their sizes. Probabilities below 2^-126 are 0 in the library."""
    g = {"features": 0, "weight": 0, "bias": 0}
    for features, mask in _samples(x, o):
        z, size = linear.logits(features, x.weight, x.bias)
        d = np.abs(s[:, None]) * (np.abs(linear.softmax_gradient(z, x.labels)) + linear.UNDERFLOW) / o.samples * (1 + 2 * size.max(axis=1, keepdims=True))
        g["features"] = g["features"] + (d @ np.abs(x.weight)).max(axis=1, keepdims=True) / (1 - o.dropout) + 0 * mask
        g["weight"] = g["weight"] + (d.T @ np.abs(features)).max(axis=1, keepdims=True) + 0 * x.weight
        g["bias"] = g["bias"] + d.sum(axis=0)
    return g


def _weight(rng, shape, distribution, sizes):
    return rng.standard_normal(shape) / np.sqrt(sizes["d"])


def _features(rng, shape, distribution, sizes):
    spread = {"normal": 2, "heavy": 6, "offset": 1, "constant": 0, "extreme": 25, "tiny": 1e-4}[distribution]
    return spread * rng.standard_normal(shape) + (distribution in ("offset", "constant"))


SAMPLERS = {"features": _features, "weight": _weight, "bias": lambda rng, shape, distribution, sizes: rng.standard_normal(shape)}

OPTIONS = {"dropout": [0.5, 0.0, 0.3], "samples": [8, 1, 3], "seed": [0, 2**63 + 12345], "offset": [0, 7, 2**64 - 2]}

SHAPES = [
    {"rows": r, "d": d, "classes": c}
    for r, d, c in [(3, 5, 4), (1, 1, 1), (5, 3, 2), (2, 1, 7), (7, 16, 13), (4, 33, 31), (17, 8, 64), (9, 70, 65), (33, 17, 10), (150, 4, 3)]
]  # fmt: skip

EXAMPLES = [
    {
        "inputs": {
            "features": [[0.5, -1.0, 0.25]],
            "weight": [[1.0, 0.5, 0.0], [-0.5, 0.25, 1.0]],
            "bias": [0.0, 0.1],
            "labels": [1],
            "masks": [[[1, 0, 1]], [[0, 1, 1]]],
        },
        "options": {"dropout": 0.5},
        "outputs": {"loss": 0.764244599924},
        "gradients": {
            "features": [[1.066424253938, 0.062434973601, -0.96068939703]],
            "weight": [[0.355474751313, -0.249739894405, 0.240172349257], [-0.355474751313, 0.249739894405, -0.240172349257]],
            "bias": [0.480344698515, -0.480344698515],
        },
    }
]


def _sample(call, rows=6, d=40, classes=5, seed=0):
    rng = np.random.default_rng(seed)
    return call.floats(rng.standard_normal((rows, d))), call.floats(rng.standard_normal((classes, d)) / 4), rng.integers(0, classes, rows)


def test_known_words(call):
    """The reference's generator against the authors' known answer."""
    assert [hex(w) for w in linear.philox(0, [0])[0]] == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]


def test_without_dropout_it_is_cross_entropy(call):
    if call.dtype.itemsize != 4:
        return  # the logits would be rounded
    f, w, y = _sample(call)
    z = (f.astype(float) @ w.astype(float).T).astype(np.float32)
    assert abs(call(f, w, y, dropout=0.0).loss / call.other("token_cross_entropy")(z, y).loss - 1) < 1e-6


def test_drawn_masks_can_be_given(call):
    f, w, y = _sample(call)
    words = linear.draws(9, 5, 3 * f.size).reshape(3, *f.shape)
    given = call(f, w, y, masks=words >= 0.25 * 2**32, dropout=0.25)
    drawn = call(f, w, y, dropout=0.25, samples=3, seed=9, offset=5)
    assert given.loss == drawn.loss
    for name, g in drawn.backward().items():
        assert g.tobytes() == given.backward()[name].tobytes()


def test_rows_and_samples_beyond_a_tile(call):
    """Samples of a row on both sides of the end of a tile of the CPU."""
    if call.context.kind != "cpu":
        return
    f, w, y = _sample(call, 150, 6, 5)
    call.compare({"features": f, "weight": w, "labels": y}, {"samples": 7, "reduction": "none"})
