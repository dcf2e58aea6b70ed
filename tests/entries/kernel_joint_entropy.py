"""kernel_joint_entropy: -(1/n) sum_i [log sum_j exp(-E_ij) - log n]."""

import numpy as np
from harness.gram import exponents, logsumexp, pull, pull_scale

OPTIONS = {"bandwidth_a": [1.0, 0.3, 40.0], "bandwidth_b": [1.0, 3000.0, 0.5], "include_self": [True, False]}

SHAPES = [
    dict(zip(("n", "dims_a", "dims_b"), sizes))
    for sizes in [(5, 3, 2), (2, 1, 1), (3, 257, 4), (64, 2, 5), (65, 4, 3), (129, 7, 8), (131, 33, 16), (4, 300, 260), (333, 12, 5)]
]


def _exponents(x, o):
    e = exponents(x.a, x.a, o.bandwidth_a)
    if x.b is not None:
        e = e + exponents(x.b, x.b, o.bandwidth_b)
    return e if o.include_self else np.where(np.eye(len(e), dtype=bool), np.inf, e)


def reference(x, o):
    e = _exponents(x, o)
    others = len(e) if o.include_self else len(e) - 1
    return {"entropy": -(logsumexp(-e, axis=1) - np.log(e.dtype.type(others))).mean()}


def _softmax(e):
    return np.exp(-e - logsumexp(-e, axis=1)[:, None])


def scale(x, o):
    """Errors of the exponents, weighted as the kernels are, and a rounding of the sums."""
    e = _exponents(x, o)
    return {"entropy": (_softmax(e) * np.where(np.isfinite(e), e, 0)).sum(axis=1).mean() + 0.3}


def _outputs(x, o):
    yield "a", x.a, o.bandwidth_a
    if x.b is not None:
        yield "b", x.b, o.bandwidth_b


def gradient(x, o, s):
    p = _softmax(_exponents(x, o))
    return {name: s / (len(p) * np.asarray(h, v.dtype) ** 2) * pull(p + p.T, v, v) for name, v, h in _outputs(x, o)}


def gradient_scale(x, o, s):
    e = _exponents(x, o)
    p = _softmax(e)
    return {name: pull_scale(p + p.T, e, v, v, s / (len(p) * h**2)) for name, v, h in _outputs(x, o)}


EXAMPLES = [
    {
        "inputs": {"a": [[1.0, 0.5], [-0.5, 1.0], [0.25, -1.0]], "b": [[0.75], [-0.25], [0.5]]},
        "outputs": {"entropy": 0.817973430631},
        "gradients": {
            "a": [[0.218269449827, 0.130812045655], [-0.161101339617, 0.123876718312], [-0.05716811021, -0.254688763966]],
            "b": [[0.116431748133], [-0.11742607476], [0.000994326627]],
        },
    }
]


def _points(call, n=70, dims=5):
    rng = np.random.default_rng(0)
    return call.floats(rng.standard_normal((n, dims)))


def test_joint_entropy_is_that_of_concatenated_samples(call):
    a = _points(call)
    joint, whole = call(a[:, :2], a[:, 2:]), call(a)
    assert np.isclose(joint.entropy, whole.entropy, rtol=1e-6)
    parts, g = joint.backward(), whole.backward()["a"].astype(float)
    parts = np.concatenate([parts["a"].astype(float), parts["b"].astype(float)], axis=1)
    assert np.allclose(parts, g, rtol=1e-2 if call.dtype.itemsize == 2 else 1e-5, atol=1e-6 * np.abs(g).max())


def test_equal_samples_have_no_entropy(call):
    for include_self in (True, False):
        result = call(call.floats(np.full((9, 3), 1.7)), include_self=include_self)
        assert abs(result.entropy) < 1e-6
        assert not result.backward()["a"].astype(float).any()


def test_samples_far_apart(call):
    """With themselves: log n; without: half the squared distance to the nearest, however far."""
    a = call.floats(1024.0 * np.arange(5)[:, None])
    assert np.isclose(call(a).entropy, np.log(5), rtol=1e-6)
    assert np.isclose(call(a, include_self=False).entropy, 2**19 + np.log(4) - 0.6 * np.log(2), rtol=1e-6)


def test_gradients_sum_to_zero(call):
    g = call(_points(call)).backward()["a"].astype(float)
    assert np.abs(g.sum(axis=0)).max() < (1e-5 if call.dtype.itemsize == 4 else 3e-2) * np.abs(g).sum(axis=0).max()


def test_many_dimensions(call):
    """More than the scratch memory of the CPU keeps of a block of rows."""
    if call.context.kind == "cpu":
        rng = np.random.default_rng(0)
        for dims in ((1000, 300), (3000, 1500), (200, 4300)):
            a, b = (call.floats(rng.standard_normal((5, d))) for d in dims)
            call.compare({"a": a, "b": b}, {"bandwidth_a": 50.0, "bandwidth_b": 70.0})
