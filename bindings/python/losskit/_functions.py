"""The Python functions of entries, made on first use."""

import linecache
import operator

import numpy as np

from . import _arrays, _docs, _library, _registry, _source
from ._arrays import MISSING, Arguments
from ._context import default_context, host_workspace
from ._errors import InvalidArgument
from ._options import Options, reject_unknown
from ._result import Result


def _dimension(entry):
    def check(name, value):
        try:
            number = operator.index(value)
        except TypeError:
            raise TypeError(f"{entry.name}: {name} is {value!r}, expected an integer") from None
        if number < entry.dims[name].minimum:
            raise InvalidArgument(f"{entry.name}: {name} is {number}, expected at least {entry.dims[name].minimum}")
        return number

    return check


def _size(value):
    """Of an option that was accepted as an integer; the library says what it may be."""
    return max(0, operator.index(value))


def _unknown(name, names):
    def reject(unknown):
        reject_unknown(name, names, unknown)

    return reject


def make(name):
    """The function of an entry; `forward_backward` is an attribute of it."""
    entry = _registry.entry(name)
    arguments, options = Arguments(entry), Options(entry)
    scope = {
        "__name__": f"losskit.{name}",
        "_Result": Result,
        "_MISSING": MISSING,
        "_ndarray": np.ndarray,
        "_empty": np.empty,
        "_F32": _arrays.F32,
        "_I64": _arrays.I64,
        "_U8": _arrays.U8,
        "_codes": _arrays.CODES,
        "_read": getattr(_arrays, "read_address", None),
        "_made": options.made,
        "_make": options.make,
        "_error": _library.error,
        "_default_context": default_context,
        "_host_workspace": host_workspace,
        "_index": _size,
        "_dimension": _dimension(entry),
        "_missing": arguments.missing,
        "_array": arguments.array,
        "_bad_dtype": arguments.dtype,
        "_mixed": arguments.mixed,
        "_integers": arguments.integers,
        "_bytes": arguments.bytes,
        "_singles": arguments.singles,
        "_bad_shape": arguments.shape,
        "_other_shape": arguments.other_shape,
        "_rows": arguments.rows,
        "_ready": arguments.ready,
        "_as_upstream": arguments.upstream,
        "_wanted": arguments.wanted,
    }
    positional, keywords = _source.parameters(entry)
    known = [parameter for parameter, _ in positional + keywords]
    scope["_reject"] = _unknown(name, known)
    for which in entry.functions:
        scope[f"_{which}"] = entry.function(which)
    for option in entry.options.values():
        scope[f"_default_{option.name}"] = option.default
    source = _source.write(entry)
    # Tracebacks and inspect show the written source.
    file = f"<losskit.{name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    exec(compile(source, file, "exec"), scope)

    result, forward = scope["result"], scope["forward"]
    scope["_result"] = result
    scope["_forward_function"] = forward
    result._entry, result._outputs = name, tuple(entry.outputs)
    result.__name__ = result.__qualname__ = "".join(map(str.capitalize, name.split("_"))) + "Result"
    result.__module__ = "losskit"
    result.__doc__ = _docs.result(entry)
    fused = scope.get("forward_backward", _without_gradient(name))
    for function, qualified in ((forward, name), (fused, f"{name}.forward_backward")):
        function.__module__ = "losskit"
        function.__qualname__ = qualified
        function.__name__ = qualified.rpartition(".")[2]
    forward.__doc__, forward.__signature__ = _docs.function(entry), _docs.signature(entry)
    fused.__doc__, fused.__signature__ = _docs.fused(entry), _docs.signature(entry, fused=True)
    forward.forward_backward = fused
    return forward


def _without_gradient(name):
    def forward_backward(*_, **__):
        return Result.backward(type("", (Result,), {"_entry": name})())

    return forward_backward
