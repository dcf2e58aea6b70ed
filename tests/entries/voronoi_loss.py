"""voronoi_loss: fitted components in the cells of true ones."""

import numpy as np


def _norm(v):
    return np.sqrt((v**2).sum(axis=-1))


def _terms(x, o):
    pairs = [(x.gate_weight, x.true_gate_weight), (x.expert_weight, x.true_expert_weight)]
    distances = [_norm(p[:, None] - q) for p, q in pairs]
    distances += [np.abs(p[:, None] - q) for p, q in ((x.expert_bias, x.true_expert_bias), (x.variance, x.true_variance))]
    cells = np.argmin(sum(d**2 for d in distances), axis=1)
    members = np.bincount(cells, minlength=len(x.true_gate_bias))
    weights = np.exp(x.gate_bias)
    masses = np.bincount(cells, weights, minlength=len(members))
    moved = []
    for i, j in enumerate(cells):
        r = 1 if not o.over_specified or members[j] == 1 else 4 if members[j] == 2 else 6
        powers = (r, max(r // 2, 1), r, max(r // 2, 1))
        moved.append(sum(d[i, j] ** p for d, p in zip(distances, powers)))
    return cells, masses, np.exp(x.true_gate_bias), (weights * moved).sum()


def reference(x, o):
    cells, masses, true_masses, moved = _terms(x, o)
    return {"value": np.asarray(np.abs(masses - true_masses).sum() + moved), "cells": cells}


def _bias(rng, shape, distribution, sizes):
    return {"constant": 0, "tiny": 1e-4, "extreme": 8, "heavy": 3}.get(distribution, 1) * rng.standard_normal(shape)


def _parameters(rng, shape, distribution, sizes):
    if distribution == "constant":
        return np.full(shape, 0.75)  # all distances are equal
    return {"tiny": 1e-4, "extreme": 30, "heavy": 5}.get(distribution, 1) * rng.standard_normal(shape) + (distribution == "offset")


def _variance(rng, shape, distribution, sizes):
    return np.abs(_parameters(rng, shape, distribution, sizes))


_KINDS = {"gate_bias": _bias, "gate_weight": _parameters, "expert_weight": _parameters, "expert_bias": _parameters, "variance": _variance}
SAMPLERS = {prefix + name: sampler for name, sampler in _KINDS.items() for prefix in ("", "true_")}

OPTIONS = {"over_specified": [False, True]}

SHAPES = [
    {"m": m, "k": k, "d": d}
    for m, k, d in [(3, 2, 1), (1, 1, 1), (2, 5, 3), (5, 1, 4), (9, 3, 33), (17, 16, 7), (40, 8, 64), (130, 60, 5), (300, 70, 100)]
]  # fmt: skip

EXAMPLES = [
    {
        "inputs": {
            "gate_bias": [0.0, 0.5, -1.0],
            "gate_weight": [[1.0], [0.0], [0.25]],
            "expert_weight": [[1.0], [-0.5], [-0.25]],
            "expert_bias": [0.0, 0.1, 0.2],
            "variance": [1.0, 0.5, 0.75],
            "true_gate_bias": [0.1, 0.4],
            "true_gate_weight": [[0.9], [0.1]],
            "true_expert_weight": [[1.1], [-0.4]],
            "true_expert_bias": [0.05, 0.1],
            "true_variance": [0.9, 0.6],
        },
        "outputs": {"value": 1.67689700616, "cells": [0, 1, 1]},
    }
]


def _mixture(call, n, d, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"gate_bias": (n,), "gate_weight": (n, d), "expert_weight": (n, d), "expert_bias": (n,), "variance": (n,)}
    return {name: call.floats(np.abs(rng.standard_normal(shape))) for name, shape in shapes.items()}


def _pair(fitted, truth):
    return {**fitted, **{f"true_{name}": value for name, value in truth.items()}}


def test_of_a_mixture_from_itself_is_zero(call):
    truth = _mixture(call, 7, 4)
    for over in (False, True):
        result = call(**_pair(truth, truth), over_specified=over)
        assert result.value == 0 and result.cells.tolist() == list(range(7))


def test_does_not_depend_on_the_order(call):
    fitted, truth = _mixture(call, 11, 3, 1), _mixture(call, 4, 3, 2)
    order = np.random.default_rng(3).permutation(11)
    one = call(**_pair(fitted, truth), over_specified=True)
    two = call(**_pair({name: v[order] for name, v in fitted.items()}, truth), over_specified=True)
    assert abs(one.value / two.value - 1) < 1e-6
    assert one.cells[order].tolist() == two.cells.tolist()


def test_split_components_cost_nothing(call):
    """Two of half the mass each, where the truth has one."""
    truth = _mixture(call, 3, 2)
    fitted = {name: np.repeat(value, 2, axis=0) for name, value in truth.items()}
    fitted["gate_bias"] = call.floats(fitted["gate_bias"].astype(float) - np.log(2))
    result = call(**_pair(fitted, truth), over_specified=True)
    assert result.cells.tolist() == [0, 0, 1, 1, 2, 2]
    assert result.value < 0.1  # what the type of the call rounds away


def test_a_nan_shows(call):
    fitted, truth = _mixture(call, 5, 3, 1), _mixture(call, 4, 3, 2)
    fitted["expert_weight"][2, 1] = np.nan
    result = call(**_pair(fitted, truth))
    assert np.isnan(result.value) and result.cells[2] == 0
