"""losskit beside a plain copy and torch, in one run on one machine.

    cargo build --release
    source tests/scripts/venv.sh bench
    python benches/compare.py --quick

benches/README.md says how to read the figures.
"""

import argparse
import gc
import json
import pathlib
import sys
import time
import warnings

from cases import all_cases
from support import ROOT, accuracy, calls, machine, overhead, report, timing

import losskit
import torch
from losskit import _library

QUICK_ELEMENTS = 1 << 18
#: A peer whose first call takes so many seconds gets no other.
SLOW = 5
#: Smaller cases reuse memory the process has; what they need beside it cannot be seen.
MEMORY_FROM = 64 << 20


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few elements, few rounds: under a minute")
    parser.add_argument("--only", metavar="NAME", action="append", help="entries whose name contains this; repeatable")
    parser.add_argument("--dtype", choices=calls.DTYPES, action="append", help="repeatable; all unless given")
    parser.add_argument("--compile", action="store_true", help="torch.compile too; needs a C++ compiler, takes long")
    parser.add_argument("--rounds", type=int, help="samples of each time (15; with --quick 3)")
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path, help="write all figures")
    parser.add_argument("--merge", action="store_true", help="keep what the --json file has of cases not measured now: a long run in parts")
    parser.add_argument("--markdown", metavar="FILE", type=pathlib.Path, help="write the tables of README.md")
    parser.add_argument("--update-readme", action="store_true", help="put them into README.md: only the shapes it has are measured")
    parser.add_argument("--readme-shapes", action="store_true", help="only the shapes that README.md has")
    parser.add_argument("--patience", metavar="SECONDS", type=float, default=0, help="wait and repeat so long, in all, while other programs disturb")
    chosen = parser.parse_args()
    if chosen.merge and not chosen.json:
        parser.error("--merge wants a --json file")
    if chosen.update_readme and (chosen.quick or chosen.dtype or (chosen.only and not chosen.merge)):
        parser.error("--update-readme wants a full run, or parts of one put together by --merge")
    chosen.rounds = max(1, chosen.rounds or (3 if chosen.quick else 15))
    return chosen


def measure(case, shape, dtype, contexts, chosen):
    """Times of one case, after a look at whether both sides compute the same."""
    entry = losskit.entries()[case.entry]
    inputs = calls.draw(case, entry, shape, dtype)
    ours = calls.Losskit(case, entry, shape, dtype, inputs)
    eager = calls.Torch(case.torch, case, entry, dtype, inputs)
    result = dict.fromkeys([
        "case", "entry", "size", "dtype", "bytes", "copy_gb_per_s", "floor_ms", "losskit_ms", "losskit_best_ms",
        "x_floor", "losskit_one_thread_ms", "x_floor_one_thread", "torch_ms", "torch_per_losskit",
        "torch_compile_ms", "torch_compile_per_losskit", "torch_best_ms", "torch_compile_best_ms", "losskit_extra_mib", "torch_extra_mib", "others", "problem", "note",
    ])  # fmt: skip
    result |= {"case": case.name, "entry": case.entry, "dtype": dtype, "bytes": ours.bytes}
    result["size"] = " x ".join(map(report.count, shape))
    copy = timing.Copy(ours.bytes)
    contestants = {
        "losskit": lambda: ours(contexts["all"]),
        "one thread": lambda: ours(contexts["one"]),
        "copy by threads": copy.by_threads,
        "copy by torch": copy.by_torch,
        "copy by one thread": copy.one_thread,
    }
    contestants["losskit"]()
    precise = calls.Torch(case.torch, case, entry, dtype, calls.widened(inputs, case.judge))
    precise()
    result["problem"] = accuracy.disagreement(ours, precise, accuracy.AGREEMENT[dtype])
    peers, slow = {"torch": eager}, {}
    if chosen.compile:
        torch.compiler.reset()
        peers["torch.compile"] = calls.Torch(torch.compile(case.torch, dynamic=False), case, entry, dtype, inputs)
    for name, peer in peers.items():
        start = time.perf_counter()
        if works(name, peer, precise, dtype, result):
            took = time.perf_counter() - start
            if took > SLOW:
                slow[name] = [took]
            else:
                contestants[name] = peer
        peer.clear()
    del precise
    if ours.bytes >= MEMORY_FROM:
        result["losskit_extra_mib"] = mib(timing.extra_memory(contestants["losskit"]))
        if "torch" in contestants:
            eager.clear()
            expected = sum(g.nbytes for g in ours.gradients.values())
            result["torch_extra_mib"] = mib(timing.extra_memory(eager, expected))
    samples, result["others"] = undisturbed(contestants, chosen)
    samples |= slow
    median = {name: 1e3 * sorted(times)[len(times) // 2] for name, times in samples.items()}
    best = {name: 1e3 * min(times) for name, times in samples.items()}
    large = {way: 1e3 * seconds * ours.bytes for way, seconds in chosen.large_copy.items()}
    floor = min(*(best[name] for name in best if name.startswith("copy")), *large.values())
    result["floor_ms"], result["copy_gb_per_s"] = floor, ours.bytes / floor / 1e6
    result["losskit_ms"], result["losskit_best_ms"] = median["losskit"], best["losskit"]
    result["x_floor"] = median["losskit"] / floor
    result["losskit_one_thread_ms"] = median["one thread"]
    result["x_floor_one_thread"] = median["one thread"] / min(best["copy by one thread"], large["one thread"])
    for name, key in (("torch", "torch"), ("torch.compile", "torch_compile")):
        if name in median:
            result[f"{key}_ms"], result[f"{key}_best_ms"] = median[name], best[name]
            result[f"{key}_per_losskit"] = best[name] / best["losskit"]
    return result


def large_copy(bytes_, chosen):
    """Seconds per byte moved of large copies, with all threads and with one. `memcpy` writes around the caches
    only where it thinks the size large, so a case of middling size is no measure of what memory can do."""
    copy = timing.Copy(bytes_)
    ways = {"threads": copy.by_threads, "torch": copy.by_torch, "one thread": copy.one_thread}
    samples, _ = undisturbed(ways, chosen)
    return {name: min(times) / bytes_ for name, times in samples.items()}


def undisturbed(contestants, chosen):
    """Times, and how busy others were meanwhile; of several attempts, as long as there is patience."""
    attempts = []
    while True:
        start = time.perf_counter()
        timing.wait_until_quiet(chosen.patience)
        chosen.patience -= time.perf_counter() - start
        others = timing.Others()
        samples = timing.take_turns(contestants, chosen.rounds, 0.3 if chosen.quick else 2.5)
        attempts.append((others.share() or 0.0, samples))
        best = min(attempts, key=lambda attempt: attempt[0])
        if best[0] <= machine.DISTURBED or chosen.patience <= 0:
            return best[1], best[0]
        chosen.patience -= time.perf_counter() - start


def works(name, peer, precise, dtype, result):
    """Whether a peer can be timed; what is wrong with its results goes into the note."""
    try:
        peer()
    except Exception as error:
        result["note"] = f"{name} failed: {str(error).strip().splitlines()[0][:80]}"
        return False
    wrong = accuracy.disagreement(peer, precise, accuracy.CLOSE[dtype])
    if wrong:
        result["note"] = f"{name}: {wrong}"
    return True


def mib(bytes_):
    return None if bytes_ is None else bytes_ / 2**20


def merged(old, new):
    """The new figures, and the old ones of what was not measured again on the same machine."""
    for key in ("processor", "processors", "instructions", "losskit", "torch"):
        if old["machine"].get(key) != new["machine"].get(key):
            raise SystemExit(f"{key} of the old figures is {old['machine'].get(key)}, not {new['machine'].get(key)}")
    for part, keys in (("results", ("case", "size", "dtype")), ("errors", ("case", "dtype"))):
        known = {tuple(r[k] for k in keys) for r in new[part]}
        new[part] = [r for r in old[part] if tuple(r[k] for k in keys) not in known] + new[part]
    new["dtypes"] = [d for d in calls.DTYPES if d in {*old["dtypes"], *new["dtypes"]}]
    return new


def main():
    chosen = arguments()
    dtypes = chosen.dtype or list(calls.DTYPES)
    torch.set_num_threads(timing.processors())
    warnings.filterwarnings("ignore", module="torch")
    everything = [case for case in all_cases() if case.entry in losskit.entries()]
    cases = [c for c in everything if not chosen.only or any(name in c.entry for name in chosen.only)]
    if not cases:
        raise SystemExit(f"no case named {' or '.join(chosen.only)}; there are {', '.join(c.name for c in everything)}")
    missing = sorted(set(losskit.entries()) - {c.entry for c in everything})
    if missing:
        print(f"entries without a case: {', '.join(missing)}")
    if f"{pathlib.Path('target', 'debug')}" in _library.PATH:
        print(f"{_library.PATH} is a debug build: cargo build --release")
    about = machine.describe()
    print(f"{machine.sentence(about)}; load {about['load_before']:.2f}\n")
    contexts = {"all": losskit.Context("cpu"), "one": losskit.Context("cpu", num_threads=1)}
    chosen.large_copy = large_copy((1 << 28) if chosen.quick else (1 << 30), chosen)
    results, errors = [], []
    print(report.head(), flush=True)
    for case in cases:
        shapes = [calls.shrink(s, QUICK_ELEMENTS) for s in case.shapes] if chosen.quick else case.shapes
        if chosen.update_readme or chosen.readme_shapes:
            shapes = shapes[: case.in_readme]
        for shape in shapes:
            for dtype in dtypes:
                results.append(measure(case, shape, dtype, contexts, chosen))
                print(report.row(results[-1]), flush=True)
                gc.collect()
    for case in cases:
        for dtype in dtypes:
            elements = QUICK_ELEMENTS // 4 if chosen.quick else QUICK_ELEMENTS
            found = accuracy.errors(case, losskit.entries()[case.entry], dtype, contexts["one"], elements)
            errors.append({"case": case.name, "dtype": dtype, **found})
    print("\nErrors against float64: of the mean loss; of the gradient, relative to the largest of its row")
    print(report.errors_table(errors))
    costs, why_not = overhead.from_c()
    costs |= overhead.from_python(chosen.rounds)
    print("\nA call on 1 x 10" + (f" ({why_not})" if why_not else ""))
    for name, nanoseconds in costs.items():
        print(f"{name}: {nanoseconds:.0f} ns")
    about["others"] = sum(r["others"] for r in results) / len(results)
    whole = {"machine": about, "dtypes": dtypes, "results": results, "errors": errors, "overhead_ns": costs}
    if chosen.merge and chosen.json.exists():
        whole = merged(json.loads(chosen.json.read_text()), whole)
        results = whole["results"]
        found = {r["case"] for r in results}
        cases = [c for c in everything if c.name in found]
    disturbed = [r for r in results if r["others"] > machine.DISTURBED]
    if disturbed:
        print(f"\n{len(disturbed)} cases were disturbed by other programs, see the column others: do not use their times")
    if chosen.json:
        chosen.json.write_text(json.dumps(whole, indent=1) + "\n")
    problems = [r for r in results if r["problem"]]
    if problems:
        print(f"\nlosskit and torch disagree in {len(problems)} cases, see the last column")
    if chosen.update_readme and {c.name for c in cases} != {c.name for c in everything}:
        raise SystemExit("README.md stays as it is: some cases have no figures yet")
    if chosen.update_readme and (disturbed or problems):
        raise SystemExit("README.md stays as it is: it gets figures of a machine that does nothing else")
    if chosen.markdown or chosen.update_readme:
        text = report.markdown(whole, machine.sentence(about), cases)
        if chosen.markdown:
            chosen.markdown.write_text(text + "\n")
        if chosen.update_readme:
            report.update(ROOT / "README.md", text)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
