"""Calls of the C functions themselves, with all buffers of a call in one guarded piece of memory."""

import ctypes
import functools

import numpy as np

import losskit
from losskit import _library

from .subject import Subject

ALIGN = 64
#: Bytes of a pattern before, between and behind the buffers.
GUARD = 64
PATTERN = 0xA5
SIZES = {"f32": 4, "i64": 8, "u8": 1}
DTYPE_SIZES = (4, 2, 2)


def _half(code):
    import ml_dtypes

    return (np.float32, np.float16, ml_dtypes.bfloat16)[code]


class Buffer:
    """A parameter's place in the arena."""

    def __init__(self, name, role, element, start, count, itemsize, of=None, optional=False):
        self.name, self.role, self.element, self.of, self.optional = name, role, element, of, optional
        self.start, self.count, self.itemsize = start, count, itemsize
        self.written = role in ("output", "saved_out", "gradient")

    @property
    def bytes(self):
        return self.count * self.itemsize

    @property
    def end(self):
        return self.start + self.bytes


class RawCall:
    """A valid call: arguments in order, which a test may then spoil."""

    def __init__(self, entry, which, dims, dtype, context, options=None, strides=None, seed=0, absent=()):
        self.entry, self.which, self.dims, self.dtype, self.context = entry, which, dims, dtype, context
        self.function = entry.function(which)
        self.parameters = entry.functions[which]["parameters"]
        self.names = [p["name"] for p in self.parameters]
        self.place = {name: i for i, name in enumerate(self.names)}
        self.options = entry.default_options()
        for name, value in (options or {}).items():
            option = entry.options[name]
            setattr(self.options, name, option.values.index(value) if option.values else value)
        self.sizes = entry.values(dims, {name: getattr(self.options, name) for name in entry.options})
        self.strides = strides or {}
        self.rng = np.random.default_rng(seed)
        alternatives = _subject(entry.name).alternatives if _subject(entry.name) else ()
        if alternatives:
            chosen = alternatives[seed % len(alternatives)]
            absent = [*(n for n in absent if n != chosen), *(n for n in alternatives if n != chosen)]
        self.buffers = {}
        self._lay_out()
        absent = [*absent, *(b.name for b in self.buffers.values() if b.role == "gradient" and b.of in absent)]
        self._fill(absent)
        self._arguments(absent)
        self.snapshot = self.arena.copy()

    def reduced(self):
        reduction = self.entry.reduction
        return reduction is not None and getattr(self.options, reduction.name) != 0

    def _count(self, shape, reduced=False, stride=0):
        if reduced:
            return 1
        sizes = [extent.size(self.sizes) for extent in shape]
        if stride and sizes:
            return 0 if sizes[0] == 0 else (sizes[0] - 1) * stride + sizes[-1]
        return int(np.prod(sizes, dtype=np.int64))

    def _lay_out(self):
        entry, at = self.entry, GUARD
        first = next(iter(entry.outputs.values()))
        for p in self.parameters:
            role, name, of = p["role"], p["name"], p.get("of")
            optional = role not in ("input", "bytes")
            if role in ("input", "gradient"):
                source = entry.inputs[of or name]
                element, optional = source.type, optional or source.optional
                count = self._count(source.shape, stride=self.strides.get(source.name, 0))
            elif role in ("output", "grad_loss"):
                output = entry.outputs[name] if role == "output" else first
                element = output.type if role == "output" else "f32"
                shape = output.shape_with({name: getattr(self.options, name) for name in entry.options})
                count = self._count(shape, output.reduced and self.reduced())
            elif role in ("saved_in", "saved_out"):
                element, count = "f32", self._count(entry.saved)
            else:
                continue
            itemsize = SIZES.get(element) or DTYPE_SIZES[self.dtype]
            self.buffers[name] = Buffer(name, role, element, at, count, itemsize, of, optional)
            at = -(-(at + count * itemsize + GUARD) // ALIGN) * ALIGN
        self.size = at + GUARD
        room = np.full(self.size + ALIGN, PATTERN, np.uint8)
        skip = -room.ctypes.data % ALIGN
        self._room, self.arena = room, room[skip : skip + self.size]
        self.base = self.arena.ctypes.data

    def kind(self, buffer):
        return {"f32": np.float32, "i64": np.int64, "u8": np.uint8}.get(buffer.element) or _half(self.dtype)

    def view(self, name):
        """A buffer's elements."""
        b = self.buffers[name]
        return self.arena[b.start : b.end].view(self.kind(b))

    def _fill(self, absent):
        for b in self.buffers.values():
            if b.role not in ("input", "grad_loss", "saved_in"):
                continue
            values = self.view(b.name)
            source = self.entry.inputs.get(b.name)
            sampler = _subject(self.entry.name) and _subject(self.entry.name).samplers.get(b.name)
            if sampler and b.role == "input" and b.name not in self.strides:
                shape = [extent.size(self.sizes) for extent in source.shape]
                drawn = np.asarray(sampler(self.rng, shape, "normal", self.sizes)).reshape(-1)
                values[:] = drawn.astype(np.float32).astype(self.kind(b)) if b.element in ("float", "f32") else drawn
            elif b.element == "i64":
                upper = source.index.size(self.sizes) if source.index else 4
                values[:] = self.rng.integers(0, max(upper, 1), b.count)
                if source.ignore:
                    values[self.rng.random(b.count) < 0.2] = getattr(self.options, source.ignore)
            elif b.element == "u8":
                values[:] = self.rng.integers(0, 2, b.count)
            else:
                drawn = self.rng.standard_normal(b.count)
                if b.role == "input" and source.range:
                    # Inside any range that begins at 0 or -1 and ends at 1 or later.
                    drawn = np.clip(np.abs(drawn) / 4, 0.05, 0.95)
                values[:] = drawn.astype(np.float32).astype(self.kind(b))
        if "saved" in self.buffers and self.buffers["saved"].role == "saved_in" and "saved" not in absent:
            self._make_saved(absent)

    def _make_saved(self, absent):
        """What forward saves for the same inputs."""
        entry = self.entry
        arguments = []
        for p in entry.functions["forward"]["parameters"]:
            name = p["name"]
            if p["role"] in ("dim", "stride", "context", "options", "dtype"):
                arguments.append(self._plain(p))
            elif p["role"] == "input" or p["role"] == "saved_out":
                arguments.append(0 if name in absent else self.base + self.buffers[name].start)
            else:
                arguments.append(0)
        _, workspace, bytes_ = self._workspace()
        arguments[-2:] = [workspace, bytes_]
        assert entry.function("forward")(*arguments) == 0, losskit._library.last_error_message()

    def _plain(self, p):
        role, name = p["role"], p["name"]
        return {
            "context": lambda: self.context._handle,
            "options": lambda: ctypes.addressof(self.options),
            "dtype": lambda: self.dtype,
            "dim": lambda: self.dims[name],
            "stride": lambda: self.strides.get(p.get("of"), 0),
        }[role]()

    def _workspace(self):
        if self.context.kind == "cpu" and not self.entry.workspace:
            return None, 0, 0
        needed = ctypes.c_size_t()
        status = self.entry.function("workspace_size")(
            self.context._handle, ctypes.addressof(self.options), self.dtype, *self.dims.values(), ctypes.addressof(needed)
        )
        assert status == 0
        room = np.full(needed.value + 256 + GUARD, PATTERN, np.uint8)
        return room, room.ctypes.data + -room.ctypes.data % 256, needed.value

    def _arguments(self, absent):
        self.workspace, address, bytes_ = self._workspace()
        self.arguments = []
        for p in self.parameters:
            if p["role"] == "workspace":
                self.arguments.append(address)
            elif p["role"] == "workspace_bytes":
                self.arguments.append(bytes_)
            elif p["name"] in self.buffers:
                self.arguments.append(0 if p["name"] in absent else self.base + self.buffers[p["name"]].start)
            else:
                self.arguments.append(self._plain(p))

    def __call__(self, **changed):
        """Calls with some arguments changed; returns the status."""
        arguments = list(self.arguments)
        for name, value in changed.items():
            arguments[self.place[name]] = value
        return self.function(*arguments)

    def given(self, name):
        """Whether a buffer is there and has elements."""
        return name in self.buffers and self.buffers[name].count > 0 and self.arguments[self.place[name]] != 0

    def address(self, name):
        return self.base + self.buffers[name].start

    def restore(self):
        self.arena[:] = self.snapshot

    def untouched(self):
        return self.arena.tobytes() == self.snapshot.tobytes()

    def only_outputs_changed(self, also=()):
        """Whether a successful call wrote inside its output buffers only."""
        mask = np.zeros(self.size, bool)
        for b in self.buffers.values():
            if b.written and self.arguments[self.place[b.name]] or b.name in also:
                mask[b.start : b.end] = True
        return bool(((self.arena == self.snapshot) | mask).all()) and self._workspace_guard()

    def _workspace_guard(self):
        if self.workspace is None:
            return True
        end = self.arguments[self.place["workspace"]] + self.arguments[self.place["workspace_bytes"]] - self.workspace.ctypes.data
        return bool((self.workspace[end:] == PATTERN).all())


@functools.cache
def _subject(name):
    """The entry with its test file, if it has one."""
    try:
        return Subject(name)
    except FileNotFoundError:
        return None


def message():
    return _library.last_error_message().decode()
