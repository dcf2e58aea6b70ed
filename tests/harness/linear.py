"""What the references of losses behind a matrix product share."""

import numpy as np

from .compare import GRADIENT

#: Scale of what exponentials below the smallest normal f32 contribute: they are 0 in the library.
UNDERFLOW = 2.0**-126 / GRADIENT


def log_softmax(z):
    top = z.max(axis=1, keepdims=True)
    return z - top - np.log(np.exp(z - top).sum(axis=1, keepdims=True))


def own(z, y):
    return np.take_along_axis(z, y[:, None], axis=1)[:, 0]


def neg_log_prob(z, y):
    """-log p_y = log(1 + sum of the others), which keeps its digits where p_y is near 1."""
    d = z - own(z, y)[:, None]
    d[np.arange(len(y)), y] = -np.inf
    high = np.maximum(d.max(axis=1), 0)
    others = np.exp(d - high[:, None]).sum(axis=1)
    return np.where(high == 0, np.log1p(others), high + np.log(others + np.exp(-high)))


def softmax_gradient(z, y):
    """p - e_y, with p_y - 1 as minus the sum of the others."""
    p = np.exp(log_softmax(z))
    g = p.copy()
    rows = np.arange(len(y))
    g[rows, y] = 0
    g[rows, y] = -g.sum(axis=1)
    return g


def logits(x, weight, bias):
    """And what rounding in a sum of products is relative to: the sum of their sizes."""
    z, size = x @ weight.T, np.abs(x) @ np.abs(weight).T
    return (z, size) if bias is None else (z + bias, size + np.abs(bias))


def philox(seed, blocks):
    """Words of counter blocks, [n, 4], by the definition of Philox 4x32-10."""
    c = np.zeros((4, len(blocks)), np.uint64)
    blocks = np.asarray(blocks, np.uint64)
    low = np.uint64(0xFFFFFFFF)
    c[0], c[1] = blocks & low, blocks >> np.uint64(32)
    k = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        p, q = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = np.stack(
            [(q >> np.uint64(32)) ^ c[1] ^ np.uint64(k[0]), q & low, (p >> np.uint64(32)) ^ c[3] ^ np.uint64(k[1]), p & low]
        )
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c.T


def draws(seed, offset, count):
    """The first `count` words of a call."""
    blocks = [(offset + i) % 2**64 for i in range(-(-count // 4))]
    return philox(int(seed), blocks).reshape(-1)[:count]
