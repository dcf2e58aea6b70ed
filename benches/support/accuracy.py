"""Errors against the float64 references that the tests have."""

import numpy as np
import torch
from harness import Subject

from . import calls

#: How far torch, which computes f16 and bf16 with roundings in between, may be from the library.
AGREEMENT = {"f32": 1e-4, "f16": 2e-2, "bf16": 1e-1}


def difference(a, b):
    """Largest difference relative to the largest of the row in `b`."""
    a, b = a.double(), b.double()
    largest = b.abs().amax(-1, keepdim=True) if b.dim() > 1 else b.abs().max()
    ratio = (a - b).abs() / largest.clamp_min(torch.finfo(torch.float32).tiny)
    return float("inf") if ratio.isnan().any() else float(ratio.max())


def disagreement(losskit, other, dtype):
    """Says where torch computed something else, if it did."""
    parts = [("loss", losskit.loss, other.loss)]
    parts += [(f"gradient of {name}", losskit.gradients[name], g) for name, g in other.gradients.items()]
    for what, ours, theirs in parts:
        # In pieces: these may be large.
        rows = max(1, (1 << 24) // max(1, ours[0].numel() if ours.dim() > 1 else 1))
        pieces = zip(theirs.split(rows), ours.split(rows)) if ours.dim() else [(theirs, ours)]
        worst = max(difference(a, b) for a, b in pieces)
        if not worst <= AGREEMENT[dtype]:
            return f"{what} differs by {worst:.2g}"
    return None


def errors(case, entry, dtype, context, elements=1 << 18):
    """Relative error of the mean loss and largest error of a gradient relative to the largest of its row, for
    the library and for torch, on few rows."""
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
        loss = float(subject.reference(x, case.options)[subject.first])
        exact = subject.gradients(x, case.options, calls.SCALES[dtype]) or {}

    def of(side):
        worst = [difference(g, torch.from_numpy(exact[n])) for n, g in side.gradients.items() if n in exact]
        return {"loss": abs(float(side.loss) - loss) / abs(loss), "gradient": max(worst, default=None)}

    losskit = calls.Losskit(case, entry, shape, dtype, inputs)
    other = calls.Torch(case.torch, case, entry, dtype, inputs)
    losskit(context)
    other()
    return {"losskit": of(losskit), "torch": of(other)}
