"""Throws bad calls at every C function, each with one or more known defects, and good ones in between.

Run as a program, so that a crash ends the program and not the tests. The last call is kept in a file that
outlives it.
"""

import argparse
import ctypes
import json
import mmap
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(os.path.dirname(HERE)), "bindings", "python")]

import losskit  # noqa: E402
from harness.raw import PATTERN, RawCall, message  # noqa: E402
from harness.subject import Subject  # noqa: E402

TOO_LARGE = [2**64 - 1, 2**63, 2**63 + 1, 2**64 - 8]
BAD_DTYPES = [-1, 3, 4, 17, 2**31 - 1, -(2**31)]


class Defect:
    """A change to a call: `arguments` by name, or a function that spoils something in the arena. `at_fault`: the
    names of which the message must have one. `status`: those that are right."""

    def __init__(self, at_fault, arguments=None, spoil=None, status=(1,), keep=None):
        self.at_fault = (at_fault,) if isinstance(at_fault, str) else tuple(at_fault)
        self.arguments, self.spoil, self.status, self.keep = arguments or {}, spoil, status, keep


class Fuzzer:
    def __init__(self, device, seed):
        self.device = device
        self.rng = np.random.default_rng(seed)
        self.context = losskit.Context("cpu", num_threads=2) if device == "cpu" else losskit.Context(device)
        self.counts = {"bad": 0, "good": 0, "several": 0}
        self.kinds = {}

    def pick(self, values):
        return values[self.rng.integers(len(values))]

    # Defects, each for a call; None where the call cannot have it.

    def null_context(self, call):
        return Defect("ctx", {"ctx": 0})

    def null_input(self, call):
        names = [b.name for b in call.buffers.values() if b.role == "input" and not b.optional and b.bytes]
        return Defect(name := self.pick(names), {name: 0}) if names else None

    def misaligned(self, call):
        names = [b.name for b in call.buffers.values() if b.itemsize > 1 and call.arguments[call.place[b.name]]]
        if not names:
            return None
        name = self.pick(names)
        off = int(self.rng.integers(1, call.buffers[name].itemsize))
        return Defect(name, {name: call.address(name) + off})

    def dtype(self, call):
        return Defect("dtype", {"dtype": self.pick(BAD_DTYPES)})

    def small_dim(self, call):
        names = [d.name for d in call.entry.dims.values() if d.minimum > 0]
        if not names:
            return None
        name = self.pick(names)
        return Defect(name, {name: int(self.rng.integers(0, call.entry.dims[name].minimum))})

    def huge_dim(self, call):
        name = self.pick(list(call.dims))
        if any(size == 0 for other, size in call.dims.items() if other != name):
            return None  # buffers stay empty
        # The message may name the dimension or a buffer that becomes too large by it.
        buffers = [b.name for b in call.buffers.values()] + ["saved"]
        buffers += [o for o in call.entry.outputs] + [f"{i}_stride" for i in call.entry.inputs]
        buffers += [f"grad_{i}" for i in call.entry.inputs] + list(call.entry.inputs)
        return Defect([name, *buffers], {name: self.pick(TOO_LARGE)})

    def short_stride(self, call):
        strided = [i for i in call.entry.inputs.values() if f"{i.name}_stride" in call.place and i.shape[-1].size(call.sizes) > 1]
        if not strided:
            return None
        source = self.pick(strided)
        stride = int(self.rng.integers(1, source.shape[-1].size(call.sizes)))
        return Defect(f"{source.name}_stride", {f"{source.name}_stride": stride})

    def huge_stride(self, call):
        strided = [i for i in call.entry.inputs.values() if f"{i.name}_stride" in call.place and i.shape[0].size(call.sizes) > 1]
        if not strided:
            return None
        name = self.pick(strided).name
        return Defect([name, f"{name}_stride"], {f"{name}_stride": self.pick(TOO_LARGE)})

    def overlap(self, call):
        outputs = [b for b in call.buffers.values() if b.written and b.bytes]
        others = [b for b in call.buffers.values() if b.bytes and call.arguments[call.place[b.name]]]
        written = self.pick(outputs) if outputs else None
        others = [b for b in others if written is not None and b.name != written.name]
        if not others:
            return None
        other = self.pick(others)
        address = call.address(other.name)
        steps = [0, written.itemsize, -written.itemsize, other.bytes - written.itemsize]
        address += self.pick([s for s in steps if -written.bytes < s < other.bytes])
        address -= address % written.itemsize
        if not (address < call.address(other.name) + other.bytes and call.address(other.name) < address + written.bytes):
            return None
        if other.name == self.replaces(call, written) and address == call.address(other.name):
            return None  # that is allowed
        return Defect([written.name, other.name], {written.name: address})

    def replaces(self, call, written):
        """The input that an output or a gradient may be written over."""
        if written.role == "output":
            return call.entry.outputs[written.name].in_place
        return written.of if written.role == "gradient" and call.entry.inputs[written.of].in_place else None

    def null_options_struct_size(self, call):
        size = self.pick([0, 1, 7, 1 << 17, 2**63, 2**64 - 1])
        return Defect("opts", spoil=lambda c, o: setattr(o, "struct_size", size), status=(2,))

    def future_options(self, call):
        known = ctypes.sizeof(call.options)
        size = known + int(self.rng.integers(1, 64))
        room = np.zeros(size + 8, np.uint8)
        start = -room.ctypes.data % 8
        ctypes.memmove(room.ctypes.data + start, ctypes.addressof(call.options), known)
        room[start : start + 8] = np.array([size], np.uint64).view(np.uint8)
        at = int(self.rng.integers(known, size))
        room[start + at] = self.rng.integers(1, 256)
        return Defect("opts", {"opts": room.ctypes.data + start}, status=(2,), keep=room)

    def misaligned_options(self, call):
        room = np.zeros(ctypes.sizeof(call.options) + 16, np.uint8)
        start = -room.ctypes.data % 8 + int(self.rng.integers(1, 8))
        ctypes.memmove(room.ctypes.data + start, ctypes.addressof(call.options), ctypes.sizeof(call.options))
        return Defect("opts", {"opts": room.ctypes.data + start}, keep=room, status=(1, 2))

    def option(self, call):
        options = []
        for option in call.entry.options.values():
            bad = self.bad_values(option)
            if bad:
                options.append((option, bad))
        if not options:
            return None
        option, bad = self.pick(options)
        value = self.pick(bad)
        return Defect(option.name, spoil=lambda c, o: setattr(o, option.name, value), status=(2,))

    def bad_values(self, option):
        if option.values:
            return [-1, len(option.values), 77, 2**31 - 1, -(2**31)]
        if option.type == "bool":
            return [2, 3, 255]
        if option.type == "uint":
            return []
        if option.type == "int":
            bad = [] if option.minimum is None else [option.minimum - 1, -(2**63)]
            return bad + ([] if option.maximum is None else [option.maximum + 1, 2**63 - 1])
        low, high = (float(end) for end in option.range[1:-1].split(","))
        bad = [float("nan")]
        bad += [low] if option.range[0] == "(" else [np.nextafter(low, -np.inf)] if np.isfinite(low) else []
        bad += [high] if option.range[-1] == ")" else [np.nextafter(high, np.inf)] if np.isfinite(high) else []
        bad += [low - 1] if np.isfinite(low) else []
        bad += [high + 1] if np.isfinite(high) else []
        return [float(v) for v in bad if v not in option.also]

    def label(self, call):
        if self.device != "cpu":
            return None
        indexed = [i for i in call.entry.inputs.values() if i.index and call.given(i.name)]
        if not indexed:
            return None
        source = self.pick(indexed)
        ignored = getattr(call.options, source.ignore) if source.ignore else None
        upper = source.index.size(call.sizes)
        bad = [v for v in (-1, upper, upper + 1, -99, 2**62, -(2**63), 2**63 - 1) if v != ignored]
        at, value = int(self.rng.integers(call.buffers[source.name].count)), self.pick(bad)

        def spoil(c, o):
            c.view(source.name)[at] = value

        return Defect(source.name, spoil=spoil, status=(3,))

    def value(self, call):
        """A value outside the range that the declaration gives."""
        if self.device != "cpu":
            return None
        ranged = [i for i in call.entry.inputs.values() if i.range and call.given(i.name)]
        if not ranged:
            return None
        source = self.pick(ranged)
        low, high = (float(end) for end in source.range[1:-1].split(","))
        bad = [low - 1, low - 100] if np.isfinite(low) else []
        bad += [low] if source.range[0] == "(" and np.isfinite(low) else []
        bad += [high + 1] if np.isfinite(high) else []
        at, value = int(self.rng.integers(call.buffers[source.name].count)), self.pick(bad)

        def spoil(c, o):
            c.view(source.name)[at] = value

        return Defect(source.name, spoil=spoil)

    def workspace(self, call):
        if not self.has_workspace(call):
            return None
        needed = call.arguments[call.place["workspace_bytes"]]
        kind = self.rng.integers(3)
        if kind == 0:
            short = int(self.pick([0, 1, needed - 1, needed // 2]))
            return Defect(["workspace_bytes", "workspace"], {"workspace_bytes": short}, status=(4,))
        if kind == 1:
            return Defect("workspace", {"workspace": 0}, status=(4, 1))
        if self.device == "cpu":
            return None  # it may lie anywhere
        off = int(self.pick([1, 4, 64, 128, 255]))
        return Defect("workspace", {"workspace": call.arguments[call.place["workspace"]] + off}, status=(1, 4))

    def has_workspace(self, call):
        return "workspace" in call.place and call.arguments[call.place["workspace_bytes"]]

    def workspace_overlap(self, call):
        if not self.has_workspace(call):
            return None
        room = call.arguments[call.place["workspace_bytes"]]
        buffers = [b for b in call.buffers.values() if 0 < b.bytes <= room and (b.written or b.role == "input")]
        if not buffers:
            return None
        buffer = self.pick(buffers)
        # The workspace is zeros, which are valid inputs; only where it lies is wrong.
        start = call.arguments[call.place["workspace"]] - call.workspace.ctypes.data
        call.workspace[start : start + room] = 0
        return Defect([buffer.name, "workspace"], {buffer.name: call.arguments[call.place["workspace"]]})

    def null_bytes(self, call):
        return Defect("bytes", {"bytes": 0}) if call.which == "workspace_size" else None

    DEFECTS = [
        null_context, null_input, misaligned, dtype, small_dim, huge_dim, short_stride, huge_stride, overlap,
        null_options_struct_size, future_options, misaligned_options, option, label, value, workspace,
        workspace_overlap, null_bytes,
    ]

    def calls(self):
        """Valid calls to spoil: every function of every entry, some sizes and options."""
        for entry in losskit.entries().values():
            kind = self.device.split("-")[0]
            if kind not in entry.devices:
                continue
            subject = Subject(entry.name)
            for which in entry.functions:
                for _ in range(6):
                    options = {}
                    if entry.reduction:
                        options[entry.reduction.name] = self.pick(entry.reduction.values)
                    dims = subject.some_dims(self.rng, options)
                    strides = {}
                    for source in entry.inputs.values():
                        if source.stride and self.rng.random() < 0.5:
                            strides[source.name] = source.shape[-1].size(entry.values(dims, options)) + int(self.rng.integers(0, 4))
                    absent = [i.name for i in entry.inputs.values() if i.optional and self.rng.random() < 0.5]
                    absent += [f"grad_{name}" for name in absent if entry.inputs[name].differentiable]
                    seed = int(self.rng.integers(2**31))
                    if which == "workspace_size":
                        yield Query(entry, dims, int(self.rng.integers(3)), self.context, options)
                    else:
                        yield RawCall(
                            entry, which, dims, int(self.rng.integers(3)), self.context, options, strides, seed, absent
                        )

    def run(self, wanted, log):
        calls = list(self.calls())
        for number, call in enumerate(calls):
            self.good(call, f"call {number} as it is", log)
        while self.counts["bad"] < wanted:
            call = self.pick(calls)
            several = self.rng.random() < 0.15
            defects, names = [], []
            for _ in range(2 if several else 1):
                make = self.pick(self.DEFECTS)
                # Two buffers moved onto others may end up apart.
                defect = None if "overlap" in names and make.__name__ == "overlap" else make(self, call)
                if defect is not None and not any(set(defect.arguments) & set(d.arguments) for d in defects):
                    defects.append(defect)
                    names.append(make.__name__)
            if defects:
                self.bad(call, defects, names, log)
            if self.rng.random() < 0.05:
                self.good(call, "good call in between", log)
        if self.device != "cpu":
            self.context.check()

    def good(self, call, what, log):
        log(f"{call.entry.name} {call.which} {call.dims} dtype {call.dtype}: {what}")
        status = call()
        if status != 0:
            raise AssertionError(f"{self.describe(call)}: valid call refused: {message()}")
        if not call.only_outputs_changed():
            raise AssertionError(f"{self.describe(call)}: a valid call wrote outside its outputs")
        call.restore()
        self.counts["good"] += 1

    def bad(self, call, defects, names, log):
        arguments = {}
        saved_options = bytes(call.options)
        for defect in defects:
            arguments.update(defect.arguments)
            if defect.spoil:
                defect.spoil(call, call.options)
        spoiled = call.arena.tobytes()
        log(f"{self.describe(call)}: {names} {arguments}")
        status = call(**arguments)
        told = message()
        where = f"{self.describe(call)}: {names} {({k: hex(v) for k, v in arguments.items()})}"
        if status == 0:
            raise AssertionError(f"{where}: accepted")
        if call.arena.tobytes() != spoiled:
            raise AssertionError(f"{where}: memory was written though the call failed")
        if not any(f"'{name}'" in told for defect in defects for name in defect.at_fault):
            raise AssertionError(f"{where}: the message names none of {[d.at_fault for d in defects]}: {told!r}")
        if not told.startswith(call.entry.name):
            raise AssertionError(f"{where}: the message does not start with the entry: {told!r}")
        if not any(status in defect.status for defect in defects):
            raise AssertionError(f"{where}: status {status}, expected {[d.status for d in defects]}: {told!r}")
        ctypes.memmove(ctypes.addressof(call.options), saved_options, len(saved_options))
        if any(d.spoil for d in defects):
            call.restore()
        self.counts["bad"] += 1
        self.counts["several"] += len(defects) > 1
        for name in names:
            self.kinds[name] = self.kinds.get(name, 0) + 1

    def describe(self, call):
        options = {name: getattr(call.options, name) for name, _ in call.options._fields_}
        return f"lk_{call.entry.name}_{call.which} dims {call.dims} dtype {call.dtype} strides {call.strides} options {options}"


class Query(RawCall):
    """A call of the workspace query."""

    def __init__(self, entry, dims, dtype, context, options):
        super().__init__(entry, "workspace_size", dims, dtype, context, options)

    def _lay_out(self):
        self.arena = np.full(256, PATTERN, np.uint8)
        self.base = self.arena.ctypes.data
        self.buffers, self.size = {}, 256
        self.start = -self.base % 64 + 64

    def _arguments(self, absent):
        self.workspace = None
        self.arguments = [self.base + self.start if p["role"] == "bytes" else self._plain(p) for p in self.parameters]

    def only_outputs_changed(self, also=()):
        same = self.arena == self.snapshot
        same[self.start : self.start + 8] = True
        return bool(same.all())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--log", required=True)
    options = parser.parse_args()
    with open(options.log, "wb+") as file:
        file.truncate(4096)
        last = mmap.mmap(file.fileno(), 4096)

        def log(text):
            last[:] = text.encode()[:4095].ljust(4096, b"\0")

        fuzzer = Fuzzer(options.device, options.seed)
        fuzzer.run(options.calls, log)
    print(json.dumps({**fuzzer.counts, "kinds": fuzzer.kinds}))


if __name__ == "__main__":
    main()
