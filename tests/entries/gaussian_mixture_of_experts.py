"""gaussian_mixture_of_experts: -log sum_i pi_i N(y; mean_i, v_i), scores and means linear in x."""

from types import SimpleNamespace

import numpy as np

from harness import linear


def _exps(t):
    """exp(t) over its sum, and the logarithm of the sum."""
    top = t.max(axis=1, keepdims=True)
    e = np.exp(t - top)
    total = e.sum(axis=1, keepdims=True)
    return e / total, (top + np.log(total))[:, 0]


def _rows(x, o):
    score, score_size = linear.logits(x.x, x.gate_weight, x.gate_bias)
    mean, mean_size = linear.logits(x.x, x.expert_weight, x.expert_bias)
    rows, experts = score.shape
    chosen = np.zeros((rows, experts), bool)
    order = np.argsort(-score, axis=1, kind="stable")[:, : o.k or experts]
    np.put_along_axis(chosen, order, True, 1)
    error, precision = x.y[:, None] - mean, np.exp(-x.log_variance)
    joint = score - 0.5 * (error**2 * precision + x.log_variance + np.log(2 * np.pi))
    gate, all_gates = _exps(np.where(chosen, score, -np.inf))
    share, all_joints = _exps(np.where(chosen, joint, -np.inf))
    # What an exponent's rounding is relative to.
    of_density = np.abs(error) * (mean_size + np.abs(x.y)[:, None]) * precision + np.abs(x.log_variance)
    return SimpleNamespace(
        gate=gate, share=share, error=error, precision=precision, loss=all_gates - all_joints, score_size=score_size,
        mean_size=mean_size, of_density=of_density,
    )  # fmt: skip


def reference(x, o):
    if len(x.x) == 0:
        return {"loss": np.zeros(0)}
    return {"loss": _rows(x, o).loss}


def _spread(x, score, mean, variance, size=lambda v: v):
    return {
        "x": score @ size(x.gate_weight) + mean @ size(x.expert_weight),
        "gate_weight": score.T @ size(x.x),
        "gate_bias": score.sum(axis=0),
        "expert_weight": mean.T @ size(x.x),
        "expert_bias": mean.sum(axis=0),
        "log_variance": variance.sum(axis=0),
    }


def gradient(x, o, s):
    if len(x.x) == 0:
        return {name: np.zeros_like(getattr(x, name)) for name in ("x", "gate_weight", "gate_bias", "expert_weight", "expert_bias", "log_variance")}
    r, s = _rows(x, o), s[:, None]
    mean = -s * r.share * r.error * r.precision
    return _spread(x, s * (r.gate - r.share), mean, 0.5 * s * r.share * (1 - r.error**2 * r.precision))


def scale(x, o):
    """Errors of scores and means, which are sums of products, by what the loss makes of them."""
    if len(x.x) == 0:
        return {"loss": np.zeros(0)}
    r = _rows(x, o)
    size = (r.gate * r.score_size).sum(axis=1) + (r.share * (r.score_size + r.of_density)).sum(axis=1)
    return {"loss": np.abs(r.loss) + 1 + size}


def gradient_scale(x, o, s):
    """An error of an exponent is a relative error of its term, and of all terms by its share of their sum."""
    r, s = _rows(x, o), np.abs(s)[:, None]
    of_joint = r.score_size + r.of_density
    gate = r.gate * (1 + r.score_size + (r.gate * r.score_size).sum(axis=1, keepdims=True))
    share = r.share * (1 + of_joint + (r.share * of_joint).sum(axis=1, keepdims=True)) + linear.UNDERFLOW
    size = np.abs(r.error) + r.mean_size
    sizes = _spread(x, s * (gate + share), s * share * size * r.precision, s * share * (1 + size**2 * r.precision), np.abs)
    for name in ("x", "gate_weight", "expert_weight"):
        sizes[name] = np.broadcast_to(sizes[name].max(axis=1, keepdims=True), sizes[name].shape)
    return sizes


def _grid(values, sizes):
    """Where a choice is made, scores that no sum of products rounds."""
    return np.clip(np.round(values * 16) / 16, -3, 3) if 0 < sizes["k"] < sizes["experts"] else values


def _x(rng, shape, distribution, sizes):
    spread = {"normal": 1, "heavy": 3, "offset": 1, "constant": 0, "extreme": 8, "tiny": 1e-4}[distribution]
    return _grid(spread * rng.standard_normal(shape) + (distribution in ("offset", "constant")), sizes)


def _y(rng, shape, distribution, sizes):
    return {"extreme": 8, "tiny": 1e-4}.get(distribution, 1.5) * rng.standard_normal(shape)


def _weight(rng, shape, distribution, sizes):
    if distribution == "constant":
        return np.full(shape, 0.5 / sizes["d"])
    return rng.standard_normal(shape) / np.sqrt(sizes["d"])


def _gate_weight(rng, shape, distribution, sizes):
    return _grid(2 * _weight(rng, shape, distribution, sizes), sizes)


def _gate_bias(rng, shape, distribution, sizes):
    return _grid(np.full(shape, 0.5) if distribution == "constant" else rng.standard_normal(shape), sizes)


def _log_variance(rng, shape, distribution, sizes):
    return rng.uniform(-2, 2, shape) if distribution != "extreme" else rng.choice([-4, 0, 6], shape)


SAMPLERS = {
    "x": _x, "y": _y, "gate_weight": _gate_weight, "gate_bias": _gate_bias, "expert_weight": _weight, "expert_bias": _y,
    "log_variance": _log_variance,
}  # fmt: skip


def possible(dims, o):
    return o.k <= dims["experts"]


OPTIONS = {"k": [0, 1, 2, 3, 20, 700]}

#: Around vectors, around the units and tiles of the CPU and of the kernels.
SHAPES = [
    {"rows": r, "d": d, "experts": n}
    for r, d, n in [
        (3, 5, 4), (1, 1, 1), (5, 3, 2), (2, 1, 7), (7, 16, 13), (4, 33, 31), (17, 8, 64), (63, 17, 65), (130, 20, 9),
        (65, 64, 129), (5, 130, 511), (260, 7, 520), (2, 20, 1025), (1100, 3, 16), (300, 2, 4100),
    ]
]  # fmt: skip

EXAMPLES = [
    {
        "inputs": {
            "x": [[0.5, -1.0]],
            "y": [0.75],
            "gate_weight": [[1.0, 0.0], [0.0, 1.0]],
            "gate_bias": [0.0, 0.5],
            "expert_weight": [[1.0, 0.5], [-0.5, 0.25]],
            "expert_bias": [0.0, 0.1],
            "log_variance": [0.0, -0.5],
        },
        "options": {"k": 2},
        "outputs": {"loss": 1.322537947951},
        "gradients": {
            "x": [[-0.550040128387, -0.297060491534]],
            "gate_weight": [[-0.047573243511, 0.095146487022], [0.047573243511, -0.095146487022]],
            "gate_bias": [-0.095146487022, 0.095146487022],
            "expert_weight": [[-0.30982689962, 0.619653799239], [-0.164760157874, 0.329520315749]],
            "expert_bias": [-0.619653799239, -0.329520315749],
            "log_variance": [0.180732358111, -0.102576714382],
        },
    }
]


def _sample(call, rows=40, d=6, experts=10, seed=0):
    rng = np.random.default_rng(seed)
    draw = lambda *shape: call.floats(rng.standard_normal(shape))  # noqa: E731
    return {
        "x": draw(rows, d), "y": draw(rows), "gate_weight": draw(experts, d), "gate_bias": draw(experts),
        "expert_weight": draw(experts, d), "expert_bias": draw(experts), "log_variance": draw(experts),
    }  # fmt: skip


def test_one_expert_is_a_gaussian(call):
    for x in (_sample(call, experts=1), {**_sample(call), "k": 1}):
        result = call(**x, reduction="none")
        f = {name: np.asarray(v).astype(float) for name, v in x.items()}
        best = np.argmax(f["x"] @ f["gate_weight"].T + f["gate_bias"], axis=1)
        mean = (f["x"] * f["expert_weight"][best]).sum(axis=1) + f["expert_bias"][best]
        v = f["log_variance"][best]
        expected = 0.5 * ((f["y"] - mean) ** 2 * np.exp(-v) + v + np.log(2 * np.pi))
        np.testing.assert_allclose(result.loss, expected, rtol=1e-5, atol=1e-5)
        assert np.abs(result.backward()["gate_weight"].astype(float)).max() < 1e-4


def test_all_chosen_is_no_choice(call):
    x = _sample(call)
    none, all_of_them = call(**x), call(**x, k=10)
    assert abs(none.loss - all_of_them.loss) < 1e-6
    for name, g in none.backward().items():
        np.testing.assert_array_equal(g, all_of_them.backward()[name])


def test_experts_that_are_not_chosen_get_nothing(call):
    """Not even where their means are not finite."""
    x = _sample(call)
    x["gate_bias"][[2, 5]] = -100
    x["expert_bias"][2] = np.inf
    x["expert_bias"][5] = np.nan
    result = call(**x, k=4)
    assert np.isfinite(result.loss)
    for name, g in result.backward().items():
        g = g.astype(float)
        assert name != "x" or np.isfinite(g).all()
        assert name == "x" or not g[[2, 5]].any()


def test_a_gradient_alone_is_the_same(call):
    x = _sample(call, 300, 20, 17)
    both = call(**x, k=3).backward()
    for name in both:
        alone = call(**x, k=3).backward(wanted=[name])
        assert list(alone) == [name] and alone[name].tobytes() == both[name].tobytes()
