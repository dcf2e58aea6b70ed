"""The functions of losskit on torch tensors, with autograd.

CPU tensors are used where they lie; CUDA tensors on the current stream of their device. Nothing is copied
except inputs whose memory is not contiguous (rows may be apart where the entry takes a row stride)::

    >>> import torch, losskit.torch
    >>> logits = torch.randn(4, 10, requires_grad=True)
    >>> loss = losskit.torch.token_cross_entropy(logits, torch.tensor([1, 2, 3, 4]), label_smoothing=0.1)
    >>> loss.backward()

An entry with one output returns a tensor, one with several a named tuple. The gradient is that of the first
output. Gradients of gradients are not available.
"""

import collections
import operator

import torch
from torch.autograd.function import once_differentiable

from . import _docs, _library, _registry
from ._arrays import MISSING, describe
from ._context import Context, default_context, needed_workspace
from ._errors import Error, InvalidArgument
from ._options import Options, reject_unknown
from ._registry import shape_text

_CODES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
_DTYPES = {"f32": torch.float32, "i64": torch.int64, "u8": torch.uint8}
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)

__all__ = list(_registry.ENTRIES)

_cuda_contexts = {}


def _context_of(device):
    """The context for a tensor's device: on CUDA one for each stream."""
    if device.type == "cpu":
        return default_context()
    if device.type != "cuda":
        raise Error(f"losskit.torch computes on cpu and cuda tensors, not on {device.type}")
    stream = torch.cuda.current_stream(device).cuda_stream
    context = _cuda_contexts.get((device.index, stream))
    if context is None:
        context = _cuda_contexts[device.index, stream] = Context("cuda", device=device.index, stream=stream)
    return context


class _Call:
    """Checked arguments of a call, but for its tensors."""

    __slots__ = ("runner", "context", "options", "code", "dtype", "dims", "shape", "device", "values")


class _Runner:
    """What calls of an entry have in common."""

    def __init__(self, entry):
        self.entry = entry
        self.options = Options(entry)
        self.functions = {which: entry.function(which) for which in entry.functions}
        self.positional = [i.name for i in entry.positional]
        self.inputs = list(entry.inputs.values())
        self.keywords = [*entry.free_dims, *entry.options, "context"]
        self.positional_inputs = entry.positional
        # What would otherwise be worked out at every call.
        whole = list(entry.dims) if entry.elementwise else None
        self.keeps_shape = {
            part.name: [str(extent) for extent in part.shape] == whole
            for part in [*entry.inputs.values(), *entry.outputs.values()]
        }
        self.extents = {i.name: i.shape for i in self.inputs}
        self.sized = [
            name
            for name in entry.options
            if name not in entry.dims and any(name in e.factors for e in self._all_extents())
        ]
        self.plan = {which: self._plan(f["parameters"]) for which, f in entry.functions.items()}
        self.tuple = None
        if len(entry.outputs) > 1:
            self.tuple = collections.namedtuple(entry.name, entry.outputs, module="losskit.torch")
        self.defaults = {o.name: o.default for o in entry.options.values()}

    def _all_extents(self):
        parts = [*self.entry.inputs.values(), *self.entry.outputs.values()]
        return [extent for shape in [*(part.shape for part in parts), self.entry.saved] for extent in shape]

    def _plan(self, parameters):
        skipped = ("context", "options", "dtype", "workspace", "workspace_bytes")
        plan = []
        for p in parameters:
            if p["role"] not in skipped:
                key = p.get("of", p["name"])
                plan.append((p["role"], "saved" if p["role"].startswith("saved") else key))
        return plan

    def call(self, arguments, keywords):
        entry = self.entry
        names = self.positional
        if len(arguments) > len(names):
            raise TypeError(f"{entry.name}() takes {len(names)} positional arguments but {len(arguments)} were given")
        given = dict(zip(names, arguments))
        values = dict(self.defaults)
        context = None
        for name, value in keywords.items():
            if name in entry.inputs:
                if name in given:
                    raise TypeError(f"{entry.name}() got multiple values for argument '{name}'")
                given[name] = value
            elif name in values or name in entry.free_dims:
                values[name] = value
            elif name == "context":
                context = value
            else:
                reject_unknown(entry.name, names + self.keywords, [name])
        call = _Call()
        call.runner, call.values = self, values
        key = tuple([values[name] for name in self.defaults])
        try:
            call.options = self.options.made.get(key) or self.options.make(*key)
        except TypeError:
            call.options = self.options.make(*key)
        call.dims, call.dtype, call.shape, call.device = {}, None, None, None
        for name in self.sized:
            call.dims[name] = operator.index(values[name])
        for name in entry.free_dims:
            if name not in values:
                raise TypeError(f"{entry.name}() missing 1 required argument: '{name}'")
            call.dims[name] = operator.index(values[name])
        tensors = {source.name: self._take(call, source, given.get(source.name)) for source in self.positional_inputs}
        call.code = _CODES[call.dtype] if call.dtype else 0
        for name in entry.dims:
            call.dims.setdefault(name, 0)
        call.dims = entry.with_capacities(call.dims, values)
        if call.device is None:  # no inputs
            call.device = torch.device("cuda" if context is not None and context.kind == "cuda" else "cpu")
        call.context = context or _context_of(call.device)
        if context is not None and (context.kind == "cuda") != (call.device.type == "cuda"):
            raise InvalidArgument(f"{entry.name}: context is {context!r}, but the tensors are on {call.device}")
        outputs = _Function.apply(call, *[tensors[source.name] for source in self.inputs])
        return self.tuple(*outputs) if self.tuple else outputs

    def _take(self, call, source, value):
        """Checks a tensor and learns dtype, device and dims from it."""
        name = source.name
        if value is None or value is MISSING:
            if not source.optional:
                raise TypeError(f"{self.entry.name}() missing 1 required argument: '{name}'")
            return None
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"{self.entry.name}: {name} is a {type(value).__name__}, expected a torch.Tensor")
        if not source.differentiable and value.requires_grad:
            raise Error(
                f"{self.entry.name}: {name} requires a gradient, but {self.entry.name} has none for it; detach() it"
            )
        if call.device is None:
            call.device = value.device
        elif value.device != call.device:
            raise InvalidArgument(
                f"{self.entry.name}: {name} is on {value.device}, expected {call.device} as the other inputs are"
            )
        if source.type != "i64" or value.dtype is not torch.int64:
            value = self._convert(call, source, value)
        shape = value.shape
        if self.keeps_shape[name]:
            if call.shape is None:
                call.shape = shape
                call.dims[next(iter(self.entry.dims))] = value.numel()
            elif shape != call.shape:
                self._bad_shape(source, shape, tuple(call.shape))
            return value
        extents, dims = self.extents[name], call.dims
        if len(shape) != len(extents):
            self._bad_shape(source, shape, None, dims)
        for extent, size in zip(extents, shape):
            if extent.dim is not None and extent.dim not in dims:
                dims[extent.dim] = size // extent.scale
        for extent, size in zip(extents, shape):
            if size != extent.size(dims):
                self._bad_shape(source, shape, None, dims)
        return value

    def _bad_shape(self, source, shape, expected, dims=None):
        if expected is None:
            expected = shape_text(source.shape)
            if all(name in dims for e in source.shape for name in e.factors):
                expected += f" = {shape_text([e.size(dims) for e in source.shape])}"
        raise InvalidArgument(f"{self.entry.name}: {source.name} has shape {tuple(shape)}, expected {expected}")

    def _convert(self, call, source, value):
        dtype = value.dtype
        if dtype is call.dtype and source.type == "float":
            return value
        where = f"{self.entry.name}: {source.name}"
        if source.type == "float":
            if dtype not in _CODES:
                raise TypeError(f"{where} has dtype {dtype}, expected {describe('float')}")
            if call.dtype is None:
                call.dtype = dtype
            elif dtype != call.dtype:
                raise TypeError(f"{where} has dtype {dtype}, expected {call.dtype} as the other float inputs have")
        elif source.type == "i64" and dtype != torch.int64:
            if dtype not in _INTEGERS:
                raise TypeError(f"{where} has dtype {dtype}, expected an integer type")
            return value.long()
        elif source.type == "u8" and dtype == torch.bool:
            return value.view(torch.uint8)
        elif dtype != _DTYPES[source.type]:
            raise TypeError(f"{where} has dtype {dtype}, expected {describe(source.type)}")
        return value

    def stride(self, source, tensor):
        """A tensor the library can read, and the distance of its rows (0 if dense)."""
        if tensor is None or tensor.is_contiguous():
            return tensor, 0
        if source.stride and tensor.dim() == 2 and tensor.stride(1) == 1 and tensor.stride(0) >= tensor.shape[1]:
            return tensor, tensor.stride(0)
        return tensor.contiguous(), 0

    def output_shape(self, call, output):
        if output.reduced and not call.options[1]:
            return ()
        if self.keeps_shape[output.name]:
            return call.shape
        return tuple(extent.size(call.dims) for extent in output.shape_with(call.values))

    def run(self, which, call, tensors, strides, saved=None, grad_loss=None, outputs=None, gradients=None):
        arguments = []
        for role, key in self.plan[which]:
            if role == "dim":
                arguments.append(call.dims[key])
                continue
            if role == "stride":
                arguments.append(strides.get(key, 0))
                continue
            if role == "input":
                tensor = tensors[key]
            elif role == "output":
                tensor = outputs[key]
            elif role == "gradient":
                tensor = gradients.get(key)
            elif role == "grad_loss":
                tensor = grad_loss
            else:
                tensor = saved
            arguments.append(0 if tensor is None else tensor.data_ptr())
        context = call.context
        first = (context._handle, call.options[0], call.code)
        workspace, bytes_ = 0, 0
        if context.kind != "cpu" or self.entry.workspace:
            dims = [call.dims[name] for name in self.entry.dims]
            bytes_ = needed_workspace(self.functions["workspace_size"], *first, dims)
            room = torch.empty(bytes_ + 256, dtype=torch.uint8, device=call.device)
            workspace = -(-room.data_ptr() // 256) * 256
        status = self.functions[which](*first, *arguments, workspace, bytes_)
        if status:
            raise _library.error(status)


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx, call, *tensors):
        runner = call.runner
        entry = runner.entry
        ctx.call = call
        ready, strides = {}, {}
        for source, tensor in zip(runner.inputs, tensors):
            ready[source.name], strides[source.name] = runner.stride(source, tensor)
        outputs = {}
        for output in entry.outputs.values():
            dtype = _DTYPES.get(output.type) or call.dtype
            outputs[output.name] = torch.empty(runner.output_shape(call, output), dtype=dtype, device=call.device)
        saved = None
        if entry.saved and any(ctx.needs_input_grad):
            sizes = [extent.size(call.dims) for extent in entry.saved]
            saved = torch.empty(sizes, dtype=torch.float32, device=call.device)
        runner.run("forward", call, ready, strides, saved=saved, outputs=outputs)
        for output in entry.outputs.values():
            if output.length:
                outputs[output.name] = outputs[output.name][: int(outputs[output.length])].clone()
        # The caller's tensors, so that torch notices if they change before backward.
        ctx.save_for_backward(*tensors, saved)
        results = tuple(outputs.values())
        if not entry.differentiable:
            ctx.mark_non_differentiable(*results)
        else:
            ctx.mark_non_differentiable(*results[1:])
        return results if len(results) > 1 else results[0]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_loss, *_):
        call = ctx.call
        runner = call.runner
        *tensors, saved = ctx.saved_tensors
        if grad_loss.dtype != torch.float32:
            grad_loss = grad_loss.float()
        grad_loss = grad_loss.contiguous()
        ready, strides, gradients = {}, {}, {}
        for source, tensor, needed in zip(runner.inputs, tensors, ctx.needs_input_grad[1:]):
            tensor, stride = runner.stride(source, tensor)
            if needed and tensor is not None:
                if stride > 2 * tensor.shape[-1]:
                    tensor, stride = tensor.contiguous(), 0
                if stride:
                    room = torch.empty((tensor.shape[0], stride), dtype=tensor.dtype, device=tensor.device)
                    gradients[source.name] = room[:, : tensor.shape[1]]
                else:
                    gradients[source.name] = torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
            ready[source.name], strides[source.name] = tensor, stride
        if gradients:
            # Backward may run with another stream current than forward did; torch sets forward's.
            runner.run("backward", call, ready, strides, saved=saved, grad_loss=grad_loss, gradients=gradients)
        return (None, *[gradients.get(source.name) for source in runner.inputs])


def _make(name):
    entry = _registry.entry(name)
    runner = _Runner(entry)

    def function(*arguments, **keywords):
        return runner.call(arguments, keywords)

    function.__name__ = function.__qualname__ = name
    function.__module__ = "losskit.torch"
    function.__signature__ = _docs.signature(entry)
    function.__doc__ = _docs.torch_function(entry)
    return function


def __getattr__(name):
    if name in _registry.ENTRIES:
        function = globals()[name] = _make(name)
        return function
    raise AttributeError(f"module 'losskit.torch' has no attribute {name!r}")


def __dir__():
    return sorted(set(globals()) | set(__all__))
