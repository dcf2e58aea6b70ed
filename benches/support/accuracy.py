"""Errors against the float64 references that the tests have."""

import numpy as np
import torch
from harness import Subject

from . import calls

#: What torch in f32 and the library may differ by, relative to the largest of the tensor: what torch sums up in
#: f32, a few roundings of the storage type. Errors to the last digit are the tests' business, and of `errors`.
AGREEMENT = {"f32": 3e-4, "f16": 2e-3, "bf16": 1e-2}
#: Torch in f16 and bf16 rounds in between.
CLOSE = {"f32": 1e-4, "f16": 1e-2, "bf16": 5e-2}


def difference(a, b):
    """Largest difference relative to the largest of the row in `b`."""
    a, b = a.double(), b.double()
    largest = b.abs().amax(-1, keepdim=True) if b.dim() > 1 else b.abs().max()
    ratio = (a - b).abs() / largest.clamp_min(torch.finfo(torch.float32).tiny)
    return float("inf") if ratio.isnan().any() else float(ratio.max())


def disagreement(got, expected, bound):
    """Says where `got` is not what `expected` is, if anywhere, beyond a step of what the type has next to 0."""
    parts = [("loss", got.loss, expected.loss)]
    parts += [(f"gradient of {name}", g, expected.gradients[name]) for name, g in got.gradients.items()]
    for what, a, b in parts:
        # In pieces: these may be large.
        pieces = list(zip(a.reshape(-1).split(1 << 24), b.reshape(-1).split(1 << 24)))
        largest = torch.stack([b.abs().max().float() for _, b in pieces]).max()
        step = torch.finfo(a.dtype).tiny * torch.finfo(a.dtype).eps if a.is_floating_point() else 0
        most = torch.stack([(a.double() - b.double()).abs().max() for a, b in pieces]).max()
        worst = float((most - step).clamp_min(0) / (largest or 1))
        if not worst <= bound:
            return f"{what} off by {worst:.2g}"
    return None


def errors(case, entry, dtype, context, elements):
    """Largest error of the first output relative to its largest value, and of a gradient relative to the largest of
    its row, for the library and for torch, on few rows."""
    shape = calls.shrink(case.shapes[0], elements)
    inputs = calls.draw(case, entry, shape, dtype, seed=1)
    subject = Subject(entry.name)
    arrays = {
        name: value.double().numpy() if value.is_floating_point() else value.numpy()
        for name, value in inputs.items()
        if value is not None
    }
    dims = dict(zip(entry.dims, shape))
    x = subject.exact(arrays, free={name: dims[name] for name in entry.free_dims})
    with np.errstate(all="ignore"):
        loss = torch.from_numpy(np.asarray(subject.reference(x, case.options)[subject.first], np.float64))
        if len(entry.outputs) and next(iter(entry.outputs.values())).reduced:
            loss = loss.sum()
        exact = subject.gradients(x, case.options, calls.SCALES[dtype]) or {}

    def of(side):
        worst = [difference(g, torch.from_numpy(exact[n])) for n, g in side.gradients.items() if n in exact]
        largest = loss.abs().max().clamp_min(torch.finfo(torch.float32).tiny)
        return {"loss": float((side.loss.double() - loss).abs().max() / largest), "gradient": max(worst, default=None)}

    losskit = calls.Losskit(case, entry, shape, dtype, inputs)
    other = calls.Torch(case.torch, case, entry, dtype, inputs)
    losskit(context)
    other()
    return {"losskit": of(losskit), "torch": of(other)}
