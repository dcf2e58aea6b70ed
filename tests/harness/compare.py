"""Comparison with float64 references, within stated bounds."""

import ml_dtypes
import numpy as np

F32, F16, BF16 = np.dtype(np.float32), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)
DTYPES = {"float32": F32, "float16": F16, "bfloat16": BF16}

#: Relative to the natural size of the terms.
LOSS = 1e-6
#: Relative to the largest gradient of the row.
GRADIENT = 5e-7
#: Exponentials below the smallest normal f32 are 0 in the library. Factors of up to 16 (weights, upstream
#: gradients) are allowed for; no accuracy is claimed below.
TINY = 16 * 2.0**-126


def ordered(bits, width):
    """Integers in the order of the floats whose bits they are."""
    bits = bits.astype(np.int64)
    top = 1 << (width - 1)
    return np.where(bits & top, top - bits, bits)


def ulps(a, b):
    """Distance of two arrays of the same half type in units in the last place."""
    a, b = (ordered(v.view(np.uint16), 16) for v in (a, b))
    return np.abs(a - b)


def assert_close(got, expected, scale, relative, what):
    """`got` is what the library wrote; `expected` is exact, before rounding to the type of `got`."""
    got = np.asarray(got)
    expected = np.asarray(expected, np.float64)
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, expected {expected.shape}"
    if got.size == 0:
        return
    with np.errstate(all="ignore"):
        values = got.astype(np.float64)
        scale = np.asarray(scale, np.float64)
        bound = relative * np.where(np.isfinite(scale), scale, 0) + TINY
        rounded = expected.astype(got.dtype)
        right = (values == expected) | (np.isnan(values) & np.isnan(expected))
        if got.dtype == F32:
            right |= np.abs(values - expected) <= bound
            right |= values == rounded
            # Beyond the largest f32 by no more than the bound.
            right |= np.isinf(values) & (np.sign(values) == np.sign(expected)) & (np.abs(expected) + bound >= 3.4028234e38)
        else:
            # Correct rounding of any f32 within the bound, or a neighbour of the correctly rounded result.
            low, high = ((expected + side * bound).astype(np.float32).astype(got.dtype) for side in (-1, 1))
            within = (ordered(got.view(np.uint16), 16) >= ordered(low.view(np.uint16), 16)) & (
                ordered(got.view(np.uint16), 16) <= ordered(high.view(np.uint16), 16)
            )
            comparable = ~np.isnan(values) & ~np.isnan(expected)
            right |= comparable & (within | (ulps(got, rounded) <= 1))
    if right.all():
        return
    error = np.abs(values - expected) / np.maximum(scale, TINY)
    error = np.where(right, 0, np.where(np.isnan(error), np.inf, error))
    at = np.unravel_index(np.argmax(error), got.shape)
    raise AssertionError(
        f"{what}: {np.count_nonzero(~right)} of {got.size} wrong; worst at {tuple(map(int, at))}: got {values[at]!r}, "
        f"expected {expected[at]!r}, {error[at]:.3g} of the scale {np.broadcast_to(scale, got.shape)[at]:.6g}, "
        f"allowed {relative:g}"
    )


def assert_same(a, b, what):
    """Bit for bit; NaNs count as equal whatever their payload."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape and a.dtype == b.dtype, f"{what}: {a.dtype}{a.shape} and {b.dtype}{b.shape}"
    word = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}[a.dtype.itemsize]
    with np.errstate(all="ignore"):
        same = np.ascontiguousarray(a).view(word) == np.ascontiguousarray(b).view(word)
        if a.dtype.kind not in "iub":
            same |= np.isnan(a.astype(np.float64)) & np.isnan(b.astype(np.float64))
    if not same.all():
        at = tuple(int(i) for i in np.argwhere(~same)[0])
        raise AssertionError(f"{what}: {np.count_nonzero(~same)} of {a.size} differ; first at {at}: {a[at]!r} and {b[at]!r}")


def assert_near(a, b, what, amplified=1):
    """As equal as two ways to the same f32 result are: kernels may add in another order where memory is laid
    out another way, or take a statistic from f32 instead of a register."""
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype.kind in "iub":
        return assert_same(a, b, what)
    size = np.abs(b.astype(np.float64)).max() if b.size else 0
    assert_close(a, b.astype(np.float64), np.full(b.shape, amplified * size), LOSS, what)
