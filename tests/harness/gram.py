"""Gram matrices for the references of entries on all pairs of points."""

import numpy as np

#: Kernels below the smallest normal f32 are 0 in the library.
SMALLEST = 2.0**-126
#: Numbers of points around the tiles (64 rows, 128 columns), dimensions around register blocks and parts.
SIZES = [(3, 5, 2), (1, 1, 1), (2, 130, 7), (65, 3, 4), (64, 128, 3), (67, 129, 17), (130, 65, 33), (1, 7, 257), (9, 4, 300)]
LARGE = (260, 333, 12)


def differences(a, b):
    """Of all pairs, one dimension at a time: all of them at once would not fit the memory."""
    for k in range(a.shape[1]):
        yield a[:, None, k] - b[None, :, k]


def exponents(a, b, bandwidth):
    total = np.zeros((len(a), len(b)), a.dtype)
    for d in differences(a, b):
        total += d**2
    return total / (2 * np.asarray(bandwidth, a.dtype) ** 2)


def logsumexp(x, axis=None):
    m = x.max(axis=axis, keepdims=True)
    m = np.where(np.isfinite(m), m, 0)
    return np.log(np.exp(x - m).sum(axis=axis)) + (m.reshape(-1)[0] if axis is None else m.squeeze(axis))


def pull(weights, a, b):
    """sum_j weights_ij (a_i - b_j)."""
    return np.stack([(weights * d).sum(axis=1) for d in differences(a, b)], axis=1)


def pull_scale(weights, e, a, b, factor):
    """What errors of `factor * pull` are measured against: an exponent has a relative error of some f32
    roundings, its exponential one of E times as many."""
    trust = np.abs(weights) * (1 + np.where(np.isfinite(e), e, 0))
    size, lost = np.zeros(len(a), a.dtype), np.zeros(len(a), a.dtype)
    for d in differences(a, b):
        size = np.maximum(size, (trust * np.abs(d)).sum(axis=1))
        lost = np.maximum(lost, SMALLEST * np.abs(d).sum(axis=1) / 5e-7)
    return np.broadcast_to((np.abs(factor) * (size + lost))[:, None], a.shape)
