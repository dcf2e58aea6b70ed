"""dpo_loss: direct preference optimisation and its noise-robust forms."""

import numpy as np


def _difference(x):
    return (x.policy_chosen - x.reference_chosen) - (x.policy_rejected - x.reference_rejected)


def _softplus(h):
    return np.maximum(h, 0) + np.log1p(np.exp(-np.abs(h)))


def _sigmoid(h):
    e = np.exp(-np.abs(h))
    return np.where(h < 0, e, 1) / (1 + e)


def _parts(x, o):
    """The two terms of the softplus forms."""
    h, e = o.beta * _difference(x), o.flip_probability
    wrong, right = _softplus(-h), _softplus(h)
    if o.kind == "cdpo":
        return (1 - e) * wrong, e * right
    if o.kind == "rdpo":
        return (1 - e) * wrong / (1 - 2 * e), -e * right / (1 - 2 * e)
    return wrong, 0 * right


def reference(x, o):
    d = _difference(x)
    if o.kind == "ipo":
        loss = (d - 1 / (2 * o.beta)) ** 2
    elif o.kind == "hinge":
        loss = np.maximum(0, 1 - o.beta * d)
    else:
        loss = sum(_parts(x, o))
    return {"loss": loss, "margins": o.beta * d}


def _slope(x, o):
    """Its two terms."""
    d, e = _difference(x), o.flip_probability
    h = o.beta * d
    if o.kind == "ipo":
        return 2 * (d - 1 / (2 * o.beta)), 0
    if o.kind == "hinge":
        return -o.beta * (h < 1), 0
    if o.kind == "cdpo":
        return -o.beta * (1 - e) * _sigmoid(-h), o.beta * e * _sigmoid(h)
    if o.kind == "rdpo":
        return -o.beta * (1 - e) * _sigmoid(-h) / (1 - 2 * e), -o.beta * e * _sigmoid(h) / (1 - 2 * e)
    return -o.beta * _sigmoid(-h), 0


def gradient(x, o, s):
    g = s * sum(_slope(x, o))
    return {"policy_chosen": g, "policy_rejected": -g}


def _size(x, o):
    """Of d and of what is subtracted from it."""
    return np.abs(_difference(x)) + 1 / (2 * o.beta)


def scale(x, o):
    """Terms may cancel; beta d is rounded once before the exponential."""
    if o.kind == "ipo":
        return {"loss": np.abs(_difference(x) - 1 / (2 * o.beta)) * _size(x, o)}
    if o.kind == "hinge":
        return {"loss": 1 + np.abs(o.beta * _difference(x))}
    return {"loss": sum(np.abs(part) * (1 + np.abs(o.beta * _difference(x))) for part in _parts(x, o))}


def gradient_scale(x, o, s):
    if o.kind == "ipo":
        g = np.abs(s) * 2 * _size(x, o)
    else:
        g = np.abs(s) * sum(np.abs(part) for part in _slope(x, o)) * (1 + np.abs(o.beta * _difference(x)))
    return {"policy_chosen": g, "policy_rejected": g}


def _log_prob(rng, shape, distribution, _sizes):
    if distribution == "extreme":
        return rng.choice([-1000.0, -500.0, -88.5, -20.0, -1e-3, 0.0], shape)
    level = {"offset": -300, "tiny": 0}.get(distribution, -12)
    return level + {"tiny": 1e-4, "constant": 0, "heavy": 30}.get(distribution, 3) * rng.standard_normal(shape)


SAMPLERS = dict.fromkeys(["policy_chosen", "policy_rejected", "reference_chosen", "reference_rejected"], _log_prob)

OPTIONS = {"kind": ["dpo", "cdpo", "rdpo", "ipo", "hinge"], "beta": [0.1, 0.5, 3.0], "flip_probability": [0.0, 0.1, 0.45]}

EXAMPLES = [
    {
        "inputs": {
            "policy_chosen": [-10.0, -7.5],
            "policy_rejected": [-12.0, -7.0],
            "reference_chosen": [-11.0, -7.25],
            "reference_rejected": [-11.5, -8.0],
        },
        "options": {"kind": "rdpo", "flip_probability": 0.1},
        "outputs": {"loss": 0.687715541553, "margins": [0.15, -0.125]},
        "gradients": {"policy_chosen": [-0.029378507733, -0.032810468669], "policy_rejected": [0.029378507733, 0.032810468669]},
    }
]


def _sample(call, n=200, seed=0):
    rng = np.random.default_rng(seed)
    return [call.floats(-40 + 5 * rng.standard_normal(n)) for _ in range(4)]


def test_without_flips_all_are_dpo(call):
    x = _sample(call)
    plain = call(*x, reduction="none")
    for kind in ("cdpo", "rdpo"):
        assert call(*x, kind=kind, reduction="none").loss.tolist() == plain.loss.tolist()
    assert call(*x, flip_probability=0.3, reduction="none").loss.tolist() == plain.loss.tolist()


def test_rdpo_is_unbiased(call):
    """(1 - e) rdpo(h) + e rdpo(-h) = dpo(h)."""
    a, b, c, d = _sample(call)
    kind = {"kind": "rdpo", "flip_probability": 0.2, "reduction": "none"}
    right, flipped = call(a, b, c, d, **kind).loss, call(b, a, d, c, **kind).loss
    np.testing.assert_allclose(0.8 * right + 0.2 * flipped, call(a, b, c, d, reduction="none").loss, rtol=1e-5, atol=1e-6)


def test_large_log_probabilities_lose_nothing(call):
    if call.dtype.itemsize != 4:
        return
    rng = np.random.default_rng(0)
    x = dict(zip(SAMPLERS, (-3e4 + 1e-2 * rng.standard_normal((4, 500))).astype(np.float32)))
    call.compare(x, {"beta": 2.0, "reduction": "none"})
