"""cubical_persistence: barcode of an image."""

import ctypes

import numpy as np
import pytest

import losskit
from harness import barcodes
from harness.raw import RawCall, message


def reference(x, o):
    return barcodes.barcode(x.image)


def _image(rng, shape, distribution, sizes):
    """Ties and plateaus beside generic values."""
    if distribution in ("constant", "extreme"):
        return np.full(shape, 0.5)
    if distribution == "heavy":
        return rng.integers(0, 2, shape)
    if distribution == "offset":
        return rng.integers(-2, 3, shape) / 4
    return rng.standard_normal(shape) * (1e-30 if distribution == "tiny" else 3)


SAMPLERS = {"image": _image}


def _shapes(*shapes):
    return [dict(zip(("depth", "height", "width"), shape)) for shape in shapes]


SHAPES = _shapes(
    (1, 1, 1), (1, 3, 3), (1, 1, 7), (1, 5, 1), (4, 1, 1), (1, 2, 2), (1, 8, 8), (1, 4, 9), (1, 7, 5), (5, 1, 6), (4, 7, 1),
    (2, 2, 2), (3, 3, 3), (2, 3, 4), (4, 4, 4), (3, 2, 5), (4, 4, 3), (3, 5, 3), (1, 12, 13), (5, 4, 4),
)

EXAMPLES = [
    {
        "inputs": {"image": [[[1.0, 0.75, 0.875], [0.625, 0.125, 0.5], [0.375, 0.25, 0.9375]]]},
        "outputs": {
            "births": [1.0, 0.9375, 0.875, 0.25],
            "deaths": [-np.inf, 0.5, 0.75, 0.125],
            "dimensions": [0, 0, 0, 1],
            "birth_voxels": [0, 8, 2, 7],
            "death_voxels": [-1, 5, 1, 4],
            "count": 4,
        },
    }
]


def test_many_small_images(call):
    """Every kind of tie: few levels, all shapes."""
    rng = np.random.default_rng(0)
    for i in range(150):
        shape = rng.integers(1, 9, 2) if i % 2 else rng.integers(1, 5, 3)
        levels = rng.integers(1, 12)
        image = rng.integers(0, levels, ((1, *shape) if i % 2 else shape)).astype(float)
        got, expected = call(call.floats(image)), barcodes.barcode(image)
        for name, value in expected.items():
            assert np.array_equal(getattr(got, name), value), (image, name)


def test_known_shapes(call):
    ring = np.zeros((5, 5))
    ring[1:4, 1:4] = 1
    ring[2, 2] = 0.5
    got = call(call.floats(ring[None]))
    assert got.dimensions.tolist() == [0, 1] and got.births.tolist() == [1, 1] and got.deaths.tolist() == [-np.inf, 0.5]
    shell = np.zeros((5, 5, 5))
    shell[1:4, 1:4, 1:4] = 1
    shell[2, 2, 2] = 0.25
    got = call(call.floats(shell))
    assert got.dimensions.tolist() == [0, 2] and got.deaths.tolist() == [-np.inf, 0.25]
    assert got.death_voxels.tolist() == [-1, 62]
    torus = np.zeros((3, 5, 5))
    torus[1, 1:4, 1:4] = 1
    torus[1, 2, 2] = 0
    assert call(call.floats(torus)).dimensions.tolist() == [0, 1]


def test_constants_and_single_voxels(call):
    for shape in [(1, 1, 1), (1, 1, 4), (1, 6, 5), (3, 4, 5)]:
        got = call(call.floats(np.full(shape, 0.75)))
        assert (got.births, got.deaths, got.birth_voxels, got.death_voxels) == ([0.75], [-np.inf], [0], [-1])


def test_zeros_of_both_signs_are_one_value(call):
    image = np.array([[[0.0, -0.0, 0.0, -0.0]]])
    assert call(call.floats(image)).count == 1


def test_not_finite(call):
    got = call(call.floats([[[1, np.nan], [0, 2]]]))
    assert got.count == 1 and np.isnan(got.births[0]) and np.isnan(got.deaths[0])
    assert got.birth_voxels.tolist() == got.death_voxels.tolist() == [-1]
    got = call(call.floats([[[np.inf, -np.inf, 3]]]))
    assert got.births.tolist() == [np.inf, 3] and got.deaths.tolist() == [-np.inf, -np.inf]
    assert got.death_voxels.tolist() == [-1, 1]


def test_axes_may_be_swapped_and_mirrored(call):
    """Births and deaths depend on the image only; larger than the reference can do."""
    rng = np.random.default_rng(1)

    def diagram(image):
        got = call(call.floats(np.ascontiguousarray(image)))
        return sorted(zip(got.dimensions.tolist(), got.births.tolist(), got.deaths.tolist()))

    for shape in [(1, 40, 57), (9, 11, 14)]:
        for image in (rng.permutation(int(np.prod(shape))).reshape(shape) % 2000, rng.integers(0, 4, shape)):
            one = diagram(image)
            assert diagram(image[::-1, :, ::-1]) == diagram(image[:, ::-1]) == one
            assert diagram(image.transpose(2, 0, 1)) == diagram(image.transpose(0, 2, 1)) == one


def test_most_bars(call):
    """The capacity is enough for images made of critical voxels, and the bound in the documentation holds."""
    z, y, x = np.indices((9, 9, 9)) % 2
    odd = z + y + x
    for values in ([1, 3, 2, 0], [1, 2, 3, 0], [2, 3, 1, 0], [3, 0, 2, 1]):
        for image in (np.choose(odd, values), np.choose(odd, values)[:1], np.choose(odd, values)[:, :2]):
            count = int(call(call.floats(image)).count)
            assert count <= 11 * image.size / 8 + 0.5
            assert image.shape[0] > 1 or count <= 3 * image.size / 4 + 0.5


def _raw(call, image, bars, absent=()):
    entry = losskit.entries()["cubical_persistence"]
    code = {2: 1, 4: 0}[call.dtype.itemsize] if call.dtype.name != "bfloat16" else 2
    dims = dict(zip(("depth", "height", "width"), image.shape), bars=bars)
    raw = RawCall(entry, "forward", dims, code, call.context, absent=absent)
    raw.view("image")[:] = image.reshape(-1).astype(call.dtype)
    raw.snapshot = raw.arena.copy()
    return raw


def test_capacity(call):
    """Too small a capacity is refused with the number needed, before anything is written."""
    for image in (np.array([[[1, 0, 2, 0, 3]]]), np.array([[[np.nan, 1, 2]]])):
        needed = int(call(call.floats(image)).count)
        for bars in range(needed):
            raw = _raw(call, image, bars)
            assert raw() == 1 and raw.untouched()
            assert f"'bars' is {bars}, expected at least {needed}" in message()
        for bars in (needed, needed + 3):
            raw = _raw(call, image, bars)
            assert raw() == 0 and raw.only_outputs_changed()
            assert raw.view("count")[0] == needed
            # What is behind the bars stays.
            for name in ("births", "deaths", "dimensions", "birth_voxels", "death_voxels"):
                b = raw.buffers[name]
                behind = slice(b.start + needed * b.itemsize, b.end)
                assert raw.arena[behind].tobytes() == raw.snapshot[behind].tobytes()
        raw = _raw(call, image, 0, absent=("births", "deaths", "dimensions", "birth_voxels", "death_voxels"))
        assert raw() == 0 and raw.view("count")[0] == needed


def test_not_on_cuda(call):
    """Said, not tried."""
    if "cuda-emulation" in losskit.features():
        with losskit.Context("cuda-emulated") as context:
            for name in ("cubical_persistence", "betti_matching_loss"):
                image = np.zeros((1, 1, 2, 2), np.float32)
                inputs = [image[0]] if name == "cubical_persistence" else [image, image]
                with pytest.raises(losskit.Unsupported, match=f"{name}: not available on CUDA, use a CPU context"):
                    getattr(losskit, name)(*inputs, context=context)


def test_too_many_voxels(call):
    entry = losskit.entries()["cubical_persistence"]
    bytes_ = ctypes.c_size_t()
    options = entry.default_options()
    arguments = (call.context._handle, ctypes.addressof(options), 0, 2, 1 << 27, 2, 1, ctypes.addressof(bytes_))
    assert entry.function("workspace_size")(*arguments) == 1
    assert "'height' is 134217728, expected at most 268435456 voxels" in message()


def test_equals_gudhi(call):
    """On images too large for the reference."""
    gudhi = pytest.importorskip("gudhi")
    rng = np.random.default_rng(2)
    for shape in [(1, 64, 65), (1, 1, 300), (13, 14, 15), (20, 3, 17)]:
        for image in (rng.standard_normal(shape), rng.integers(0, 5, shape)):
            image = call.floats(image).astype(float)
            squeezed = image.reshape([n for n in image.shape if n > 1])
            expected = gudhi.CubicalComplex(vertices=-squeezed).persistence(homology_coeff_field=2, min_persistence=0)
            expected = sorted((d, -b, -e) for d, (b, e) in expected if b != e)
            got = call(call.floats(image))
            assert sorted(zip(got.dimensions.tolist(), got.births.tolist(), got.deaths.tolist())) == expected
