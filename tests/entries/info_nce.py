"""info_nce: softmax cross entropy of similarities, one positive for each row."""

import numpy as np
import pytest

import losskit
from harness.similarities import directions, gradient_size, log_sum_exp, magnitude, rows, through


def _parts(x, o):
    a, b = directions(x.a, o.normalize), directions(x.b, o.normalize)
    y = np.arange(len(a)) + o.row_offset if x.positives is None else x.positives
    return a, b, a @ b.T / o.temperature, y


def reference(x, o):
    a, b, s, y = _parts(x, o)
    own = np.take_along_axis(s, y[:, None], 1)[:, 0]
    rest = s.copy()
    np.put_along_axis(rest, y[:, None], -np.inf, 1)
    gap = log_sum_exp(rest, 1) - own if s.shape[1] > 1 else np.full(len(a), -np.inf)
    return {"loss": np.logaddexp(0, gap), "lse": log_sum_exp(s, 1) if len(a) else np.zeros(0)}


def _weights(x, o, s):
    a, b, z, y = _parts(x, o)
    w = np.exp(z - (log_sum_exp(z, 1) if len(a) else np.zeros(0))[:, None])
    # 1 - p of the positive from the others, as small as it may be.
    np.put_along_axis(w, y[:, None], 0, 1)
    np.put_along_axis(w, y[:, None], -w.sum(axis=1, keepdims=True), 1)
    return a, b, s[:, None] * w


def gradient(x, o, s):
    a, b, w = _weights(x, o, s)
    return {
        "a": through(x.a, w @ b / o.temperature, o.normalize),
        "b": through(x.b, w.T @ a / o.temperature, o.normalize),
    }


def scale(x, o):
    """Errors of similarities: f32 sums of d products, divided by the temperature."""
    a, b, s, y = _parts(x, o)
    size = magnitude(a, b, 1 / o.temperature).max(axis=1, initial=0)
    return {"loss": size, "lse": size}


def gradient_scale(x, o, s):
    a, b, w = _weights(x, o, s)
    sizes = magnitude(a, b, 1 / o.temperature).max(axis=1, keepdims=True, initial=0)
    sizes = np.broadcast_to(sizes, w.shape)
    factor = 1 / o.temperature
    return {
        "a": gradient_size(x.a, w, b, sizes, factor, o.normalize),
        "b": gradient_size(x.b, w.T, a, sizes.T, factor, o.normalize),
    }


OPTIONS = {"temperature": [0.07, 0.01, 0.5, 20.0], "normalize": [True, False], "row_offset": [0, 2]}
SAMPLERS = {"a": rows, "b": rows}
#: Around the sizes of tiles and vectors. The last is for threads.
SHAPES = [
    {"n": n, "m": m, "d": d}
    for n, m, d in [
        (1, 1, 3), (1, 3, 1), (2, 3, 3), (3, 5, 4), (2, 9, 17), (5, 16, 2), (16, 33, 8), (64, 66, 5), (65, 131, 31), (7, 1100, 3),
        (130, 140, 67), (4, 8300, 3), (400, 410, 4), (300, 900, 33),
    ]
]
#: A NaN in b is in the similarities of every row.
SAMPLES_DEPEND = True


def possible(dims, o):
    return o.row_offset + dims["n"] <= dims["m"]


EXAMPLES = [
    {
        "inputs": {
            "a": [[1.0, 0.5], [-0.5, 1.0], [0.25, -1.0]],
            "b": [[0.75, 0.5], [-0.25, 1.0], [0.5, -0.5]],
        },
        "options": {"temperature": 0.5},
        "outputs": {"loss": 0.226902036047, "lse": [2.370360127858, 2.137345563094, 1.824916142402]},
        "gradients": {
            "a": [[0.017544463684, -0.035088927368], [0.063453123802, 0.031726561901], [0.015014102282, 0.003753525571]],
            "b": [[-0.046041994573, 0.069062991859], [0.111314428541, 0.027828607135], [0.150678419431, 0.150678419431]],
        },
    }
]


def _sample(call, n, m, d):
    rng = np.random.default_rng(0)
    return call.floats(rng.standard_normal((n, d))), call.floats(rng.standard_normal((m, d)))


def test_equals_cross_entropy_of_the_similarities(call):
    if call.dtype.itemsize != 4 or "token_cross_entropy" not in losskit.entries():
        return
    a, b = _sample(call, 40, 50, 12)
    y = np.random.default_rng(1).integers(0, 50, 40)
    u, v = (x / np.linalg.norm(x.astype(float), axis=1, keepdims=True) for x in (a, b))
    logits = (u @ v.T / 0.07).astype(np.float32)
    other = call.other("token_cross_entropy")(logits, y, reduction="none")
    one = call(a, b, y, reduction="none")
    assert np.allclose(one.loss, other.loss, rtol=1e-5, atol=1e-5)


def test_rows_of_two_processes(call):
    """Sums of losses and of the gradients of b add up; gradients of a are those of their process."""
    a, b = _sample(call, 30, 30, 9)
    whole = call(a, b, reduction="sum")
    parts = [call(part, b, row_offset=first, reduction="sum") for part, first in ((a[:11], 0), (a[11:], 11))]
    assert np.isclose(sum(p.loss for p in parts), whole.loss, rtol=1e-5)
    g, halves = whole.backward(), [p.backward() for p in parts]
    near = {4: 1e-5, 2: 2e-2}[call.dtype.itemsize]
    for name, value in (
        ("a", np.concatenate([h["a"].astype(float) for h in halves])),
        ("b", sum(h["b"].astype(float) for h in halves)),
    ):
        assert np.abs(value - g[name].astype(float)).max() <= near * np.abs(value).max()


def test_rows_must_fit(call):
    a, b = _sample(call, 5, 6, 3)
    with pytest.raises(losskit.InvalidArgument, match=r"'row_offset' is 2 with 5 rows of 'a', expected at most m \(6\)"):
        call(a, b, row_offset=2)
    call(a, b, row_offset=1)
    call(a, b, np.zeros(5, np.int64), row_offset=1000)


def test_zero_rows_have_no_direction(call):
    a, b = _sample(call, 4, 4, 5)
    a[1], b[2] = 0, 0
    result = call(a, b, reduction="none")
    assert np.isfinite(result.loss).all() and np.isclose(result.loss[1], np.log(4), rtol=1e-6)
    if call.dtype.itemsize == 4:
        assert all(np.isfinite(g).all() for g in result.backward().values())


def test_what_a_nan_poisons(call):
    """In a: its own loss and gradient, and the gradients of b. In b: everything."""
    a, b = _sample(call, 70, 90, 6)
    clean = call(a, b, reduction="none")
    dirty = a.copy()
    dirty[3, 1] = np.nan
    result = call(dirty, b, reduction="none")
    others = np.arange(70) != 3
    assert np.isnan(result.loss[3]) and np.array_equal(result.loss[others], clean.loss[others])
    g, expected = result.backward(), clean.backward()
    assert np.isnan(g["a"][3].astype(float)).all() and np.isnan(g["b"].astype(float)).all()
    assert np.array_equal(g["a"][others], expected["a"][others])
    dirty = b.copy()
    dirty[89, 0] = np.inf
    assert np.isnan(call(a, dirty, reduction="none").loss).all()


def test_confident_rows_keep_their_digits(call):
    """Small losses, and gradients, come from 1 - p and not from p."""
    if call.dtype.itemsize != 4:
        return
    b = np.eye(6, dtype=np.float32)
    for temperature in (0.05, 0.02):
        rest = 5 * np.exp(-1 / temperature)
        result = call(b, b, temperature=temperature, reduction="none")
        assert np.allclose(result.loss, np.log1p(rest), rtol=2e-5)
        g = result.backward()["a"].astype(float)
        assert np.allclose(g[0, 1:], np.exp(-1 / temperature) / temperature, rtol=2e-5)
