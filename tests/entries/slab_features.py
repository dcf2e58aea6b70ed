"""slab_features: data with simple and complex coordinates."""

import numpy as np

from harness.linear import draws


def reference(x, o):
    shape = len(x.target), len(x.slabs)
    if x.uniforms is not None:
        u = x.uniforms
    else:
        words = draws(o.seed, o.offset, shape[0] * shape[1]).astype(np.float64)
        u = np.minimum(np.float32((words + 0.5) / 2.0**32), np.float32(1 - 2.0**-24)).astype(float).reshape(shape)
    t, k = x.target[:, None], np.asarray(x.slabs)[None]
    own = (t > 0).astype(int)
    v = u * ((k + 1) // 2 - own)
    slab = 2 * np.floor(v) + own
    many = -1 + 2 / k * slab + o.margin / 2 + (2 / k - o.margin) * (v - np.floor(v))
    return {"features": np.where(k == 1, t * (o.margin / 2 + (1 - o.margin / 2) * u), many)}


def scale(x, o):
    """Places in [-1, 1]."""
    return {"features": np.ones((len(x.target), len(x.slabs)))}


def _signs(rng, shape, _distribution, _sizes):
    return 2 * rng.integers(0, 2, shape) - 1


def _uniforms(rng, shape, _distribution, _sizes):
    return np.clip(rng.random(shape), 1e-6, 1 - 1e-6)


def _slabs(rng, shape, _distribution, _sizes):
    return 2 * rng.integers(0, 5, shape) + 1


OPTIONS = {"margin": [0.1, 0.0, 0.2], "seed": [0, 7, 2**64 - 1], "offset": [0, 5, 2**64 - 2]}
SAMPLERS = {"target": _signs, "uniforms": _uniforms, "slabs": _slabs}

EXAMPLES = [
    {
        "inputs": {"target": [1.0, -1.0], "uniforms": [[0.25, 0.75], [0.5, 0.125]], "slabs": [1, 5]},
        "options": {"margin": 0.1},
        "outputs": {"features": [[0.2875, 0.4], [-0.525, -0.8375]]},
    }
]


def _data(call, n=4000, slabs=(1, 5, 7, 9), **options):
    t = np.where(np.arange(n) % 3 == 0, -1.0, 1.0)
    return t, call(call.floats(t), slabs=np.array(slabs), **options).features


def test_classes_are_apart(call):
    t, x = _data(call, margin=0.15)
    assert np.abs(x).max() <= 1
    assert (x[t > 0, 0] >= 0.075 - 1e-6).all() and (x[t < 0, 0] <= -0.075 + 1e-6).all()
    for c, k in enumerate((1, 5, 7, 9)):
        if k == 1:
            continue
        # The slab that a place is in tells the class, with half the margin to its walls.
        place = (x[:, c].astype(float) + 1) * k / 2
        slab = np.floor(place)
        assert (slab % 2 == (t > 0)).all()
        assert (np.minimum(place - slab, slab + 1 - place) >= 0.15 * k / 4 - 1e-5).all()
        assert len(set(slab)) == k


def test_a_linear_classifier_sees_the_simple_coordinate_only(call):
    t, x = _data(call)
    assert abs(np.corrcoef(t, x[:, 0])[0, 1]) > 0.8
    assert np.abs(np.corrcoef(t, x[:, 2])[0, 1]) < 0.1


def test_refused(call):
    t = call.floats([1.0, -1.0])
    for slabs, margin, words in (([4], 0.1, "'slabs' has value 4 in row 0"), ([1, -3], 0.1, "-3 in row 1"), ([1, 5], 0.4, "'margin' is 0.4")):
        if call.context.kind == "cpu":
            try:
                call(t, slabs=np.array(slabs), margin=margin)
            except ValueError as error:
                assert words in str(error)
            else:
                raise AssertionError(slabs)
        else:
            assert np.isnan(call(t, slabs=np.array(slabs), margin=margin).features[:, -1]).all()
            try:
                call.context.check()
            except ValueError:
                pass
            else:
                raise AssertionError(slabs)


def test_other_targets_have_no_place(call):
    t = call.floats([1.0, 0.5, np.nan, -1.0])
    x = call(t, slabs=np.array([1, 3])).features
    assert np.isnan(x[1:3]).all() and np.isfinite(x[[0, 3]]).all()
