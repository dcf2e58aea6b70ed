"""Losses on similarities of many rows: memory must not grow with rows x rows."""

import subprocess
import sys

import pytest

import losskit

#: Rows of the similarity matrix are twice those of the input in nt_xent.
ENTRIES = {"info_nce": 65536, "clip_loss": 65536, "nt_xent": 32768}

CALL = """
import sys
import numpy as np
import losskit

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) << 10

name, n, d = sys.argv[1], int(sys.argv[2]), 64
rng = np.random.default_rng(0)
inputs = [rng.standard_normal((n, d), np.float32) for _ in range(2)]
if name == "clip_loss":
    inputs.append(np.ones(1, np.float32))
function = getattr(losskit, name)
function.forward_backward(*[x[:64] if len(x) == n else x for x in inputs])
before = peak()
result = function.forward_backward(*inputs)
assert np.isfinite(result.loss).all() and all(np.isfinite(g).all() for g in result.gradients.values())
print((peak() - before) / (n * d * 4))
"""


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the kernel for the peak of resident memory")
@pytest.mark.parametrize("rows", [32768, 65536])
@pytest.mark.parametrize("name", [name for name in ENTRIES if name in losskit.entries()])
def test_memory(name, rows):
    """Beside the inputs: gradients, workspace (rows and gradients in f32) and what threads hold, in units of an input.
    The similarities would be hundreds of them."""
    n = rows * ENTRIES[name] // 65536
    done = subprocess.run([sys.executable, "-c", CALL, name, str(n)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 9, f"{name}: {done.stdout} times the size of an input"
