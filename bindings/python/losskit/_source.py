"""Writes the Python source of an entry's functions.

A call of a small loss takes a few microseconds; walking through declarations at every call would cost more
than the loss itself. So the functions are written out once per entry, on first use, with all that is known
about its arguments in place.
"""

from . import _arrays
from ._registry import Entry

_DTYPES = {"float": "_dtype", "f32": "_F32", "i64": "_I64", "u8": "_U8"}


class Writer:
    def __init__(self, entry: Entry):
        self.entry = entry
        self.lines = []
        self.indent = 0

    def __call__(self, text=""):
        self.lines.append("    " * self.indent + text if text else "")

    def block(self, head):
        self(head)
        return self

    def __enter__(self):
        self.indent += 1

    def __exit__(self, *_):
        self.indent -= 1


def _tuple(parts):
    parts = list(parts)
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def _pointer(name):
    return _arrays.POINTER.format(name)


def _extent(entry, extent):
    """The extent as an expression; options stand in it under their own names."""
    parts = [f"_d_{name}" if name in entry.dims else f"_index({name})" for name in extent.factors]
    if extent.scale != 1 or not parts:
        parts.insert(0, str(extent.scale))
    return " * ".join(parts) + (f" + {extent.plus}" if extent.plus else "")


def _keeps_shape(entry, shape):
    return entry.elementwise and [str(extent) for extent in shape] == list(entry.dims)


def _shape(entry, shape):
    return "_shape" if _keeps_shape(entry, shape) else _tuple(_extent(entry, extent) for extent in shape)


def _output_shape(entry, output):
    shape = _shape(entry, output.shape)
    if not output.merged:
        return shape
    condition = output.merged if output.merged_if else f"not {output.merged}"
    return f"({_shape(entry, output.shape[1:])} if {condition} else {shape})"


def _options_in_shapes(entry):
    """Options that sizes depend on."""
    shapes = [part.shape for part in [*entry.inputs.values(), *entry.outputs.values()]] + [entry.saved]
    named = [name for shape in shapes for extent in shape for name in extent.factors]
    return [name for name in entry.options if name in named and name not in entry.dims]


def parameters(entry, extra=()):
    """Names of the parameters of the Python function: positional ones, then keywords with defaults."""
    positional = [(i.name, "None" if i.optional else "_MISSING") for i in entry.positional]
    keywords = [(name, "_MISSING") for name in entry.free_dims]
    keywords += [(o.name, f"_default_{o.name}") for o in entry.options.values()]
    keywords += [(name, "None") for name in extra]
    keywords.append(("context", "None"))
    return positional, keywords


def _signature(entry, extra=()):
    positional, keywords = parameters(entry, extra)
    parts = [f"{name}={default}" for name, default in positional]
    parts += ["*"] + [f"{name}={default}" for name, default in keywords] + ["**_unknown"]
    return ", ".join(parts)


def _prepare(w, entry):
    """Checks and conversions that every pass starts with."""
    with w.block("if _unknown:"):
        w("_reject(_unknown)")
    required = [i.name for i in entry.inputs.values() if not i.optional] + list(entry.free_dims)
    if required:
        every = [i.name for i in entry.positional] + list(entry.free_dims)
        with w.block(f"if {' or '.join(f'{name} is _MISSING' for name in required)}:"):
            w(f"_missing({', '.join(every)})")
    with w.block("if context is None:"):
        w("context = _default_context()")
    for source in entry.positional:
        _take_options(w, entry, source)
    values = ", ".join(entry.options)
    with w.block("try:"):
        w(f"_o = _made[{_tuple(entry.options)}]")
    with w.block("except (KeyError, TypeError):"):
        w(f"_o = _make({values})")
    known = set()
    for dim in entry.free_dims:
        w(f"_d_{dim} = _dimension({dim!r}, {dim})")
        known.add(dim)
    floats = [i for i in entry.positional if i.type == "float"]
    w.dtype_known, w.unset = False, set()
    if not floats or floats[0].optional:
        w("_dtype = None")
    for source in entry.positional:
        if source.optional:
            # A dimension that only absent inputs would tell is 0.
            for name in _dims_of(entry, source.shape):
                if name not in known:
                    w(f"_d_{name} = 0")
                    w.unset.add(name)
            with w.block(f"if {source.name} is not None:"):
                _take(w, entry, source, known)
            known.update(_dims_of(entry, source.shape))
        else:
            _take(w, entry, source, known)
    for dim in entry.dims.values():
        if dim.capacity:
            w(f"_d_{dim.name} = {_extent(entry, dim.capacity)}")
    if not floats:
        w("_code = 0")
    elif floats[0].optional:
        w("_code = 0 if _dtype is None else _codes[_dtype]")
        with w.block("if _dtype is None:"):
            w("_dtype = _F32")


def _take_options(w, entry, source):
    """An option that only an optional input's extent needs to tell: taken from the input unless it is given."""
    for axis, extent in enumerate(source.shape):
        name = extent.factors[0] if len(extent.factors) == 1 and extent.scale == 1 and not extent.plus else None
        if not source.optional or name in entry.dims or name not in entry.options:
            continue
        with w.block(f"if {source.name} is not None and {name} == _default_{name}:"):
            with w.block(f"if type({source.name}) is not _ndarray:"):
                w(f"{source.name} = _array({source.name!r}, {source.name})")
            with w.block(f"if {source.name}.ndim == {len(source.shape)}:"):
                w(f"{name} = {source.name}.shape[{axis}]")


def _dims_of(entry, shape):
    return [name for extent in shape for name in extent.factors if name in entry.dims]


def _take(w, entry, source, known):
    name = source.name
    with w.block(f"if type({name}) is not _ndarray:"):
        w(f"{name} = _array({name!r}, {name})")
    if source.type == "float":
        if w.dtype_known:
            with w.block(f"if {name}.dtype is not _dtype:"):
                w(f"_mixed({name!r}, {name}, _dtype)")
        else:
            if not source.optional:
                w(f"_dtype = {name}.dtype")
                w("_code = _codes.get(_dtype)")
                with w.block("if _code is None:"):
                    w(f"_bad_dtype({name!r}, {name})")
                w.dtype_known = True
            else:
                with w.block("if _dtype is None:"):
                    w(f"_dtype = {name}.dtype")
                    with w.block("if _dtype not in _codes:"):
                        w(f"_bad_dtype({name!r}, {name})")
                with w.block(f"elif {name}.dtype is not _dtype:"):
                    w(f"_mixed({name!r}, {name}, _dtype)")
    else:
        convert = {"i64": "_integers", "u8": "_bytes", "f32": "_singles"}[source.type]
        with w.block(f"if {name}.dtype is not {_DTYPES[source.type]}:"):
            w(f"{name} = {convert}({name!r}, {name})")
    _take_shape(w, entry, source, known)
    if source.stride:
        w(f"_st_{name} = 0")
        with w.block(f"if {name}.flags.num & {_arrays.READY} != {_arrays.READY}:"):
            w(f"{name}, _st_{name} = _rows({name})")
    else:
        with w.block(f"if {name}.flags.num & {_arrays.READY} != {_arrays.READY}:"):
            w(f"{name} = _ready({name})")


def _take_shape(w, entry, source, known):
    name = source.name
    if _keeps_shape(entry, source.shape):
        dim = next(iter(entry.dims))
        if dim not in known:
            w(f"_shape = {name}.shape")
            w(f"_d_{dim} = {name}.size")
            w(f"_first = {name!r}")
            known.add(dim)
        else:
            with w.block(f"if {name}.shape != _shape:"):
                w(f"_other_shape({name!r}, {name}, _first, _shape)")
        return
    unset = w.unset
    fresh = {name for name in _dims_of(entry, source.shape) if name not in known}
    values = [f"{dim!r}: _d_{dim}" for dim in entry.dims if dim in known]
    dims = "{" + ", ".join(values + [f"{option!r}: {option}" for option in _options_in_shapes(entry)]) + "}"
    complain = f"_bad_shape({name!r}, {name}, {dims})"
    if not fresh and not (unset & set(_dims_of(entry, source.shape))):
        with w.block(f"if {name}.shape != {_tuple(_extent(entry, e) for e in source.shape)}:"):
            w(complain)
        return
    with w.block(f"if {name}.ndim != {len(source.shape)}:"):
        w(complain)
    seen = set(known)
    checks = []
    for axis, extent in enumerate(source.shape):
        dim = extent.dim if extent.dim in entry.dims else None
        if dim is not None and dim not in seen:
            w(f"_d_{dim} = {name}.shape[{axis}]" + (f" // {extent.scale}" if extent.scale > 1 else ""))
            seen.add(dim)
            if extent.scale > 1:
                checks.append(axis)
        elif dim in unset and source.optional:
            with w.block(f"if _d_{dim} == 0:"):
                w(f"_d_{dim} = {name}.shape[{axis}]" + (f" // {extent.scale}" if extent.scale > 1 else ""))
            checks.append(axis)
        else:
            checks.append(axis)
    for axis in checks:
        with w.block(f"if {name}.shape[{axis}] != {_extent(entry, source.shape[axis])}:"):
            w(complain)
    known.update(seen)


def _outputs(w, entry):
    reduced = [o for o in entry.outputs.values() if o.reduced]
    for output in entry.outputs.values():
        if not output.reduced:
            w(f"_out_{output.name} = _empty({_output_shape(entry, output)}, {_DTYPES[output.type]})")
    if reduced:
        with w.block("if _o[1]:"):
            for output in reduced:
                w(f"_out_{output.name} = _empty({_output_shape(entry, output)}, {_DTYPES[output.type]})")
        with w.block("else:"):
            for output in reduced:
                w(f"_out_{output.name} = _empty(1, {_DTYPES[output.type]})")


def _values(entry):
    """The outputs as the caller gets them: single values as scalars."""
    values = []
    for output in entry.outputs.values():
        name = f"_out_{output.name}"
        if output.reduced:
            values.append(f"{name} if _o[1] else {name}[0]")
        elif not output.shape:
            values.append(f"{name}[()]")
        elif output.length:
            # A copy: most of the room may be unused, and is given back.
            values.append(f"{name}[:_out_{output.length}[()]].copy()")
        else:
            values.append(name)
    return values


def _gradients(w, entry):
    names = [entry.inputs[name] for name in entry.differentiable]
    with w.block("if wanted is None:"):
        for source in names:
            w(f"_w_{source.name} = " + (f"{source.name} is not None" if source.optional else "True"))
    with w.block("else:"):
        given = "[" + ", ".join(f"{i.name!r}" for i in names if not i.optional) + "]"
        for source in names:
            if source.optional:
                given += f" + ([{source.name!r}] if {source.name} is not None else [])"
        w(f"{', '.join(f'_w_{i.name}' for i in names)}, = _wanted(wanted, {given})")
    w("_all = {}")
    for source in names:
        name = source.name
        dtype = _DTYPES[source.type]
        w(f"_g_{name} = None")
        with w.block(f"if _w_{name}:"):
            if source.stride:
                columns = _extent(entry, source.shape[-1])
                # The gradient has the stride of its input: where most of it would be gaps, rows move together.
                with w.block(f"if _st_{name} > 2 * {columns}:"):
                    w(f"{name}, _st_{name} = _ready({name}), 0")
                with w.block(f"if _st_{name}:"):
                    w(f"_g_{name} = _empty(({_extent(entry, source.shape[0])}, _st_{name}), {dtype})[:, :{columns}]")
                with w.block("else:"):
                    w(f"_g_{name} = _empty({name}.shape, {dtype})")
            else:
                w(f"_g_{name} = _empty({name}.shape, {dtype})")
            w(f"_all[{name!r}] = _g_{name}")


def _upstream(w, entry):
    first = next(iter(entry.outputs.values()))
    shape = _output_shape(entry, first)
    if first.reduced:
        shape = f"{shape} if _o[1] else ()"
    with w.block("if grad_loss is not None:"):
        w(f"grad_loss = _as_upstream(grad_loss, {shape})")


_VARIABLES = {
    "dim": "_d_{name}",
    "stride": "_st_{of}",
    "input": "{name}",
    "output": "_out_{name}",
    "saved_out": "_saved",
    "saved_in": "_saved",
    "grad_loss": "grad_loss",
    "gradient": "_g_{of}",
}


def _call(w, entry, which):
    dims, fast, slow, writes = [], [], [], []
    for p in entry.functions[which]["parameters"]:
        role = p["role"]
        if role in ("context", "options", "dtype", "workspace", "workspace_bytes"):
            continue
        variable = _VARIABLES[role].format(name=p["name"], of=p.get("of"))
        if role == "dim":
            dims.append(variable)
            continue
        slow.append(variable)
        writes.append(role in ("output", "saved_out", "gradient"))
        if role == "stride":
            fast.append(variable)
        elif role in ("saved_in", "grad_loss", "gradient") or (role == "input" and entry.inputs[p["name"]].optional):
            fast.append(f"0 if {variable} is None else {_pointer(variable)}")
        else:
            fast.append(_pointer(variable))
    first = ["context._handle", "_o[0]", "_code"]
    with w.block("if context._device is None:"):
        if entry.workspace:
            w(f"_room, _at, _size = _host_workspace(_workspace_size, {', '.join(first)}, {_tuple(dims)})")
            w(f"_status = _{which}({', '.join(first + dims + fast + ['_at', '_size'])})")
        else:
            w(f"_status = _{which}({', '.join(first + dims + fast + ['0', '0'])})")
    with w.block("else:"):
        w(
            f"_status = context._device.call(_{which}, _workspace_size, {', '.join(first)}, {_tuple(dims)}, "
            f"{_tuple(slow)}, {tuple(writes)})"
        )
    with w.block("if _status:"):
        w("raise _error(_status)")


def _state(entry):
    """What a result keeps for backward."""
    names = ["context", "_o", "_code", "_dtype"] + [f"_d_{dim}" for dim in entry.dims]
    names += [f"_st_{i.name}" for i in entry.inputs.values() if i.stride] + list(entry.inputs)
    names += _options_in_shapes(entry)
    names += sorted({o.merged for o in entry.outputs.values() if o.merged})
    if entry.saved:
        names.append("_saved")
    if entry.elementwise:
        names.append("_shape")
    return names


def _strides_of_absent(w, entry):
    for source in entry.inputs.values():
        if source.stride and source.optional:
            with w.block(f"if {source.name} is None:"):
                w(f"_st_{source.name} = 0")


def write(entry):
    """Source of the functions `forward` and `forward_backward` and of the class `result`."""
    w = Writer(entry)
    differentiable = bool(entry.differentiable)
    slots = [*entry.outputs, "gradients", "_call"]
    with w.block("class result(_Result):"):
        w(f"__slots__ = {tuple(slots)!r}")
        w()
        with w.block(f"def __init__(self, {', '.join(slots)}):"):
            for slot in slots:
                w(f"self.{slot} = {slot}")
        if differentiable:
            w()
            with w.block("def backward(self, grad_loss=None, wanted=None):"):
                w(f"{_tuple(_state(entry))} = self._call")
                _gradients(w, entry)
                _upstream(w, entry)
                _call(w, entry, "backward")
                w("return _all")
    w()
    w()
    with w.block(f"def forward({_signature(entry)}):"):
        _prepare(w, entry)
        _strides_of_absent(w, entry)
        _outputs(w, entry)
        if entry.saved:
            w(f"_saved = _empty({_shape(entry, entry.saved)}, _F32)" if differentiable else "_saved = None")
        _call(w, entry, "forward")
        state = _tuple(_state(entry)) if differentiable else "None"
        w(f"return _result({', '.join([*_values(entry), 'None', state])})")
    if differentiable:
        w()
        w()
        with w.block(f"def forward_backward({_signature(entry, ('grad_loss', 'wanted'))}):"):
            if "forward_backward" in entry.functions:
                _prepare(w, entry)
                _strides_of_absent(w, entry)
                _outputs(w, entry)
                _gradients(w, entry)
                _upstream(w, entry)
                _call(w, entry, "forward_backward")
                if entry.saved:
                    w("_saved = None")
                w(f"return _result({', '.join([*_values(entry), '_all', _tuple(_state(entry))])})")
            else:
                positional, keywords = parameters(entry)
                passed = [name for name, _ in positional] + [f"{name}={name}" for name, _ in keywords]
                w(f"_r = _forward_function({', '.join(passed)}, **_unknown)")
                w("_r.gradients = _r.backward(grad_loss, wanted)")
                w("return _r")
    return "\n".join(w.lines) + "\n"
