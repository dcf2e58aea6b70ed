"""load_balancing_loss: how evenly the tokens' choices and probabilities fall on the experts."""

import numpy as np


def _load(x, o):
    """Shares of the choices, times the number of experts."""
    tokens, experts = x.logits.shape
    chosen = np.argsort(-x.logits, axis=1, kind="stable")[:, : o.k]
    return np.bincount(chosen.reshape(-1), minlength=experts) * (experts / max(tokens * o.k, 1))


def _softmax(z):
    with np.errstate(all="ignore"):
        p = np.exp(z - z.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)


def reference(x, o):
    if not len(x.logits):
        return {"loss": np.zeros(())}
    return {"loss": np.asarray(_softmax(x.logits).mean(axis=0) @ _load(x, o))}


def _lead(x, o):
    """Loads less that of the largest logit: what a gradient is made of where a row is certain of it."""
    load = _load(x, o)
    return load - load[np.argmax(x.logits, axis=1)][:, None]


def gradient(x, o, s):
    if not len(x.logits):
        return {"logits": np.zeros_like(x.logits)}
    p, lead = _softmax(x.logits), _lead(x, o)
    return {"logits": s / len(p) * p * (lead - (p * lead).sum(axis=1, keepdims=True))}


def gradient_scale(x, o, s):
    """Differences of leads; and a probability is as exact as the difference of logits that it is made of."""
    p, lead = _softmax(x.logits), np.abs(_lead(x, o))
    gap = x.logits.max(axis=1, keepdims=True) - x.logits
    p = p * (1 + np.minimum(gap, 100))
    size = np.abs(s) / len(p) * p * (lead + (p * lead).sum(axis=1, keepdims=True))
    return {"logits": np.broadcast_to(size.max(axis=1, keepdims=True), p.shape)}


def possible(dims, o):
    return o.k <= dims["experts"]


OPTIONS = {"k": [2, 1, 3, 8, 20, 1000]}

EXAMPLES = [
    {
        "inputs": {"logits": [[0.5, -1.25, 0.25], [3.0, 0.0, 2.5]]},
        "options": {"k": 2},
        "outputs": {"loss": 1.410707834455},
        "gradients": {"logits": [[0.034184607104, -0.060807605886, 0.026622998782], [0.013611015142, -0.021866513136, 0.008255497994]]},
    }
]


def test_an_even_load_gives_one(call):
    z = call.floats(10 * np.eye(6)[np.arange(30) % 6])
    assert abs(call(z, k=1).loss - 1) < 1e-6
    assert abs(call(z, k=6).loss - 1) < 1e-6
    assert np.abs(call(z, k=6).backward()["logits"].astype(float)).max() < 1e-7


def test_everything_on_one_expert_gives_their_number(call):
    z = call.floats(np.tile(np.float32([0, 40, 0, 0]), (9, 1)))
    assert abs(call(z, k=1).loss - 4) < 1e-5


def test_many_tokens(call):
    """Several parts, and on CUDA several blocks, count."""
    rng = np.random.default_rng(4)
    call.compare({"logits": call.floats(rng.standard_normal((3000, 24)))}, {"k": 2})
