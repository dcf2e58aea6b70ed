"""smooth_adversarial_comp_sum: comp-sum loss and the change of margins under attack."""

import numpy as np


def _parts(x, o):
    y = x.labels[:, None]
    z = x.logits / o.rho
    own = np.arange(z.shape[1]) == y
    d = z - np.take_along_axis(z, y, axis=1)
    top = np.maximum(np.where(own, -np.inf, d).max(axis=1), 0) if z.shape[1] > 1 else np.zeros(len(z), z.dtype)
    others = np.where(own, 0, np.exp(d - top[:, None])).sum(axis=1)
    v = np.where(top == 0, np.log1p(others), top + np.log(others + np.exp(-top)))
    p = np.where(own, 0, np.exp(d - v[:, None]))
    margins = [np.take_along_axis(t, y, axis=1) - t for t in (x.adversarial_logits, x.logits)]
    change = margins[0] - margins[1]
    return own, v, p, change, np.sqrt((change**2).sum(axis=1))


def reference(x, o):
    _, v, _, _, norm = _parts(x, o)
    c = 1 - o.tau
    return {"loss": (np.expm1(c * v) / c if c != 0 else v) + (o.nu * norm if o.nu else 0)}


def gradient(x, o, s):
    own, v, p, change, norm = _parts(x, o)
    factor = (np.exp((1 - o.tau) * v) * s / o.rho)[:, None]
    t = -change / np.where(norm == 0, 1, norm)[:, None]
    t = np.where(own, -t.sum(axis=1, keepdims=True), t) * (s * o.nu)[:, None]
    clean = factor * np.where(own, -p.sum(axis=1, keepdims=True), np.where(p == 0, 0, p))
    return {"logits": clean - t, "adversarial_logits": t}


def scale(x, o):
    """An absolute error of v, of the size of the rounded exponents, becomes a relative one of exp((1 - tau) v)."""
    _, v, _, _, norm = _parts(x, o)
    c = 1 - o.tau
    power = np.abs(c) * np.exp(np.minimum(c * v, 700)) if c != 0 else 0
    return {"loss": np.abs(np.expm1(c * v) / c if c != 0 else v) + power + o.nu * norm}


def gradient_scale(x, o, s):
    own, v, p, change, norm = _parts(x, o)
    factor = np.exp((1 - o.tau) * v) * np.abs(s) / o.rho
    t = np.abs(change) / np.where(norm == 0, 1, norm)[:, None]
    t = (np.where(own, t.sum(axis=1, keepdims=True), t) * (np.abs(s) * o.nu)[:, None]).max(axis=1, keepdims=True)
    clean = (factor * np.maximum(p.sum(axis=1), p.max(axis=1)))[:, None]
    return {"logits": np.broadcast_to(clean + t, p.shape), "adversarial_logits": np.broadcast_to(t, p.shape)}


OPTIONS = {"tau": [1.0, 0.5, 1.5, 2.0], "rho": [1.0, 2.0, 0.75], "nu": [1.0, 0.0, 0.25]}

EXAMPLES = [
    {
        "inputs": {"logits": [[0.5, -1.25, 0.25]], "adversarial_logits": [[0.25, -1.0, 0.75]], "labels": [0]},
        "options": {"tau": 1.0, "rho": 1.0, "nu": 1.0},
        "outputs": {"loss": 1.570536693092},
        "gradients": {"logits": [[0.898894782106, -0.465702863068, -0.433191919038]], "adversarial_logits": [[-1.386750490563, 0.554700196225, 0.832050294338]]},
    }
]


def test_without_attack_it_is_comp_sum(call):
    rng = np.random.default_rng(0)
    z, y = call.floats(3 * rng.standard_normal((7, 37))), rng.integers(0, 37, 7)
    one, other = call(z, z, y, tau=1.5), call.other("comp_sum_cross_entropy")(z, y, tau=1.5)
    assert abs(one.loss / other.loss - 1) < 1e-6
    g = one.backward()
    assert not g["adversarial_logits"].astype(float).any()
    theirs = other.backward()["logits"].astype(float)
    np.testing.assert_allclose(g["logits"].astype(float), theirs, atol=1e-6 if call.dtype.itemsize == 4 else 1e-3)


def test_a_common_shift_of_the_attacked_logits_changes_nothing(call):
    rng = np.random.default_rng(0)
    z, a = (np.round(16 * rng.standard_normal((5, 11))) / 16 for _ in range(2))
    y = rng.integers(0, 11, 5)
    one, two = (call(call.floats(z), call.floats(a + shift), y).loss for shift in (0, 2.0))
    assert abs(one - two) <= 1e-6 * one
