"""What references of losses on similarities share: directions of rows and their gradients, and how large errors
may be."""

import numpy as np

EPS = 1e-12


def directions(x, normalize):
    return x / lengths(x) if normalize else x


def lengths(x):
    return np.sqrt((x**2).sum(axis=1, keepdims=True) + EPS)


def through(x, g, normalize):
    """Gradient of x from that of its directions."""
    if not normalize:
        return g
    u = directions(x, True)
    return (g - u * (u * g).sum(axis=1, keepdims=True)) / lengths(x)


def magnitude(a, b, factor):
    """What rounding errors of similarities are measured against: each is a sum of products in f32."""
    return np.abs(factor) * (np.abs(a) @ np.abs(b).T)


def gradient_size(x, weights, others, sizes, factor, normalize):
    """Scale of the gradient of rows x: the sum of the sizes of its terms |W_ij| |b_jk|, of each row the largest. An
    error of S_ij is a relative one of W_ij, so terms count by the size of S_ij, and twice for the rounding of
    weights and rows. Probabilities below 1e-33 are 0 in the library."""
    terms = np.abs(factor) * ((np.abs(weights) * (2 + sizes) + 1e-26 * np.abs(weights).max(initial=0)) @ np.abs(others))
    if normalize:
        # Projection takes away what lies along the row, but not its error.
        terms = terms / lengths(x)
    return np.broadcast_to(terms.max(axis=1, keepdims=True, initial=0), x.shape)


def log_sum_exp(s, axis):
    top = s.max(axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    return (np.log(np.exp(s - top).sum(axis=axis, keepdims=True)) + top).squeeze(axis)


def rows(rng, shape, distribution, sizes):
    """Embeddings: also almost parallel ones, zero rows and large and small lengths."""
    x = rng.standard_normal(shape)
    if distribution == "heavy":
        x = np.clip(rng.standard_t(1.5, shape), -30, 30)
    elif distribution == "offset":
        x = 4 + 0.25 * x
    elif distribution == "constant":
        x = np.full(shape, -0.75)
    elif distribution == "extreme":
        x = x * rng.choice([0.125, 1, 4], (shape[0], 1))
        x[rng.random(shape[0]) < 0.2] = 0
    elif distribution == "tiny":
        x = 1e-2 * x
    return x
