"""What a call costs when there is nothing to compute: one row of ten logits."""

import pathlib
import re
import shutil
import subprocess
import tempfile
import timeit

import losskit
import losskit.torch
import numpy as np
import torch
import torch.nn.functional as F
from losskit import _library

from . import ROOT


def from_c():
    """Nanoseconds by what the program says of them, or why there are none."""
    compiler = shutil.which("cc")
    library = pathlib.Path(_library.PATH).with_name("liblosskit.a")
    if not compiler or not library.is_file():
        return {}, f"no C figure: {'no cc' if not compiler else f'no {library}'}"
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/call_overhead"
        source = ROOT / "benches" / "call_overhead.c"
        build = [compiler, "-O2", f"-I{ROOT / 'include'}", source, library, "-lpthread", "-ldl", "-lm", "-o", program]
        built = subprocess.run(build, capture_output=True, text=True)
        if built.returncode:
            return {}, f"no C figure: {built.stderr.strip().splitlines()[-1]}"
        text = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^(.+): (\d+) ns per call", text, re.MULTILINE)
    return {f"C: {what}": float(ns) for what, ns in found}, None


def from_python(rounds):
    logits, labels = np.zeros((1, 10), np.float32), np.array([3])
    tensor, index = torch.zeros(1, 10, requires_grad=True), torch.tensor([3])

    def backward(function):
        def run():
            tensor.grad = None
            function(tensor, index).backward()

        return run

    calls = {
        "Python: losskit.token_cross_entropy.forward_backward, numpy": lambda: (
            losskit.token_cross_entropy.forward_backward(logits, labels)
        ),
        "Python: losskit.torch.token_cross_entropy and .backward()": backward(losskit.torch.token_cross_entropy),
        "Python: torch.nn.functional.cross_entropy and .backward()": backward(F.cross_entropy),
    }
    return {name: 1e9 * min(timeit.repeat(call, number=2000, repeat=rounds)) / 2000 for name, call in calls.items()}
