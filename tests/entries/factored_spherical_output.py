"""factored_spherical_output: a training step of a huge output layer in factors."""

from types import SimpleNamespace

import numpy as np

KINDS = ["z_loss", "spherical", "taylor", "mse"]


def _softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _sums(x):
    h, w = x.hidden, x.v[x.labels] @ x.u + x.omega
    return h, w, (w * h).sum(axis=1), (h @ x.q * h).sum(axis=1), h @ x.wsum


def _variance(x):
    _, _, _, squares, total = _sums(x)
    classes = len(x.v)
    variance = squares / classes - (total / classes) ** 2
    # What is 0 but for rounding.
    return np.where(variance > 1e-12 * np.abs(squares) / classes, variance, 0)


def _loss(x, o):
    """Losses and the three factors of the gradient in the outputs, each of its row alone."""
    _, _, own, squares, total = _sums(x)
    classes, zero = len(x.v), 0 * own
    if o.kind == "spherical":
        f, all_ = own**2 + o.eps, squares + classes * o.eps
        return np.log(all_ / f), 2 / all_, zero, -2 * own / f
    if o.kind == "taylor":
        f, all_ = 1 + own + own**2 / 2, classes + total + squares / 2
        return np.log(all_ / f), 1 / all_, 1 / all_, -(1 + own) / f
    if o.kind == "mse":
        return squares - 2 * own + 1, zero + 2, zero, zero - 2
    mean, variance = total / classes, _variance(x)
    std = np.where(variance > 0, np.sqrt(variance), np.inf)
    u = (own - mean) / std
    g = 1 / (1 + np.exp(-o.a * (o.b - u)))
    loss = _softplus(o.a * (o.b - u)) / o.a
    return loss, g * u / (classes * std**2), g * (1 / classes - u * mean / (std * classes)) / std, -g / std


def reference(x, o):
    h, w, own, squares, total = _sums(x)
    n, classes, d = len(h), len(x.v), h.shape[1]
    loss, alpha, beta, gamma = _loss(x, o)
    alpha, beta, gamma = alpha / max(n, 1), beta / max(n, 1), gamma / max(n, 1)
    out = {"loss": loss.mean() if n else 0.0, "losses": loss}
    out["grad_hidden"] = alpha[:, None] * (h @ x.q) + beta[:, None] * x.wsum + gamma[:, None] * w
    rate = o.learning_rate
    inverse = np.linalg.inv(x.u.astype(float)) if x.u_inv is None else x.u_inv
    m = np.eye(d) - rate * h.T @ (alpha[:, None] * h)
    g, c = beta @ h, gamma @ h
    u_next = x.u @ m
    u_inv_next = np.linalg.inv(m.astype(float)) @ inverse
    v_next = x.v.copy()
    np.add.at(v_next, x.labels, -rate * gamma[:, None] * (h @ u_inv_next))
    wr = -rate * (np.outer(x.wsum, g) + (gamma[:, None] * w).T @ h)
    same = x.labels[:, None] == x.labels
    rr = classes * np.outer(g, g) + np.outer(g, c) + np.outer(c, g)
    rr = rr + (gamma[:, None] * h).T @ same @ (gamma[:, None] * h)
    out |= {
        "v_next": v_next,
        "u_next": u_next,
        "omega_next": m @ x.omega - rate * g,
        "q_next": m @ x.q @ m + m @ wr + wr.T @ m + rate**2 * rr,
        "wsum_next": m @ x.wsum - rate * (classes * g + c),
        "u_inv_next": u_inv_next,
        "condition": np.abs(u_next).sum(axis=0).max() * np.abs(u_inv_next).sum(axis=0).max(),
    }
    return out


def scale(x, o):
    """Terms of different signs: of logarithms in the losses, of products in the state. Where the hinge of the
    z_loss is flat, an error of its argument becomes a relative one."""
    h, w, own, squares, total = _sums(x)
    n, classes = max(len(h), 1), len(x.v)
    out = reference(x, o)
    loss, alpha, beta, gamma = _loss(x, o)
    size = np.abs(loss)
    if o.kind in ("spherical", "taylor"):
        size = size + 1e-8 * np.abs(np.log(np.abs(squares) + classes))
    if o.kind == "mse":
        size = size + 1e-8 * (squares + np.abs(own))
    sizes = {name: np.full(np.shape(value), np.abs(value).max() if np.size(value) else 0) for name, value in out.items()}
    sizes["losses"], sizes["loss"] = size, size.mean() if len(h) else 0
    terms = np.abs(alpha[:, None] * (h @ x.q)) + np.abs(beta[:, None] * x.wsum) + np.abs(gamma[:, None] * w)
    sizes["grad_hidden"] = np.broadcast_to(terms.max(axis=1, keepdims=True) / n, h.shape)
    return sizes


def _hidden(rng, shape, distribution, sizes):
    return {"heavy": 3, "tiny": 1e-3}.get(distribution, 1) * rng.standard_normal(shape) / np.sqrt(shape[1])


def _state(sizes):
    """State of some weights, not far from what belongs together; samplers are called one by one."""
    rng = np.random.default_rng(5)
    classes, d = sizes["classes"], sizes["d"]
    w = rng.standard_normal((classes, d))
    u = np.eye(d) + 0.2 * rng.standard_normal((d, d)) / np.sqrt(d)
    omega = 0.3 * rng.standard_normal(d)
    f32 = np.float32
    u, omega = u.astype(f32).astype(float), omega.astype(f32).astype(float)
    v = ((w - omega) @ np.linalg.inv(u)).astype(f32)
    w = v.astype(float) @ u + omega
    return {"v": v, "u": u, "omega": omega, "q": w.T @ w, "wsum": w.sum(axis=0), "u_inv": np.linalg.inv(u)}


SAMPLERS = {"hidden": _hidden} | {
    name: (lambda rng, shape, distribution, sizes, name=name: _state(sizes)[name])
    for name in ("v", "u", "omega", "q", "wsum", "u_inv")
}

OPTIONS = {
    "kind": KINDS,
    "learning_rate": [0.0, 0.05, 0.5],
    "a": [0.1, 1.0],
    "b": [10.0, 0.0],
    "eps": [0.01, 1.0],
}


def _shape(rows, classes, d):
    return {"rows": rows, "classes": classes, "d": d}


SHAPES = [
    _shape(0, 4, 3), _shape(1, 5, 1), _shape(2, 7, 2), _shape(3, 5, 1), _shape(3, 5, 4), _shape(5, 40, 7), _shape(4, 9, 13), _shape(7, 33, 16),
    _shape(17, 129, 17), _shape(65, 50, 33), _shape(33, 400, 70), _shape(70, 1000, 130), _shape(130, 31, 9),
]  # fmt: skip

EXAMPLES = [
    {
        "inputs": {
            "hidden": [[-0.158150078185, 0.205815268187]],
            "labels": [0],
            "v": [
                [0.088904693723, -0.09341224283], [0.452847212553, 0.074175581336], [-0.378775447607, 0.255686312914],
                [0.922067284584, 0.669687390327], [-0.497615963221, -0.894788086414],
            ],
            "u": [[0.937672555447, 0.004132597707], [-0.232503071427, 0.978120803833]],
            "omega": [-0.124591097236, -0.073226734996],
            "q": [[0.859304670967, 0.615380487161], [0.615380487161, 1.304090767147]],
            "wsum": [-0.074779245508, -0.352605422969],
        },
        "options": {"kind": "z_loss", "learning_rate": 0.05, "a": 0.5, "b": 3.0, "eps": 0.1},
        "outputs": {
            "loss": 3.583625142717,
            "losses": [3.583625142717],
            "grad_hidden": [[0.09632129107, 0.074014041076]],
            "q_next": [[0.86560363862, 0.608759546124], [0.608759546124, 1.310655581349]],
            "wsum_next": [-0.074779245508, -0.352605422969],
        },
    }
]  # fmt: skip

STATE = ("v", "u", "omega", "q", "wsum", "u_inv")


def _start(classes, d, seed=0):
    rng = np.random.default_rng(seed)
    w = (rng.standard_normal((classes, d)) / np.sqrt(d)).astype(np.float32)
    wide = w.astype(float)
    eye = np.eye(d, dtype=np.float32)
    return {
        "v": w, "u": eye, "omega": np.zeros(d, np.float32), "q": (wide.T @ wide).astype(np.float32),
        "wsum": wide.sum(axis=0).astype(np.float32), "u_inv": eye,
    }  # fmt: skip


def _dense(state):
    return state["v"].astype(float) @ state["u"].astype(float) + state["omega"].astype(float)


def _dense_step(w, h, y, o):
    """Loss, gradients and SGD on the weights themselves, from the outputs of all classes."""
    x = SimpleNamespace(
        hidden=h, labels=y, v=w, u=np.eye(w.shape[1]), omega=np.zeros(w.shape[1]), q=w.T @ w, wsum=w.sum(axis=0), u_inv=None
    )
    loss, alpha, beta, gamma = _loss(x, o)
    g = alpha[:, None] * (h @ w.T) + beta[:, None]
    g[np.arange(len(y)), y] += gamma
    g /= len(y)
    return loss.mean(), g @ w, w - o.learning_rate * g.T @ h


def test_the_outputs_gradient_is_that_of_the_loss(call):
    """`_loss` against differences of the losses as functions of all outputs, which do without the sums."""
    rng = np.random.default_rng(2)
    outputs, y = rng.standard_normal((3, 6)), np.array([1, 0, 5])
    own = np.eye(6)[y]

    def plain(z, kind):
        label = z[np.arange(3), y]
        if kind == "mse":
            return ((z - own) ** 2).sum(axis=1)
        if kind == "z_loss":
            u = (label - z.mean(axis=1)) / z.std(axis=1)
            return _softplus(0.7 * (2 - u)) / 0.7
        f = z**2 + 0.1 if kind == "spherical" else 1 + z + z**2 / 2
        return np.log(f.sum(axis=1)) - np.log(f[np.arange(3), y])

    for kind in KINDS:
        o = SimpleNamespace(kind=kind, a=0.7, b=2.0, eps=0.1, learning_rate=0.0)
        x = SimpleNamespace(hidden=outputs, labels=y, v=np.eye(6), u=np.eye(6), omega=np.zeros(6), q=np.eye(6), wsum=np.ones(6))
        loss, alpha, beta, gamma = _loss(x, o)
        assert np.allclose(loss, plain(outputs, kind), rtol=1e-12)
        closed = alpha[:, None] * outputs + beta[:, None] + gamma[:, None] * own
        for k in range(6):
            step = 1e-5 * np.eye(6)[k]
            slope = (plain(outputs + step, kind) - plain(outputs - step, kind)) / 2e-5
            assert np.allclose(closed[:, k], slope, rtol=1e-7, atol=1e-8), kind


def _next(result):
    return {name: getattr(result, f"{name}_next") for name in STATE}


def test_one_step_is_the_dense_step(call):
    rng = np.random.default_rng(1)
    for kind in KINDS:
        state = _start(50, 8)
        o = SimpleNamespace(kind=kind, a=1.0, b=2.0, eps=0.1, learning_rate=0.1)
        for _ in range(3):  # the first has u = identity
            h = call.floats(rng.standard_normal((6, 8)) / 3)
            y = np.array([3, 3, 49, 0, 7, 3])
            w = _dense(state)
            loss, gradient, stepped = _dense_step(w, h.astype(float), y, o)
            result = call(h, y, **state, **vars(o))
            state = _next(result)
            assert np.isclose(result.loss, loss, rtol=2e-6)
            assert np.abs(result.grad_hidden.astype(float) - gradient).max() <= (2e-6 if h.itemsize == 4 else 1e-2) * np.abs(gradient).max()
            made = _dense(state)
            assert np.abs(made - stepped).max() <= 1e-6 * np.abs(stepped).max(), kind
            assert np.abs(state["q"] - made.T @ made).max() <= 1e-6 * np.abs(state["q"]).max(), kind
            assert np.abs(state["wsum"] - made.sum(axis=0)).max() <= 3e-6 * np.abs(made).sum(axis=0).max(), kind
            assert np.abs(state["u"].astype(float) @ state["u_inv"].astype(float) - np.eye(8)).max() < 1e-5


def test_a_thousand_steps(call):
    """Within 1e-3 of dense training, with and without the inverse kept, and refreshed in between."""
    if call.dtype.itemsize != 4 or call.context.kind != "cpu":
        return
    for kind, rate in (("spherical", 0.3), ("z_loss", 0.3), ("taylor", 0.3), ("mse", 0.02)):
        for kept in (True, False):
            rng = np.random.default_rng(3)
            o = SimpleNamespace(kind=kind, a=1.0, b=2.0, eps=0.1, learning_rate=rate)
            state = _start(200, 10)
            w = _dense(state)
            refresh = call.other("factored_spherical_refresh")
            for step in range(1000):
                h = (rng.standard_normal((8, 10)) / 3).astype(np.float32)
                y = rng.integers(0, 200, 8)
                loss, _, w = _dense_step(w, h.astype(float), y, o)
                if not kept:
                    state["u_inv"] = None
                result = call(h, y, **state, **vars(o))
                state = _next(result)
                assert np.isclose(result.loss, loss, rtol=1e-3)
                if result.condition > 1e4:
                    fresh = refresh(state["v"], state["u"], state["omega"])
                    state |= {"v": fresh.v_next, "u": fresh.u_next, "q": fresh.q_next, "wsum": fresh.wsum_next, "u_inv": fresh.u_next}
            assert np.abs(_dense(state) - w).max() <= 1e-3 * np.abs(w).max(), kind


def test_evaluation_leaves_the_state(call):
    state = _start(20, 5)
    h = call.floats(np.ones((2, 5)))
    result = call(h, [1, 2], **state)
    for name, value in _next(result).items():
        assert value.tobytes() == state[name].tobytes()
    assert result.condition == 1
    result = call(h[:0], np.zeros(0, int), **state, learning_rate=1.0)
    for name, value in _next(result).items():
        assert value.tobytes() == state[name].tobytes()
    assert result.loss == 0
