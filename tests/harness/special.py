"""log Gamma and its derivatives, for references: by Stirling's series after a shift, in the type of x; and arguments
for what needs them."""

import numpy as np

_B = [np.longdouble(p) / q for p, q in [(1, 6), (-1, 30), (1, 42), (-1, 30), (5, 66), (-691, 2730), (7, 6), (-3617, 510)]]
_SHIFT = 20


def _shifted(x):
    x = np.asarray(x)
    return x, np.where(x < _SHIFT, x + _SHIFT, x), x < _SHIFT


def lgamma(x):
    x, y, low = _shifted(x)
    product = np.ones_like(x)
    for k in range(_SHIFT):
        product *= np.where(low, x + k, 1)
    series = sum(x.dtype.type(b) / (2 * k * (2 * k - 1)) / y ** (2 * k - 1) for k, b in enumerate(_B, 1))
    return (y - 0.5) * np.log(y) - y + np.log(2 * np.arccos(x.dtype.type(-1))) / 2 + series - np.log(product)


def digamma(x):
    x, y, low = _shifted(x)
    before = sum(np.where(low, 1 / (x + k), 0) for k in range(_SHIFT))
    return np.log(y) - 1 / (2 * y) - sum(x.dtype.type(b) / (2 * k) / y ** (2 * k) for k, b in enumerate(_B, 1)) - before


def trigamma(x):
    x, y, low = _shifted(x)
    before = sum(np.where(low, 1 / (x + k) ** 2, 0) for k in range(_SHIFT))
    return 1 / y + 1 / (2 * y * y) + sum(x.dtype.type(b) / y ** (2 * k + 1) for k, b in enumerate(_B, 1)) + before


def concentration(rng, shape, distribution, _sizes):
    """Parameters of Beta distributions, within the range of the special functions' accuracy."""
    return {
        "normal": lambda: np.exp(rng.standard_normal(shape)),
        "heavy": lambda: 10 ** rng.uniform(-2.99, 3.99, shape),
        "offset": lambda: 1e4 * rng.uniform(0.9, 0.99, shape),
        "constant": lambda: np.ones(shape),
        "extreme": lambda: rng.choice([1.1e-3, 0.5, 1.0, 2.0, 7.99, 8.0, 9990.0], shape),
        "tiny": lambda: 1.1e-3 + 1e-3 * rng.random(shape),
    }[distribution]()
