"""What `compare.py` is made of. Puts the Python package and the float64 references of the tests on the path."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bindings" / "python"), str(ROOT / "tests")]
