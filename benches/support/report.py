"""Tables."""

from .machine import DISTURBED

BEGIN, END = "<!-- figures:begin -->", "<!-- figures:end -->"

_COLUMNS = [
    # heading, width, text of a row
    ("case", 44, lambda r: r["case"]),
    ("size", 12, lambda r: r["size"]),
    ("dtype", 5, lambda r: r["dtype"]),
    ("losskit ms", 10, lambda r: number(r["losskit_ms"])),
    ("x floor", 7, lambda r: number(r["x_floor"])),
    ("1 thr ms", 8, lambda r: number(r["losskit_one_thread_ms"])),
    ("x floor", 7, lambda r: number(r["x_floor_one_thread"])),
    ("torch ms", 8, lambda r: number(r["torch_ms"])),
    ("torch/lk", 8, lambda r: number(r["torch_per_losskit"])),
    ("compiled", 8, lambda r: number(r["torch_compile_ms"])),
    ("comp/lk", 7, lambda r: number(r["torch_compile_per_losskit"])),
    ("copy GB/s", 9, lambda r: number(r["copy_gb_per_s"])),
    ("others", 6, lambda r: f"{r['others']:.2f}"),
    ("MiB lk/torch", 12, lambda r: pair(r["losskit_extra_mib"], r["torch_extra_mib"], "{:.0f}")),
]


def number(value):
    """Three digits."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def count(n):
    return f"{n >> 20} Mi" if n >= 1 << 20 and n % (1 << 20) == 0 else str(n)


def pair(one, two, form="{:.1e}"):
    texts = ["-" if value is None else form.format(value) for value in (one, two)]
    return "-" if texts == ["-", "-"] else " / ".join(texts)


def _line(texts, widths):
    return "  ".join(t.ljust(w) if i < 3 else t.rjust(w) for i, (t, w) in enumerate(zip(texts, widths))).rstrip()


def head():
    return _line([c[0] for c in _COLUMNS], [c[1] for c in _COLUMNS])


def row(result):
    line = _line([c[2](result) for c in _COLUMNS], [c[1] for c in _COLUMNS])
    wrong = f"  LOSSKIT: {result['problem']}" if result["problem"] else ""
    return line + wrong + (f"  {result['note']}" if result["note"] else "")


def errors_table(errors):
    titles = ["case", "dtype", "loss: losskit", "torch", "gradient: losskit", "torch"]
    widths = [44, 5, 13, 8, 17, 8]
    lines = ["  ".join(t.ljust(w) for t, w in zip(titles, widths)).rstrip()]
    for e in errors:
        figures = [e[side][what] for what in ("loss", "gradient") for side in ("losskit", "torch")]
        texts = [e["case"], e["dtype"], *("-" if f is None else f"{f:.1e}" for f in figures)]
        lines.append("  ".join(t.ljust(w) for t, w in zip(texts, widths)).rstrip())
    return "\n".join(lines)


def table(head, rows):
    lines = [head, ["---"] * 2 + ["---:"] * (len(head) - 2)] + rows
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def markdown(report, sentence, cases):
    """The tables of README.md."""
    dtypes = report["dtypes"]
    found = {(r["case"], r["size"], r["dtype"]): r for r in report["results"]}
    errors = {(e["case"], e["dtype"]): e for e in report["errors"]}
    speed, quality, notes = [], [], False
    for case in cases:
        for size in list(dict.fromkeys(r["size"] for r in report["results"] if r["case"] == case.name))[: case.in_readme]:
            cells = [case.name, size]
            for dtype in dtypes:
                r = found.get((case.name, size, dtype))
                if r is None:
                    cells += ["-"] * 3
                    continue
                star = "\\*" if r["note"] else ""
                ratio = "disturbed" if r["others"] > DISTURBED else number(r["torch_per_losskit"])
                cells += [number(r["losskit_ms"]), number(r["x_floor"]), ratio + star]
                notes |= bool(star)
            speed.append(cells)
        if not case.in_readme:
            continue
        first = next(r for r in report["results"] if r["case"] == case.name)
        cells = [case.name, first["size"]]
        cells.append(pair(first["losskit_extra_mib"], first["torch_extra_mib"], "{:.0f} MiB"))
        for dtype in dtypes:
            e = errors.get((case.name, dtype))
            cells.append(pair(e["losskit"]["gradient"], e["torch"]["gradient"]) if e else "-")
        quality.append(cells)
    titles = ["forward and backward", "size"]
    for dtype in dtypes:
        titles += [f"{dtype}: ms", "x copy", "torch"]
    calls = "\n".join(f"- {name}: {number(ns / 1000)} µs" for name, ns in report["overhead_ns"].items())
    blocks = [
        f"{sentence}. All threads; medians of runs in which losskit, torch and copies took turns.",
        "*x copy*: time relative to a plain copy that moves as many bytes as the call must, inputs read once and "
        "gradients written once. *torch*: how many times as long torch's eager forward and backward takes at best.",
        table(titles, speed),
        "\\* In this type torch's loss or gradient is far from what it computes in f32: a sum overflows, say." if notes else None,
        f"Memory needed besides inputs and gradients ({dtypes[0]}), and largest error of a gradient against "
        "float64, relative to the largest of its row; losskit / torch:",
        table(["", "size", "extra memory", *(f"{dtype} error" for dtype in dtypes)], quality),
        "One call on 1 x 10 logits, forward and backward:",
        calls,
    ]
    return "\n\n".join(block for block in blocks if block)


def update(path, text, begin=BEGIN, end=END):
    """Replaces what is between the markers of a file."""
    content = path.read_text()
    if content.count(begin) != 1 or content.count(end) != 1 or content.index(begin) > content.index(end):
        raise SystemExit(f"{path} needs the lines {begin} and {end}, once and in this order")
    before, _, rest = content.partition(begin)
    after = rest.partition(end)[2]
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")
