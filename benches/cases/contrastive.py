import math

import torch
import torch.nn.functional as F

from . import Case

ROWS = ((8192, 256), (2048, 512), (256, 128))


def unit(x):
    return F.normalize(x, dim=1)


def info_nce(x):
    logits = unit(x.a) @ unit(x.b).T / 0.07
    return F.cross_entropy(logits, torch.arange(len(logits)))


def clip_loss(x, label_smoothing=0.0):
    logits = x.scale.to(x.a.dtype) * (unit(x.a) @ unit(x.b).T)
    targets = torch.arange(len(logits))
    rows, columns = (F.cross_entropy(s, targets, label_smoothing=label_smoothing) for s in (logits, logits.T))
    return (rows + columns) / 2


def nt_xent(x):
    z = unit(torch.cat([x.a, x.b]))
    logits = z @ z.T / 0.5
    n = len(x.a)
    logits = logits.masked_fill(torch.eye(2 * n, dtype=torch.bool), float("-inf"))
    return F.cross_entropy(logits, torch.arange(2 * n).roll(n))


def isogclr(x):
    """With gamma = 1, where the moving average plays no part and autograd finds the estimator's gradient."""
    s, t = unit(x.a) @ unit(x.b).T, x.temperatures.to(x.a.dtype)
    h = (s - s.diagonal()[:, None]) / t[:, None]
    others = h.masked_fill(torch.eye(len(h), dtype=torch.bool), float("-inf"))
    return (t * (others.logsumexp(1) - math.log(len(h) - 1) + 0.3)).mean()


def zeros(shape, generator):
    return torch.zeros(shape)


def tenths(shape, generator):
    return torch.full(shape, 0.1)


def fourteen(shape, generator):
    return torch.full(shape, 1 / 0.07)


BOTH = ("a", "b")

CASES = [
    Case("info_nce", info_nce, tuple((n, n, d) for n, d in ROWS), gradients=BOTH),
    Case("clip_loss", clip_loss, ROWS, inputs={"scale": fourteen}, gradients=(*BOTH, "scale")),
    Case(
        "clip_loss",
        lambda x: clip_loss(x, 0.1),
        ROWS[1:],
        "label smoothing",
        options={"label_smoothing": 0.1},
        inputs={"scale": fourteen},
        gradients=(*BOTH, "scale"),
    ),
    Case("nt_xent", nt_xent, ROWS, gradients=BOTH),
    Case(
        "isogclr",
        isogclr,
        ROWS,
        options={"gamma": 1.0},
        inputs={"log_u": zeros, "temperatures": tenths},
        gradients=BOTH,
    ),
]
