"""aggregate_response: losses of bags and of instances."""

import numpy as np


def _softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _over_bags(x, values, start, ufunc):
    """Over the instances of each bag."""
    total = np.full(len(x.bag_targets), start, values.dtype)
    ufunc.at(total, x.bags, values)
    return total


def _log_means(x):
    """log m and log(1 - m) of each bag, from log sigmoid; and the sizes of bags."""
    c = _over_bags(x, np.ones_like(x.pred), 0, np.add)
    logs = []
    for log in (-_softplus(-x.pred), -_softplus(x.pred)):
        top = _over_bags(x, log, -np.inf, np.maximum)
        logs.append(top + np.log(_over_bags(x, np.exp(log - top[x.bags]), 0, np.add) / c))
    # The one near 0 from the other.
    return *(np.where(np.exp(two) < 0.5, np.log1p(-np.exp(two)), one) for one, two in (logs, logs[::-1])), c


def _losses(x, o, sizes=False):
    y, z = x.bag_targets, x.bag_targets[x.bags]
    if o.kind == "squared":
        c = _over_bags(x, np.ones_like(x.pred), 0, np.add)
        m = _over_bags(x, x.pred, 0, np.add) / np.maximum(c, 1)
        size = _over_bags(x, np.abs(x.pred), 0, np.add) / np.maximum(c, 1)
        # Of the bags' means, rounding is relative to the sums' terms.
        bags = (m - y) ** 2 + (2 * np.abs(m - y) * (size + np.abs(y)) if sizes else 0)
        return bags[c > 0], (x.pred - z) ** 2
    log_m, log_rest, c = _log_means(x)
    bags = np.where(y == 0, 0, -y * log_m) + np.where(y == 1, 0, -(1 - y) * log_rest)
    return bags[c > 0], z * _softplus(-x.pred) + (1 - z) * _softplus(x.pred)


def _outputs(bags, instances, o):
    mean = lambda v: v.sum() / max(len(v), 1)
    w = o.instance_weight
    return {"loss": (1 - w) * mean(bags) + w * mean(instances), "bag_loss": mean(bags), "instance_loss": mean(instances)}


def reference(x, o):
    with np.errstate(all="ignore"):
        return _outputs(*_losses(x, o), o)


def scale(x, o):
    with np.errstate(all="ignore"):
        return _outputs(*_losses(x, o, True), o)


def _gradient(x, o, s, sign):
    """And with sign 1 the sizes of its terms."""
    y, z, w = x.bag_targets, x.bag_targets[x.bags], o.instance_weight
    c = _over_bags(x, np.ones_like(x.pred), 0, np.add)
    count, n = (c > 0).sum(), len(x.pred)
    size = (lambda v: v) if sign < 0 else np.abs
    if o.kind == "squared":
        m = _over_bags(x, x.pred, 0, np.add) / np.maximum(c, 1)
        bag = 2 * (size(m) + sign * size(y)) / np.maximum(c, 1) / count
        return size(s) * ((1 - w) * bag[x.bags] + w * 2 * (size(x.pred) + sign * size(z)) / n)
    log_m, log_rest, c = _log_means(x)
    k = (1 - y) * np.exp(log_m) + sign * y * np.exp(log_rest)
    odds = np.exp(-_softplus(-x.pred) - log_m[x.bags]) * np.exp(-_softplus(x.pred) - log_rest[x.bags])
    level = (1 - z) * np.exp(-_softplus(x.pred) + x.pred) + sign * z * np.exp(-_softplus(x.pred))
    return size(s) * ((1 - w) * k[x.bags] * odds / (count * c[x.bags]) + w * level / n)


def gradient(x, o, s):
    with np.errstate(all="ignore"):
        return {"pred": _gradient(x, o, s, -1)}


def gradient_scale(x, o, s):
    with np.errstate(all="ignore"):
        return {"pred": _gradient(x, o, s, 1)}


def _targets(rng, shape, distribution, _sizes):
    return rng.integers(0, 2, shape) if distribution in ("extreme", "constant") else rng.random(shape)


OPTIONS = {"kind": ["squared", "logistic"], "instance_weight": [0.5, 0.0, 1.0, 0.9]}
SAMPLERS = {"bag_targets": _targets}
SHAPES = [
    {"n": n, "m": m}
    for n, m in ((1, 1), (2, 3), (3, 1), (5, 2), (7, 7), (8, 2), (9, 4), (16, 5), (17, 3), (33, 40), (64, 8), (257, 64))
    + ((255, 65), (1023, 1), (1025, 300), (2503, 100), (5001, 7000), (20_011, 33), (70_001, 900), (140_000, 2))
]

EXAMPLES = [
    {
        "inputs": {"pred": [0.5, -1.0, 0.25, 2.0], "bags": [0, 0, 1, 1], "bag_targets": [0.25, 0.75]},
        "options": {"instance_weight": 0.5},
        "outputs": {"loss": 0.52734375, "bag_loss": 0.1953125, "instance_loss": 0.859375},
        "gradients": {"pred": [-0.0625, -0.4375, -0.03125, 0.40625]},
    }
]


def test_bags_of_one(call):
    rng = np.random.default_rng(0)
    pred, bags, y = call.floats(2 * rng.standard_normal(50)), rng.permutation(50), call.floats(rng.random(50))
    for kind in ("squared", "logistic"):
        got = call(pred, bags, y, kind=kind)
        np.testing.assert_allclose(got.bag_loss, got.instance_loss, rtol=1e-6)


def test_squared_levels_differ_by_the_variance(call):
    rng = np.random.default_rng(1)
    pred, bags, y = call.floats(rng.standard_normal(60)), rng.permutation(np.repeat(np.arange(12), 5)), call.floats(rng.random(12))
    got = call(pred, bags, y)
    variance = np.mean([pred[bags == b].astype(float).var() for b in range(12)])
    np.testing.assert_allclose(got.instance_loss - got.bag_loss, variance, rtol=1e-5)


def test_the_order_of_bags_does_not_matter(call):
    rng = np.random.default_rng(2)
    pred, bags, y = call.floats(rng.standard_normal(999)), rng.integers(0, 20, 999), call.floats(rng.random(20))
    p = rng.permutation(20)
    one, two = call(pred, bags, y, kind="logistic"), call(pred, np.argsort(p)[bags], y[p], kind="logistic")
    np.testing.assert_allclose(one.loss, two.loss, rtol=1e-6)
    np.testing.assert_allclose(one.backward()["pred"].astype(float), two.backward()["pred"].astype(float), rtol=1e-2)


def test_bags_of_extreme_logits(call):
    """All far from the target, or on it."""
    bags = np.array([0, 1, 0, 1, 2, 2, 3, 3, 3])
    pred = call.floats([-3e4, 2e4, -2.5e4, 3e4, -1000, -1000.5, -1000, 1000, 650])
    for y in ([1, 0, 1, 0.5], [0, 1, 0, 1], [0.25, 0.5, 0.75, 0]):
        for weight in (0.0, 0.5):
            call.compare({"pred": pred, "bags": bags, "bag_targets": call.floats(y)}, {"kind": "logistic", "instance_weight": weight})


def test_a_nan_stays_in_its_bag(call):
    rng = np.random.default_rng(3)
    for n, m in ((40, 5), (400, 100)):
        pred, bags, y = call.floats(rng.standard_normal(n)), np.arange(n) % m, call.floats(rng.random(m))
        for kind in ("squared", "logistic"):
            clean = call(pred, bags, y, kind=kind).backward()["pred"]
            for bad in (np.nan, np.inf, -np.inf):
                spoilt = pred.copy()
                spoilt[m + 2] = bad
                got = call(spoilt, bags, y, kind=kind)
                dirty = got.backward()["pred"]
                assert not np.isfinite(got.loss) or kind == "logistic"
                assert np.array_equal(dirty[bags != 2], clean[bags != 2])
                assert not np.isnan(bad) or (np.isnan(got.loss) and np.isnan(dirty[m + 2]))


def test_bad_bags_on_cuda(call):
    import pytest

    import losskit

    if call.context.kind == "cpu":
        return
    pred, y = call.floats([0.5, 1.0, 2.0]), call.floats([0.5, 0.25])
    got, without = call(pred, np.array([0, 7, 1]), y), call(pred[[0, 2]], np.array([0, 1]), y)
    assert np.isnan(got.loss) and np.isnan(got.instance_loss) and got.bag_loss == without.bag_loss
    assert got.backward()["pred"][1] == 0
    with pytest.raises(losskit.InvalidLabel):
        call.context.check()
