"""scaling_law_fit: power law plus constant."""

import numpy as np


def _residuals(theta, t, log_y):
    return np.log(theta[2] + np.exp(theta[0] - theta[1] * t)) - log_y


def _cost(theta, t, log_y):
    return (_residuals(theta, t, log_y) ** 2).sum()


def _scale_for(alpha, l, t, log_y):
    """The best s for alpha and l: Newton's steps in one dimension."""
    s = np.mean(np.log(np.exp(log_y) - l) + alpha * t) if l < np.exp(log_y).min() else np.mean(log_y + alpha * t)
    for _ in range(8):
        power = np.exp(s - alpha * t)
        slope = power / (l + power)
        s -= (slope * _residuals((s, alpha, l), t, log_y)).sum() / max((slope**2).sum(), 1e-300)
    return s


def _fit(x, y, with_constant):
    key = np.asarray(x, float).tobytes(), np.asarray(y, float).tobytes(), bool(with_constant)
    if key not in _fits:
        _fits[key] = _new_fit(x, y, with_constant)
    return _fits[key]


_fits = {}


def _new_fit(x, y, with_constant):
    """Profile over a grid, then the minimum by shrinking the grid around the best."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    t, log_y = np.log(x) - np.log(x).mean(), np.log(y)
    least = y.min()

    def profile(alpha, share):
        s = _scale_for(alpha, share * least, t, log_y)
        return _cost((s, alpha, share * least), t, log_y), alpha, share

    alphas, shares = np.geomspace(1e-3, 10, 25), np.linspace(0, 0.999, 16) if with_constant else [0.0]
    _, alpha, share = min(profile(a, c) for a in alphas for c in shares)
    theta = np.array([_scale_for(alpha, share * least, t, log_y), alpha, share * least])
    low, high = np.array([-np.inf, 1e-6, 0]), np.array([np.inf, 10, least * (1 - 1e-12)])
    # Newton's method with differences of the gradient: another way to the point than the library's.
    for _ in range(200):
        free = [i for i in range(3) if (i < 2 or with_constant)]

        def slopes(v):
            power = np.exp(v[0] - v[1] * t)
            value = v[2] + power
            jacobian = np.stack([power / value, -t * power / value, 1 / value])
            return jacobian, jacobian @ _residuals(v, t, log_y)

        jacobian, g = slopes(theta)
        free = [i for i in free if not (theta[i] <= low[i] and g[i] > 0) and not (theta[i] >= high[i] and g[i] < 0)]
        scale = np.array([1, max(theta[1], 1e-3), least])
        h = 1e-6 * scale
        hessian = np.stack([(slopes(theta + h[i] * np.eye(3)[i])[1] - slopes(theta - h[i] * np.eye(3)[i])[1]) / (2 * h[i]) for i in range(3)])
        gauss = jacobian @ jacobian.T
        moved = False
        for matrix in (hessian, gauss, gauss + 1e-3 * np.diag(np.diag(gauss)), gauss + np.diag(np.diag(gauss))):
            step = np.zeros(3)
            try:
                step[free] = -np.linalg.solve(matrix[np.ix_(free, free)], g[free])
            except np.linalg.LinAlgError:
                continue
            there = np.clip(theta + step, low, high)
            if _cost(there, t, log_y) <= _cost(theta, t, log_y) * (1 + 1e-14):
                moved = True
                break
        if not moved or (np.abs(there - theta) <= 1e-13 * scale).all():
            break
        theta = there
    return theta, np.log(x).mean(), np.sqrt(_cost(theta, t, log_y) / len(x))


def reference(x, o):
    (s, alpha, l), mean, residual = _fit(x.x, x.y, o.with_constant)
    return {"alpha": np.asarray(alpha), "log_x0": np.asarray(s / alpha + mean), "l_inf": np.asarray(l), "residual": np.asarray(residual)}


def scale(x, o):
    """A quotient, and the difference of logarithms; the constant in terms of y."""
    (s, alpha, l), mean, residual = _fit(x.x, x.y, o.with_constant)
    return {
        "alpha": np.asarray(alpha),
        "log_x0": np.asarray(abs(s / alpha) + abs(mean)),
        "l_inf": np.asarray(x.y.min()),
        "residual": np.asarray(residual + 1e-6),
    }


def _sizes(rng, shape, _distribution, _dims):
    return np.geomspace(1e3, 1e8, shape[0]) * np.exp(0.1 * rng.standard_normal(shape))


def _losses(rng, shape, distribution, _dims):
    """Of a law with some noise, which depends on what sizes there are."""
    alpha, constant = rng.uniform(0.15, 0.5), rng.uniform(0.3, 2)
    clean = constant + np.exp(alpha * (np.log(2e5) - np.log(np.geomspace(1e3, 1e8, shape[0]))))
    return clean * np.exp({"constant": 0.0, "heavy": 0.02}.get(distribution, 0.005) * rng.standard_normal(shape))


OPTIONS = {"with_constant": [True, False]}
SAMPLERS = {"x": _sizes, "y": _losses}
SHAPES = [{"n": n} for n in (7, 8, 9, 12, 16, 31, 33, 64, 257)]

EXAMPLES = [
    {
        "inputs": {"x": [1000.0, 10000.0, 100000.0, 1000000.0, 10000000.0], "y": [3.614742526881, 2.689207115003, 2.168740304976, 1.876060309309, 1.711474252688]},
        "outputs": {"alpha": 0.25, "log_x0": 9.903487552536, "l_inf": 1.5, "residual": 0.0},
    }
]


def test_recovers_a_law(call):
    x = np.geomspace(1e2, 1e9, 12)
    for alpha, log_x0, l_inf in ((0.3, 8.0, 1.25), (0.05, 20.0, 0.0), (0.8, 5.0, 3.0)):
        y = l_inf + np.exp(alpha * (log_x0 - np.log(x)))
        result = call(np.float32(x), np.float32(y))
        assert abs(result.alpha - alpha) < 2e-4 * alpha and abs(result.l_inf - l_inf) < 2e-4, (alpha, result)
        assert result.residual < 1e-6


def test_a_law_without_constant_is_a_line(call):
    rng = np.random.default_rng(0)
    x, y = np.float32(np.geomspace(1e2, 1e7, 9)), np.float32(np.geomspace(9, 2, 9) * np.exp(0.1 * rng.standard_normal(9)))
    slope, offset = np.polyfit(np.log(x.astype(float)), np.log(y.astype(float)), 1)
    result = call(x, y, with_constant=False)
    assert abs(result.alpha / -slope - 1) < 1e-6 and result.l_inf == 0
    assert abs(result.log_x0 / (offset / -slope) - 1) < 1e-6


def test_losses_that_grow_have_no_exponent(call):
    x = np.float32([1, 2, 4, 8, 16])
    result = call(x, x)
    assert abs(result.alpha / 1e-6 - 1) < 1e-6


def test_too_few_measurements(call):
    three = np.float32([3, 2, 1])
    assert np.isfinite(call(three[::-1].copy(), three, with_constant=False).alpha)
    try:
        call(three, three)
    except ValueError as error:
        assert "'n' is 3" in str(error) and "at least 4" in str(error)
    else:
        raise AssertionError


def test_nan_everywhere(call):
    x = np.float32([1, 2, 3, 4, 5])
    for bad in (0, 1):
        inputs = [x.copy(), x.copy()]
        inputs[bad][2] = np.nan
        result = call(*inputs)
        assert np.isnan([result.alpha, result.log_x0, result.l_inf, result.residual]).all()
