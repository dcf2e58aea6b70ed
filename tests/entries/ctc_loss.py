"""ctc_loss: connectionist temporal classification, in log space."""

import itertools

import numpy as np
import pytest

import losskit


def _log_add(*terms):
    top = np.max(terms, axis=0)
    safe = np.where(np.isfinite(top), top, 0)
    return np.where(np.isfinite(top), safe + np.log(sum(np.exp(t - safe) for t in terms)), top)


def _log_softmax(z):
    d = z - z.max(axis=-1, keepdims=True)
    e = np.exp(d)
    # log of the sum as log1p of what the largest leaves, which keeps the digits of a confident row.
    first = np.zeros(z.shape, bool)
    np.put_along_axis(first, d.argmax(axis=-1)[..., None], True, axis=-1)
    return d - np.log1p(np.where(first, 0, e).sum(axis=-1, keepdims=True))


def _sample(lp, labels, o):
    """Log of the sum over alignments, and the posterior of each class in each frame."""
    frames, classes = lp.shape
    states = [o.blank]
    for label in labels:
        states += [int(label), o.blank]
    states = np.array(states)
    none = lp.dtype.type(-np.inf)
    skip = np.zeros(len(states), bool)
    skip[2:] = (states[2:] != o.blank) & (states[2:] != states[:-2])
    alpha = np.full((frames, len(states)), none)
    alpha[0, :2] = lp[0, states[:2]]
    for t in range(1, frames):
        a = alpha[t - 1]
        one = np.concatenate([[none], a])[: len(a)]
        two = np.where(skip, np.concatenate([[none, none], a])[: len(a)], none)
        alpha[t] = lp[t, states] + _log_add(a, one, two)
    beta = np.full((frames, len(states)), none)
    beta[-1, -2:] = 0
    for t in range(frames - 2, -1, -1):
        b = beta[t + 1] + lp[t + 1, states]
        one = np.concatenate([b, [none]])[1:]
        two = np.where(np.concatenate([skip, [False, False]])[2:], np.concatenate([b, [none, none]])[2:], none)
        beta[t] = _log_add(b, one, two)
    total = _log_add(*alpha[-1, -2:])
    posterior = np.zeros((frames, classes), lp.dtype)
    if np.isfinite(total):
        for t in range(frames):
            np.add.at(posterior[t], states, np.exp(alpha[t] + beta[t] - total))
    return total, posterior


def _all(x, o):
    z = x.logits
    loss, posterior = np.zeros(z.shape[1], z.dtype), np.zeros(z.shape, z.dtype)
    lp = _log_softmax(z)
    for b in range(z.shape[1]):
        frames = x.input_lengths[b]
        total, posterior[:frames, b] = _sample(lp[:frames, b], x.labels[b, : x.label_lengths[b]], o)
        loss[b] = -total
    if o.zero_infinity:
        loss[np.isposinf(loss)] = 0
    return lp, loss, posterior


def reference(x, o):
    return {"loss": _all(x, o)[1]}


def weight(x, o):
    return 1 / np.maximum(x.label_lengths, 1)


def _present(x):
    return (np.arange(x.logits.shape[0])[:, None] < x.input_lengths)[:, :, None]


def gradient(x, o, s):
    lp, _, posterior = _all(x, o)
    possible = posterior.any(axis=(0, 2))
    p = np.where(possible[:, None], np.exp(lp) - posterior, 0 if o.zero_infinity else np.nan)
    return {"logits": np.where(_present(x), s[:, None] * p, 0)}


def scale(x, o):
    """The loss is the difference of the rows' normalisers and the log of a sum of products of exp(z - largest)."""
    lp, loss, _ = _all(x, o)
    size = np.where(_present(x)[:, :, 0], -lp.max(axis=2), 0).sum(axis=0)
    return {"loss": np.where(np.isfinite(loss), np.abs(loss) + 2 * size, 0)}


def gradient_scale(x, o, s):
    """p and the posterior are nearly equal where the labels say no more than the frame; relative errors of
    the terms of a softmax become errors p (1 - p) of p. The rest is f64's rounding
    of the difference, and of the logarithms that this reference adds."""
    lp, loss, posterior = _all(x, o)
    p = np.exp(lp)
    others = -np.expm1(lp)
    size = np.maximum((p * others).max(axis=2), np.abs(p - posterior).max(axis=2))
    size = size + 1e-8 * (1 + np.where(np.isfinite(loss), np.abs(loss), 0))
    return {"logits": np.broadcast_to(np.abs(s)[None, :, None] * size[:, :, None], p.shape)}


def _classes(sizes):
    return sizes["classes"], sizes["blank"]


def _labels(rng, shape, distribution, sizes):
    classes, blank = _classes(sizes)
    if classes == 1:
        return np.full(shape, -7)
    labels = rng.integers(0, classes - 1, shape)
    labels += labels >= blank
    if distribution == "heavy" and shape[-1] > 1:
        labels[:, 1:] = np.where(rng.random(labels[:, 1:].shape) < 0.6, labels[:, :-1], labels[:, 1:])
    return labels


def _input_lengths(rng, shape, distribution, sizes):
    time = sizes["time"]
    return np.minimum(time, np.maximum(1, rng.integers(time // 2, time + 1, shape)))


def _label_lengths(rng, shape, distribution, sizes):
    most = sizes["max_label"] if sizes["classes"] > 1 else 0
    if distribution in ("normal", "offset", "constant"):
        most = min(most, max(1, sizes["time"] // 4)) if sizes["classes"] > 1 else 0
    return rng.integers(0, most + 1, shape)


SAMPLERS = {"labels": _labels, "input_lengths": _input_lengths, "label_lengths": _label_lengths}
OPTIONS = {"blank": [0, 1, 4], "zero_infinity": [False, True]}

#: Logits [time, batch, classes]: a sample is not a part of the first dimension. `test_of_samples` is ours.
SAMPLES_DEPEND = True


def possible(dims, o):
    return o.blank < dims["classes"]


def _shape(time, batch, classes, max_label):
    return {"time": time, "batch": batch, "classes": classes, "max_label": max_label}


SHAPES = [
    _shape(1, 1, 1, 0), _shape(1, 3, 2, 1), _shape(2, 1, 3, 2), _shape(3, 2, 5, 0), _shape(5, 3, 6, 2),
    _shape(7, 4, 8, 7), _shape(13, 5, 9, 4), _shape(16, 2, 17, 8), _shape(33, 3, 31, 15), _shape(40, 7, 67, 16),
    _shape(64, 1, 129, 17), _shape(97, 2, 1025, 33), _shape(150, 3, 29, 60), _shape(21, 40, 11, 9),
    _shape(700, 1, 7, 120), _shape(12, 2, 4099, 3),
]  # fmt: skip

EXAMPLES = [
    {
        "inputs": {
            "logits": [[[0.5, -0.5, 0.25]], [[0.0, 1.0, -1.0]], [[0.75, 0.5, 0.0]]],
            "labels": [[1, 2]], "input_lengths": [3], "label_lengths": [2],
        },
        "outputs": {"loss": 1.113561766762},
        "gradients": {
            "logits": [
                [[-0.068577448686, -0.112819103599, 0.181396552285]],
                [[0.081561292867, -0.079788652013, -0.001772640854]],
                [[0.190329625885, 0.172977097411, -0.363306723297]],
            ]
        },
    }
]  # fmt: skip


def test_sum_over_all_alignments(call):
    """By going through them."""
    rng = np.random.default_rng(0)
    z = call.floats(rng.standard_normal((5, 1, 3)))
    p = np.exp(_log_softmax(z.astype(float)))[:, 0]
    for labels in ([], [1], [2, 1], [2, 2], [1, 2, 1]):
        total = 0.0
        for way in itertools.product(range(3), repeat=5):
            if [k for k, _ in itertools.groupby(way) if k != 0] == labels:
                total += np.prod(p[range(5), way])
        loss = call(z, np.array([labels or [0]]), [5], [len(labels)], reduction="none").loss
        assert np.isclose(loss[0], -np.log(total), rtol=1e-6)


def test_labels_that_do_not_fit(call):
    z = call.floats(np.zeros((3, 3, 4)))
    labels, lengths = [[1, 1, 2], [1, 2, 3], [1, 2, 3]], [3, 3, 2]
    result = call(z, labels, [3, 2, 3], lengths, reduction="none")
    assert result.loss[:2].tolist() == [np.inf, np.inf] and np.isfinite(result.loss[2])
    g = result.backward()["logits"].astype(float)
    assert np.isnan(g[:, 0]).all() and np.isnan(g[:2, 1]).all() and not g[2, 1].any() and np.isfinite(g[:, 2]).all()
    assert call(z, labels, [3, 2, 3], lengths).loss == np.inf
    result = call(z, labels, [3, 2, 3], lengths, zero_infinity=True)
    assert np.isclose(result.loss, np.log(64 / 5) / 2 / 3, rtol=1e-6)  # 5 alignments of 2 labels in 3 frames
    g = result.backward()["logits"].astype(float)
    assert not g[:, :2].any() and g[:, 2].any()


def test_probabilities_of_zero(call):
    z = np.zeros((4, 2, 3))
    z[:, 0, 1] = -np.inf
    z[:, 1, 2] = -np.inf
    result = call(call.floats(z), [[1], [1]], [4, 4], [1, 1], reduction="none")
    assert result.loss[0] == np.inf and np.isfinite(result.loss[1])
    g = result.backward()["logits"].astype(float)
    assert np.isnan(g[:, 0]).all() and np.isfinite(g[:, 1]).all() and not g[:, 1, 2].any()


def test_of_samples(call):
    """Non-finite values and what lies behind the lengths."""
    rng = np.random.default_rng(1)
    z = rng.standard_normal((6, 3, 5))
    arguments = dict(input_lengths=[6, 5, 4], label_lengths=[2, 1, 2], reduction="none")
    labels = np.array([[1, 2], [3, -99], [4, 4]])
    clean = call.function.forward_backward(call.floats(z), labels, **arguments, context=call.context)
    for bad in (np.nan, np.inf):
        z[2, 1, 3] = bad
        z[4:, 2] = np.nan
        dirty = call.function.forward_backward(call.floats(z), labels, **arguments, context=call.context)
        assert np.isnan(dirty.loss[1]) and np.isnan(dirty.gradients["logits"][:5, 1].astype(float)).all()
        for b in (0, 2):
            assert dirty.loss[b] == clean.loss[b]
            assert dirty.gradients["logits"][:, b].tobytes() == clean.gradients["logits"][:, b].tobytes()
    assert not clean.gradients["logits"][5:, 1].astype(float).any()


def test_far_beyond_the_range_of_f32(call):
    """A way that is forced to take classes of a probability of exp(-400) in each frame."""
    z = np.full((50, 1, 4), -200.0)
    z[:, :, 0] = 200
    labels = [[1, 2] * 25]
    result = call(call.floats(z), labels, [50], [50])
    assert np.isclose(result.loss * 50, 50 * 400, rtol=1e-6)
    g = result.backward()["logits"].astype(float)
    expected = np.zeros(z.shape)
    expected[:, 0, 0] = 1
    expected[np.arange(50), 0, labels[0]] = -1
    assert np.allclose(g * 50, expected, atol=1e-6 if call.dtype.itemsize == 4 else 1e-2)


def test_confident_frames_keep_their_digits(call):
    if call.dtype.itemsize != 4:
        return
    z = np.zeros((8, 1, 3))
    labels = [0, 0, 1, 1, 0, 2, 0, 0]
    z[np.arange(8), 0, labels] = 15
    call.compare(
        {"logits": z.astype(np.float32), "labels": np.array([[1, 2]]), "input_lengths": np.array([8]), "label_lengths": np.array([2])},
        {"reduction": "none"},
    )


def test_empty_batch(call):
    for reduction in ("none", "mean", "sum"):
        result = call(call.floats(np.zeros((4, 0, 3))), np.zeros((0, 2), int), [], [], reduction=reduction)
        assert np.size(result.loss) == (0 if reduction == "none" else 1) and not np.any(result.loss)
        assert result.backward()["logits"].shape == (4, 0, 3)


BAD = [
    (dict(labels=[[1, 2], [4, 1]]), "'labels' has value 4 in row 1 at 0, expected a value in \\[0, 4\\) other than blank \\(0\\)"),
    (dict(labels=[[1, 2], [1, -1]]), "'labels' has value -1 in row 1 at 1"),
    (dict(labels=[[1, 2], [1, 0]]), "'labels' has value 0 in row 1 at 1"),
    (dict(labels=[[1, 2], [2**62, 1]]), f"'labels' has value {2**62} in row 1 at 0"),
    (dict(input_lengths=[5, 0]), "'input_lengths' has value 0 in row 1, expected a value in \\[1, 5\\]"),
    (dict(input_lengths=[5, 6]), "'input_lengths' has value 6 in row 1"),
    (dict(input_lengths=[5, -(2**63)]), f"'input_lengths' has value -{2**63} in row 1"),
    (dict(label_lengths=[2, 3]), "'label_lengths' has value 3 in row 1, expected a value in \\[0, 2\\]"),
    (dict(label_lengths=[2, -1]), "'label_lengths' has value -1 in row 1"),
]


def test_bad_labels_and_lengths(call):
    good = dict(labels=[[1, 2], [3, 1]], input_lengths=[5, 5], label_lengths=[2, 2])
    z = call.floats(np.random.default_rng(0).standard_normal((5, 2, 4)))
    clean = call(z, **good, reduction="none")
    for change, message in BAD:
        arguments = {name: np.array(value) for name, value in {**good, **change}.items()}
        if call.context.kind == "cpu":
            with pytest.raises(losskit.InvalidLabel, match=message):
                call(z, **arguments)
            continue
        result = call(z, **arguments, reduction="none")
        assert np.isnan(result.loss[1]) and result.loss[0] == clean.loss[0]
        with pytest.raises(losskit.InvalidLabel):
            call.context.check()
        g = result.backward()["logits"].astype(float)
        assert not g[:, 1].any() and np.isfinite(g).all()
        with pytest.raises(losskit.InvalidLabel):
            call.context.check()
    with pytest.raises(losskit.Error, match="option 'blank' is 4, expected less than classes \\(4\\)"):
        call(z, **good, blank=4)
