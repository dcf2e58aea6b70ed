"""ensemble_cross_entropy: cross entropy of the average of an ensemble."""

import numpy as np


def _softmax(z, y):
    """-log p_y exact where it is small, p, and 1 - p_y."""
    own = np.arange(z.shape[-1]) == y[:, None]
    own = np.broadcast_to(own, z.shape)
    others = np.where(own, -np.inf, z)
    top = others.max(axis=-1, keepdims=True) if z.shape[-1] > 1 else z
    label = np.take_along_axis(z, np.broadcast_to(y[:, None], z.shape[:-1] + (1,)), axis=-1)
    rest = np.exp(others - top).sum(axis=-1, keepdims=True) if z.shape[-1] > 1 else np.zeros(label.shape)
    lead = label - top
    nll = np.where(lead > 0, np.log1p(rest * np.exp(-np.abs(lead))), -lead + np.log(rest + np.exp(-np.abs(lead))))
    p = np.exp(z - label - nll)
    return nll[..., 0], np.where(own, -np.where(own, 0, p).sum(axis=-1, keepdims=True), p)


def _parts(x, o):
    if o.average == "logits":
        shift = x.logits.max(axis=-1, keepdims=True)
        nll, error = _softmax((x.logits - shift).mean(axis=0), x.labels)
        return nll, np.broadcast_to(error / len(x.logits), x.logits.shape)
    nll, error = _softmax(x.logits, x.labels)
    least = nll.min(axis=0)
    total = np.exp(least - nll).sum(axis=0)
    own = np.arange(error.shape[-1]) == x.labels[:, None]
    missing = -np.where(own, error, 0).sum(axis=-1).mean(axis=0)
    loss = np.where(missing < 0.3, -np.log1p(-np.minimum(missing, 0.5)), least - np.log(total / len(nll)))
    return loss, (np.exp(least - nll) / total)[..., None] * error


def reference(x, o):
    return {"loss": _parts(x, o)[0]}


def gradient(x, o, s):
    return {"logits": s[:, None] * _parts(x, o)[1]}


def scale(x, o):
    """Mean logits are sums over models, of logits counted from the largest other one."""
    loss = _parts(x, o)[0]
    if o.average == "logits":
        own = np.arange(x.logits.shape[-1]) == x.labels[:, None]
        d = np.where(own, -np.inf, x.logits - x.logits.max(axis=-1, keepdims=True))
        p = np.exp(d.mean(axis=0) - d.mean(axis=0).max(axis=-1, keepdims=True))
        spread = np.where(np.isfinite(d), np.abs(d), 0).mean(axis=0)
        loss = loss * (1 + (p * spread).sum(axis=-1) / np.maximum(p.sum(axis=-1), 1))
    return {"loss": loss}


def gradient_scale(x, o, s):
    g = np.abs(_parts(x, o)[1])
    if o.average == "logits":
        d = np.abs(x.logits - x.logits.max(axis=-1, keepdims=True)).mean(axis=0)
        g = g * (1 + d)
    return {"logits": np.abs(s)[:, None] * g.max(axis=-1, keepdims=True)}


OPTIONS = {"average": ["logits", "probabilities"]}
SAMPLES_DEPEND = True  # the first dimension is that of the models

EXAMPLES = [
    {
        "inputs": {"logits": [[[0.5, -1.25, 0.25]], [[3.0, 0.0, 2.5]]], "labels": [2]},
        "outputs": {"loss": 0.951784005925},
        "gradients": {"logits": [[[0.280850947454, 0.026123207422, -0.306974154876]], [[0.280850947454, 0.026123207422, -0.306974154876]]]},
    }
]


def test_one_model_is_cross_entropy(call):
    rng = np.random.default_rng(0)
    z, y = call.floats(3 * rng.standard_normal((5, 19))), rng.integers(0, 19, 5)
    other = call.other("token_cross_entropy")(z, y)
    for average in ("logits", "probabilities"):
        one = call(z[None], y, average=average)
        assert abs(one.loss / other.loss - 1) < 1e-6
        theirs = other.backward()["logits"].astype(float)
        np.testing.assert_allclose(one.backward()["logits"][0].astype(float), theirs, atol=1e-6 if call.dtype.itemsize == 4 else 1e-3)


def test_what_models_add_to_all_logits_does_not_matter(call):
    rng = np.random.default_rng(0)
    z = np.round(16 * rng.standard_normal((3, 4, 9))) / 16
    y = rng.integers(0, 9, 4)
    moved = z + np.array([0, 8, -4])[:, None, None]
    if call.dtype.itemsize == 4:
        for average in ("logits", "probabilities"):
            one, two = (call(call.floats(v), y, average=average, reduction="none").loss for v in (z, moved))
            np.testing.assert_allclose(one, two, rtol=1e-6)


def test_many_models(call):
    """More than whose statistics are kept."""
    rng = np.random.default_rng(0)
    z, y = call.floats(3 * rng.standard_normal((19, 3, 11))), rng.integers(0, 11, 3)
    for average in ("logits", "probabilities"):
        call.compare({"logits": z, "labels": y}, {"average": average})


def test_rows_that_rise(call):
    """Means far above those before them, in rows that are kept and in longer ones."""
    rng = np.random.default_rng(0)
    for classes in (3000, 70_001):
        z = 3 * rng.standard_normal((3, 3, classes))
        z[:, 1:, 1500] += 20
        z[:, 2, 2500] += 60
        call.compare({"logits": call.floats(z), "labels": np.array([5, 1500, 2500])}, {"average": "logits"})
