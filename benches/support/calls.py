"""The two sides of a case on the same memory: the library's C function, and torch with autograd."""

import inspect
import math
from types import SimpleNamespace

import torch
from losskit import _library
from losskit._context import needed_workspace
from losskit._options import Options

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
#: Upstream gradient. Mixed-precision training scales f16 losses, or their gradients would vanish.
SCALES = {"f32": 1.0, "f16": 1024.0, "bf16": 1.0}
_ALIGN = 256
_CODES = {"f32": 0, "f16": 1, "bf16": 2}
_TYPES = {"f32": torch.float32, "i64": torch.int64, "u8": torch.uint8}


def shrink(shape, elements):
    """The shape with so few rows that about `elements` remain."""
    row = math.prod(shape[1:])
    return (max(1, min(shape[0], elements // row)), *shape[1:])


def wanted_gradients(case, entry):
    if "forward_backward" not in entry.functions:
        return ()
    return case.gradients or entry.differentiable[:1]


def draw(case, entry, shape, dtype, seed=0):
    """Inputs by name, on torch's default device; None for optional ones that the case leaves out."""
    generator = torch.Generator(device=torch.get_default_device()).manual_seed(seed)
    values = entry.values(dict(zip(entry.dims, shape)), case.options)
    inputs = {}
    for source in entry.inputs.values():
        sizes = [extent.size(values) for extent in source.shape]
        sampler = case.inputs.get(source.name)
        kind = _TYPES.get(source.type, DTYPES[dtype])
        if sampler:
            sized = (values,) if len(inspect.signature(sampler).parameters) == 3 else ()
            value = sampler(sizes, generator, *sized).to(kind)
        elif source.optional:
            value = None
        elif source.type == "i64":
            value = torch.randint(0, source.index.size(values) if source.index else 4, sizes, generator=generator)
        elif source.type == "u8":
            value = torch.randint(0, 2, sizes, generator=generator, dtype=torch.uint8)
        else:
            value = torch.empty(sizes, dtype=torch.float32).normal_(0, 3, generator=generator).to(kind)
        inputs[source.name] = value
    return inputs


class Losskit:
    """forward_backward into buffers that stay; forward and backward for entries that do not have it, forward for
    those without a gradient."""

    def __init__(self, case, entry, shape, dtype, inputs):
        dims = dict(zip(entry.dims, shape))
        values = [case.options.get(o.name, o.default) for o in entry.options.values()]
        address, per_sample, self._struct = Options(entry).make(*values)
        self.gradients = {name: torch.zeros_like(inputs[name]) for name in wanted_gradients(case, entry)}
        self.outputs = {}
        for output in entry.outputs.values():
            sizes = [] if output.reduced and not per_sample else [extent.size(entry.values(dims, case.options)) for extent in output.shape_with(entry.values({}, case.options))]
            self.outputs[output.name] = torch.zeros(sizes, dtype=_TYPES.get(output.type, DTYPES[dtype]))
        first = next(iter(self.outputs.values()))
        self._upstream = torch.full(first.shape, SCALES[dtype])
        places = {
            "input": inputs.get,
            "output": self.outputs.get,
            "gradient": self.gradients.get,
            "grad_loss": lambda _: self._upstream,
        }
        self._sizes = [address, _CODES[dtype], list(dims.values())]
        self._query = entry.function("workspace_size")
        self.workspace, self._room = 0, None
        one_pass = "forward_backward" in entry.functions
        self._calls = []
        for which in ["forward_backward"] if one_pass else [f for f in ("forward", "backward") if f in entry.functions]:
            arguments = [address, _CODES[dtype]]
            for parameter in entry.functions[which]["parameters"][3:]:
                role, name = parameter["role"], parameter.get("of", parameter["name"])
                if role == "dim":
                    arguments.append(dims[name])
                else:
                    tensor = places[role](name) if role in places else None
                    arguments.append(0 if tensor is None else tensor.data_ptr())
            self._calls.append((entry.function(which), arguments))
        given = [tensor for tensor in inputs.values() if tensor is not None]
        #: Bytes that any implementation must move: inputs read once, outputs and gradients written once.
        self.bytes = sum(t.nbytes for t in [*given, *self.outputs.values(), *self.gradients.values()])

    def __call__(self, context):
        if self._room is None:
            self.workspace = needed_workspace(self._query, context._handle, *self._sizes)
            self._room = torch.empty(self.workspace + _ALIGN, dtype=torch.uint8)
            place = -(-self._room.data_ptr() // _ALIGN) * _ALIGN
            for _, arguments in self._calls:
                arguments[-2:] = (place, self.workspace) if self.workspace else (0, 0)
        for function, arguments in self._calls:
            _library.check(function(context._handle, *arguments))

    @property
    def loss(self):
        return next(iter(self.outputs.values()))


def widened(inputs, kind):
    """The same values in f32 or f64."""
    return {n: v.to(kind) if v is not None and v.is_floating_point() else v for n, v in inputs.items()}


class Torch:
    """The case's torch function and its backward, with new gradients as after zero_grad()."""

    def __init__(self, function, case, entry, dtype, inputs):
        self._function, self._scale = function, SCALES[dtype]
        self._wanted = wanted_gradients(case, entry)
        self._x = SimpleNamespace(**{
            name: value if value is None else value.detach().requires_grad_(name in self._wanted)
            for name, value in inputs.items()
        })
        self._upstream = None

    def __call__(self):
        for name in self._wanted:
            getattr(self._x, name).grad = None
        loss = self._function(self._x)
        if self._wanted:
            if self._upstream is None:
                self._upstream = torch.full_like(loss, self._scale, requires_grad=False)
            loss.backward(self._upstream)
        self.loss = loss.detach()

    @property
    def gradients(self):
        return {name: getattr(self._x, name).grad for name in self._wanted}

    def clear(self):
        for name in self._wanted:
            getattr(self._x, name).grad = None
