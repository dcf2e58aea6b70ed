"""beta_mask_sample: draws of a Beta policy."""

import numpy as np

from harness.compare import assert_same
from harness.linear import philox
from harness.special import concentration, digamma, trigamma

import losskit


def _unit(words):
    return (words.astype(np.float64) + 0.5) / 2.0**32


def _words(o, elements, turn):
    """Of one of the 16 counter blocks of each element."""
    blocks = np.uint64(o.offset % 2**64) + np.uint64(16) * elements.astype(np.uint64) + np.uint64(turn)
    return philox(int(o.seed), blocks)


def reference(x, o):
    a = np.stack([x.concentration1, x.concentration0]).astype(np.float64)
    everyone = np.arange(a.shape[1])
    words = _words(o, everyone, 0)[:, :2].T
    with np.errstate(all="ignore"):
        lift = np.where(a < 1, np.log(_unit(words)) / a, 0)
    d = np.where(a < 1, a + 1, a) - 1 / 3
    c, ln_v = 1 / np.sqrt(9 * d), np.zeros_like(a)
    todo = np.ones(a.shape, bool)
    for turn in range(1, 16):
        left = everyone[todo.any(axis=0)]
        if not left.size:
            break
        words = _words(o, left, turn).T
        radius, angle = np.sqrt(-2 * np.log(_unit(words[0]))), 2 * np.pi * _unit(words[1])
        z = np.stack([radius * np.cos(angle), radius * np.sin(angle)]).astype(np.float32).astype(float)
        root = 1 + c[:, left] * z
        inside = np.where(root > 0, root, 1)
        bound = z * z / 2 + d[:, left] * (1 - inside**3 + 3 * np.log(inside))
        accepted = todo[:, left] & (root > 0) & (np.log(_unit(words[2:])) < bound)
        ln_v[:, left] = np.where(accepted, 3 * np.log(inside), ln_v[:, left])
        todo[:, left] &= ~accepted
    lead = np.log(d) + ln_v + lift
    lead = lead[0] - lead[1]
    e = np.exp(-np.abs(lead))
    return {"actions": np.where(lead < 0, e, 1) / (1 + e)}


OPTIONS = {"seed": [0, 2**64 - 3], "offset": [0, 2**63 + 17, 2**64 - 5]}
SAMPLERS = {"concentration1": concentration, "concentration0": concentration}
SHAPES = [{"n": n} for n in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 64, 127, 257, 1025, 2503, 20_011)]

EXAMPLES = [{"inputs": {"concentration1": [1.5, 2.0, 0.1], "concentration0": [1.0, 3.0, 0.2]}, "options": {"seed": 7}, "outputs": {"actions": [0.665622245105, 0.630321188123, 7.67823e-07]}}]


def test_moments(call):
    """Mean, variance and mean logarithm within five standard errors."""
    n = 20_000
    for seed, (a, b) in enumerate([(0.5, 0.5), (1.0, 1.0), (2.0, 5.0), (0.0625, 3.0), (30.0, 10.0), (0.0078125, 0.0078125), (8192.0, 4096.0)]):
        x = call(call.floats(np.full(n, a)), call.floats(np.full(n, b)), seed=seed).actions.astype(float)
        assert (x > 0).all() and (x < 1).all()
        s = a + b
        mean, variance = a / s, a * b / (s * s * (s + 1))
        excess = 6 * ((a - b) ** 2 * (s + 1) - a * b * (s + 2)) / (a * b * (s + 2) * (s + 3))
        # Numbers of few digits: their rounding, too.
        step = {4: 0, 2: 2.0**-8 if call.dtype != np.float16 else 2.0**-11}[call.dtype.itemsize]
        assert abs(x.mean() - mean) < 5 * np.sqrt(variance / n) + step * mean / 4, (a, b)
        if call.dtype.itemsize == 4:
            assert abs(x.var() - variance) < 5 * variance * np.sqrt((excess + 2) / n), (a, b)
        if call.dtype.itemsize == 4 and a > 0.3:
            expected, spread = float(digamma(a) - digamma(s)), float(trigamma(a) - trigamma(s))
            assert abs(np.log(x).mean() - expected) < 5 * np.sqrt(spread / n), (a, b)


def test_elements_own_their_counters(call):
    rng = np.random.default_rng(0)
    a, b = (call.floats(concentration(rng, 300, "heavy", None)) for _ in range(2))
    all_ = call(a, b, seed=3, offset=160).actions
    assert call(a[:9], b[:9], seed=3, offset=160).actions.tolist() == all_[:9].tolist()
    assert call(a[9:], b[9:], seed=3, offset=160 + 16 * 9).actions.tolist() == all_[9:].tolist()
    assert call(a, b, seed=4, offset=160).actions.tolist() != all_.tolist()


def test_the_same_bits_everywhere(call):
    rng = np.random.default_rng(1)
    for distribution in ("normal", "heavy", "extreme", "tiny", "offset"):
        a, b = (call.floats(concentration(rng, 5000, distribution, None)) for _ in range(2))
        on_cpu = losskit.beta_mask_sample(a, b, seed=11, context=losskit.Context("cpu", num_threads=1)).actions
        assert_same(call(a, b, seed=11).actions, on_cpu, distribution)


def test_a_nan_stays_with_its_element(call):
    a = call.floats([1.0, np.nan, 2.0])
    result = call(a, call.floats([1.0, 1.0, 1.0])).actions.astype(float)
    assert np.isnan(result).tolist() == [False, True, False]
