#!/usr/bin/env python3
"""The table of entries in README.md, from what the library says about itself.

    python tests/scripts/entry_table.py             prints it
    python tests/scripts/entry_table.py --update    writes it into README.md

LOSSKIT_LIBRARY names the library; without it the one that `cargo build --release` made is asked.
"""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
README = os.path.join(ROOT, "README.md")
BEGIN, END = "<!-- entries:begin -->", "<!-- entries:end -->"
FLOATS = {"float": "f32, f16, bf16", "f32": "f32"}


def _dtypes(entry):
    kinds = {FLOATS[i.type] for i in entry.inputs.values() if i.type in FLOATS}
    return max(kinds, key=len, default="-")


def _row(entry):
    devices = ["yes" if device in entry.devices else "no" for device in ("cpu", "cuda")]
    gradients = ", ".join(f"`{name}`" for name in entry.differentiable) or "-"
    one_pass = "yes" if "forward_backward" in entry.functions else "no"
    return [f"`{entry.name}`", entry.summary.replace("|", "\\|"), *devices, _dtypes(entry), gradients, one_pass]


def table():
    import losskit

    lines, family = [], None
    for entry in losskit.entries().values():
        if entry.family != family:
            family = entry.family
            lines += ["", f"**{family.replace('_', ' ').capitalize()}**", ""]
            lines += ["| entry | what it is | CPU | CUDA | dtypes | gradients of | one pass |", "|---|---|---|---|---|---|---|"]
        lines.append("| " + " | ".join(_row(entry)) + " |")
    return "\n".join(lines[1:])


def split(text):
    """README before, between and after the markers."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"README.md needs the lines {BEGIN} and {END}, each once")
    before, rest = text.split(BEGIN)
    between, after = rest.split(END)
    return before, between.strip("\n"), after


def main():
    sys.path.insert(0, os.path.join(ROOT, "bindings", "python"))
    if sys.argv[1:] == ["--update"]:
        with open(README, encoding="utf-8") as file:
            before, _, after = split(file.read())
        with open(README, "w", encoding="utf-8") as file:
            file.write(f"{before}{BEGIN}\n{table()}\n{END}{after}")
    elif sys.argv[1:]:
        raise SystemExit(__doc__)
    else:
        print(table())


if __name__ == "__main__":
    main()
