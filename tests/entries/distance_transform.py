"""distance_transform: exact Euclidean distance to the nearest zero."""

import numpy as np


def squares(mask):
    """By brute force, in integers; -1 where there is no zero."""
    found = np.full(mask.shape, -1, np.int64)
    for image, out in zip(mask, found):
        zeros = np.argwhere(image == 0)
        voxels = np.argwhere(np.ones(image.shape, bool))
        if not len(zeros):
            continue
        best = np.full(len(voxels), np.iinfo(np.int64).max)
        for start in range(0, len(zeros), 64):
            d = voxels[:, None] - zeros[None, start : start + 64]
            best = np.minimum(best, (d * d).sum(axis=2).min(axis=1))
        out[...] = best.reshape(image.shape)
    return found


def reference(x, o):
    found = squares(x.mask)
    return {"distance": np.where(found < 0, np.inf, np.sqrt(np.abs(found)))}


def _mask(rng, shape, distribution, sizes):
    if distribution == "constant":
        return np.full(shape, 1 + rng.integers(0, 255), np.uint8)
    rare = {"normal": 0.02, "heavy": 0.5, "offset": 0.002, "extreme": 0.98, "tiny": 0.1}[distribution]
    return np.where(rng.random(shape) < rare, 0, rng.integers(1, 256, shape)).astype(np.uint8)


SAMPLERS = {"mask": _mask}

SHAPES = [
    dict(zip(("batch", "depth", "height", "width"), shape))
    for shape in [
        (1, 1, 1, 1), (2, 1, 1, 70), (3, 1, 37, 1), (2, 41, 1, 1), (1, 1, 33, 32), (2, 1, 31, 65), (1, 1, 100, 7), (3, 5, 6, 7),
        (2, 12, 11, 10), (1, 3, 40, 17), (1, 30, 2, 33), (4, 1, 9, 129), (1, 9, 33, 31), (2, 4, 4, 4),
    ]
]

EXAMPLES = [
    {
        "inputs": {"mask": [[[[0, 1, 1], [1, 1, 1]]]]},
        "outputs": {"distance": [[[[0.0, 1.0, 2.0], [1.0, 1.414213562373, 2.2360679775]]]]},
    }
]


def test_every_f32_is_the_rounded_root(call):
    rng = np.random.default_rng(0)
    for shape in [(1, 1, 120, 130), (1, 25, 24, 23)]:
        mask = (rng.random(shape) > 0.003).astype(np.uint8)
        mask[0, 0, 0, 0] = 0
        assert (call(mask).distance == np.sqrt(squares(mask)).astype(np.float32)).all()


def test_one_zero(call):
    """Far corners, and distances whose squares need more than 32 bits."""
    shapes = [(1, 1, 3, 90_000), (1, 1, 1, 200_000), (1, 2, 90_000, 1), (1, 70_000, 1, 2)]
    # The emulation takes long for many rows.
    for shape in shapes[:1] if call.context.kind == "cuda-emulated" else shapes:
        mask = np.ones(shape, np.uint8)
        mask[0, 0, 0, 0] = 0
        index = np.indices(shape[1:], np.int64)
        expected = np.sqrt((index**2).sum(axis=0)).astype(np.float32)
        assert (call(mask).distance[0] == expected).all()
        assert (call(mask[:, ::-1, ::-1, ::-1]).distance[0] == expected[::-1, ::-1, ::-1]).all()


def test_images_are_apart(call):
    mask = np.ones((3, 2, 4, 5), np.uint8)
    mask[1, 0, 2, 3] = 0
    distance = call(mask).distance
    assert np.isinf(distance[[0, 2]]).all() and np.isfinite(distance[1]).all()


def test_empty_extents(call):
    for shape in [(0, 2, 3, 4), (2, 0, 3, 4), (2, 3, 0, 4), (2, 3, 4, 0)]:
        assert call(np.ones(shape, np.uint8)).distance.shape == shape
