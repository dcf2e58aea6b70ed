"""Bad calls of every C function: refused, with the right message, nothing written, no crash.

LOSSKIT_FUZZ_CALLS sets how many per device (100000), LOSSKIT_FUZZ_SEED which.
"""

import json
import os
import subprocess
import sys

import pytest

import losskit

HERE = os.path.dirname(os.path.abspath(__file__))
DEVICES = ["cpu"] + (["cuda-emulated"] if "cuda-emulation" in losskit.features() else [])


@pytest.mark.parametrize("device", DEVICES)
def test_bad_calls(device, tmp_path):
    calls = os.environ.get("LOSSKIT_FUZZ_CALLS", "100000")
    seed = os.environ.get("LOSSKIT_FUZZ_SEED", "1")
    log = tmp_path / "last-call"
    command = [sys.executable, os.path.join(HERE, "harness", "fuzz.py")]
    command += ["--calls", calls, "--seed", seed, "--device", device, "--log", str(log)]
    done = subprocess.run(command, capture_output=True, text=True)
    last = log.read_bytes().rstrip(b"\0").decode(errors="replace") if log.exists() else ""
    assert done.returncode == 0, f"ended with {done.returncode} in: {last}\n{done.stderr[-3000:]}"
    counts = json.loads(done.stdout)
    assert counts["bad"] >= int(calls) and counts["good"] > 0
    print(counts)
