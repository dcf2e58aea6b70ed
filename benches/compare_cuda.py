"""losskit beside a plain copy and torch on a CUDA device, in one run.

    cargo build --release --features cuda
    python benches/compare_cuda.py --quick          # needs torch for CUDA and numpy, nothing else

benches/README.md says how to read the figures.
"""

import argparse
import datetime
import gc
import json
import pathlib
import sys
import traceback
import warnings

from cases import all_cases
from support import ROOT, accuracy, calls, cuda, report

import losskit
import torch

#: Where the table of README.md is.
BEGIN, END = "<!-- cuda-figures:begin -->", "<!-- cuda-figures:end -->"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument("--only", metavar="NAME", action="append", help="entries whose name contains this; repeatable")
    parser.add_argument("--dtype", choices=calls.DTYPES, action="append", help="repeatable; all unless given")
    parser.add_argument("--readme-shapes", action="store_true", help="only the shapes that README.md has")
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path, help="write all figures")
    parser.add_argument("--render", metavar="FILE", type=pathlib.Path, action="append", help="measure nothing, put the figures of --json files into README.md: later ones override")
    return parser.parse_args()


def measure(case, shape, dtype, context, chosen):
    entry = losskit.entries()[case.entry]
    inputs = calls.draw(case, entry, shape, dtype)
    ours = calls.Losskit(case, entry, shape, dtype, inputs)
    eager = calls.Torch(case.torch, case, entry, dtype, inputs)
    copy = cuda.Copy(ours.bytes)
    result = {"case": case.name, "entry": case.entry, "size": " x ".join(map(report.count, shape)), "dtype": dtype, "bytes": ours.bytes}
    contestants = {"losskit": lambda: ours(context), "copy": copy}
    contestants["losskit"]()
    context.check()
    result["losskit_extra"] = ours.workspace
    try:
        precise = calls.Torch(case.torch, case, entry, dtype, calls.widened(inputs, case.judge))
        precise()
        result["problem"] = accuracy.disagreement(ours, precise, accuracy.AGREEMENT[dtype])
        precise.clear()
        del precise
    except torch.OutOfMemoryError:
        result["note"] = "torch has not enough memory to judge"
    try:
        eager()
        eager.clear()
        result["torch_extra"] = cuda.extra_memory(eager, sum(g.nbytes for g in ours.gradients.values()))
        contestants["torch"] = eager
    except (RuntimeError, NotImplementedError) as error:
        result["note"] = f"torch failed: {str(error).strip().splitlines()[0][:80]}"
    samples = cuda.take_turns(contestants, 3 if chosen.quick else 11, 100 if chosen.quick else 400)
    median = {name: sorted(times)[len(times) // 2] for name, times in samples.items()}
    result["losskit_ms"], result["copy_ms"] = median["losskit"], min(samples["copy"])
    result["torch_ms"] = median.get("torch")
    return result


def ratio(r):
    """How many times as long torch takes."""
    return r["torch_ms"] / r["losskit_ms"] if r.get("torch_ms") else None


def table(results, sentence):
    """The table of README.md."""
    dtypes = [d for d in calls.DTYPES if any(r["dtype"] == d for r in results)]
    found = {(r["case"], r["size"], r["dtype"]): r for r in results}
    rows = []
    for case, size in dict.fromkeys((r["case"], r["size"]) for r in results):
        cells = [case, size]
        for dtype in dtypes:
            r = found.get((case, size, dtype))
            if r is None:
                cells += ["-"] * 3
                continue
            cells += [report.number(r["losskit_ms"]), report.number(r["losskit_ms"] / r["copy_ms"]), report.number(ratio(r))]
        rows.append(cells)
    titles = ["forward and backward", "size"]
    for dtype in dtypes:
        titles += [f"{dtype}: ms", "x copy", "torch"]
    return f"{sentence}. Medians of runs in which losskit, torch and copies took turns.\n\n{report.table(titles, rows)}"


def line(r):
    extra = report.pair(*(None if r.get(k) is None else r[k] / 2**20 for k in ("losskit_extra", "torch_extra")), "{:.0f}")
    times = [r["losskit_ms"], r["losskit_ms"] / r["copy_ms"], r.get("torch_ms"), ratio(r)]
    text = f"{r['case']:44}  {r['size']:18}  {r['dtype']:4}" + "".join(f"  {report.number(t):>7}" for t in times) + f"  {extra:>12}"
    text += f"  LOSSKIT: {r['problem']}" if r.get("problem") else ""
    return text + (f"  {r['note']}" if r.get("note") else "")


def render(files):
    results, sentence = {}, ""
    for file in files:
        whole = json.loads(file.read_text())
        sentence = whole["machine"]
        results |= {(r["case"], r["size"], r["dtype"]): r for r in whole["results"]}
    order = {case.name: i for i, case in enumerate(all_cases())}
    shown = sorted(results.values(), key=lambda r: order.get(r["case"], len(order)))
    report.update(ROOT / "README.md", table(shown, sentence), BEGIN, END)


def main():
    chosen = arguments()
    if chosen.render:
        return render(chosen.render)
    torch.set_default_device("cuda")
    warnings.filterwarnings("ignore", module="torch")
    stream = torch.cuda.Stream()
    cases = [c for c in all_cases() if c.entry in losskit.entries() and "cuda" in losskit.entries()[c.entry].devices]
    if chosen.only:
        cases = [c for c in cases if any(name in c.entry for name in chosen.only)]
    sentence = cuda.sentence(losskit.__version__, datetime.date.today().isoformat())
    large = cuda.Copy(4 << 30)
    samples = cuda.take_turns({"copy": large}, 5, 1000)["copy"]
    del large
    print(f"{sentence}; a copy of 2 GiB moves {(4 << 30) / min(samples) / 1e6:.0f} GB/s\n", flush=True)
    print(f"{'case':44}  {'size':18}  type       ms   x copy    torch  torch/lk  MiB lk/torch")
    results, failed = [], 0
    with torch.cuda.stream(stream), losskit.Context("cuda", stream=stream.cuda_stream) as context:
        for case in cases:
            for shape in case.shapes[: case.in_readme] if chosen.readme_shapes else case.shapes:
                for dtype in chosen.dtype or calls.DTYPES:
                    try:
                        results.append(measure(case, shape, dtype, context, chosen))
                        print(line(results[-1]), flush=True)
                    except Exception:
                        failed += 1
                        print(f"{case.name} {shape} {dtype} failed: {traceback.format_exc()}", flush=True)
                    gc.collect()
                    torch.cuda.empty_cache()
                    if chosen.json:
                        chosen.json.write_text(json.dumps({"machine": sentence, "results": results}, indent=1) + "\n")
    return 1 if failed or any(r.get("problem") for r in results) else 0


if __name__ == "__main__":
    sys.exit(main())
