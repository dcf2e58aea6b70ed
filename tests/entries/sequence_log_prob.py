"""sequence_log_prob: sums of token log-probabilities over sequences."""

import numpy as np

from harness import linear


def sums(values, x, o):
    """Of the counted tokens of each sequence, and how many there are."""
    counted = x.labels != o.ignore_index
    total, counts = np.zeros(o.sequences, values.dtype), np.zeros(o.sequences)
    np.add.at(total, x.segments[counted], values[counted])
    np.add.at(counts, x.segments[counted], 1)
    return total, counts


def divisor(counts, o):
    return np.maximum(counts, 1) if o.average else np.ones_like(counts)


def token_scale(x, o, s):
    """What the gradient of a token's log-probability is multiplied by."""
    _, counts = sums(np.zeros(len(x.labels)), x, o)
    return np.where(x.labels != o.ignore_index, (s / divisor(counts, o))[x.segments], 0)


def safe_labels(x, o):
    return np.where(x.labels == o.ignore_index, 0, x.labels)


def reference(x, o):
    total, counts = sums(-linear.neg_log_prob(x.logits, safe_labels(x, o)), x, o)
    return {"log_prob": total / divisor(counts, o), "counts": counts}


def gradient(x, o, s):
    g = -linear.softmax_gradient(x.logits, safe_labels(x, o))
    t = token_scale(x, o, s)[:, None]
    return {"logits": np.where(t == 0, 0, t * g)}


def scale(x, o):
    total, counts = sums(np.abs(linear.neg_log_prob(x.logits, safe_labels(x, o))), x, o)
    return {"log_prob": total / divisor(counts, o)}


def _segments(rng, shape, distribution, sizes):
    return rng.integers(0, sizes["sequences"], shape)


SAMPLERS = {"segments": _segments}

OPTIONS = {"sequences": [1, 3, 20], "ignore_index": [-100, 0], "average": [False, True]}

EXAMPLES = [
    {
        "inputs": {
            "logits": [[0.5, -1.25, 0.25], [3.0, 0.0, 2.5], [0.0, 0.0, 1.0]],
            "labels": [0, 2, 1],
            "segments": [0, 0, 1],
        },
        "options": {"sequences": 2},
        "outputs": {"log_prob": [-1.673745776568, -1.551444713932], "counts": [2.0, 1.0]},
        "gradients": {
            "logits": [
                [0.487855708457, -0.088997333157, -0.3988583753],
                [-0.603748896149, -0.03005888757, 0.633807783718],
                [-0.211941557617, 0.788058442383, -0.576116884766],
            ]
        },
    }
]


def _sample(call, tokens=50, classes=11, seed=0):
    rng = np.random.default_rng(seed)
    return call.floats(3 * rng.standard_normal((tokens, classes))), rng.integers(0, classes, tokens), rng.integers(0, 4, tokens)


def test_one_sequence_per_token_is_cross_entropy(call):
    z, y, _ = _sample(call)
    got = call(z, y, np.arange(50), sequences=50)
    assert (-got.log_prob).tolist() == call.other("token_cross_entropy")(z, y, reduction="none").loss.tolist()
    assert (got.counts == 1).all()


def test_a_sequence_without_tokens_is_zero(call):
    z, y, s = _sample(call)
    y[s == 2] = -100
    for average in (False, True):
        got = call(z, y, s, sequences=6, average=average)
        assert got.log_prob[[2, 4, 5]].tolist() == [0, 0, 0] and got.counts[[2, 4, 5]].tolist() == [0, 0, 0]
        assert not got.backward()["logits"][s == 2].astype(float).any()


def test_segments_out_of_range(call):
    import pytest

    import losskit

    z, y, s = _sample(call)
    s[7] = 4
    if call.context.kind == "cpu":
        with pytest.raises(losskit.InvalidLabel, match=r"'segments' has value 4 in row 7\b"):
            call(z, y, s, sequences=4)
        return
    got = call(z, y, s, sequences=4)
    with pytest.raises(losskit.InvalidLabel):
        call.context.check()
    assert np.isfinite(got.log_prob).all() and not got.backward()["logits"][7].astype(float).any()
    with pytest.raises(losskit.InvalidLabel):
        call.context.check()
