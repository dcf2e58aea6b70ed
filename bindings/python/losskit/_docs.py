"""Signatures and documentation of the Python functions, from the declarations."""

import inspect
import itertools
import textwrap

from ._registry import shape_text

_TYPES = {"float": "array of float32, float16 or bfloat16", "f32": "float32 array", "i64": "int64 array", "u8": "bool or uint8 array"}
_OUT = {"float": "array of the inputs' dtype", "f32": "float32 array", "i64": "int64 array", "u8": "uint8 array"}
_SIZES = (4, 10, 3, 5, 6, 7, 2)
_WIDTH = 100
_CONTEXT = "Default: the CPU with all its threads"


def signature(entry, fused=False):
    parameter = inspect.Parameter
    parts = []
    for source in entry.positional:
        default = None if source.optional else parameter.empty
        parts.append(parameter(source.name, parameter.POSITIONAL_OR_KEYWORD, default=default))
    for name in entry.free_dims:
        parts.append(parameter(name, parameter.KEYWORD_ONLY))
    for option in entry.options.values():
        parts.append(parameter(option.name, parameter.KEYWORD_ONLY, default=option.default))
    for name in ("grad_loss", "wanted") if fused else ():
        parts.append(parameter(name, parameter.KEYWORD_ONLY, default=None))
    parts.append(parameter("context", parameter.KEYWORD_ONLY, default=None))
    return inspect.Signature(parts)


def _sentence(text):
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else text + "."


def _capital(text):
    return text[:1].upper() + text[1:]


def _python(text):
    return text.replace("NULL", "None")


def _item(head, text):
    return textwrap.fill(f"{head}: {text}", _WIDTH, initial_indent="    ", subsequent_indent="        ", break_long_words=False)


def _shape(entry, shape):
    if entry.elementwise and [str(extent) for extent in shape] == list(entry.dims):
        return "of any shape"
    return f"of shape {shape_text(shape)}" if shape else "a single value"


def _input(entry, source):
    kind = f"{_TYPES[source.type]} {_shape(entry, source.shape)}"
    if source.optional:
        kind += ", optional"
    text = _capital(_sentence(_python(source.doc)))
    if source.index:
        text = text[:-1] + f", in [0, {source.index})" + (f" or equal to ``{source.ignore}``" if source.ignore else "") + "."
    if source.range:
        text = text[:-1] + f", in {source.range}."
    if source.differentiable:
        text += " Differentiable."
    if source.stride:
        text += " Rows that are apart in memory are taken as they are; other strides are copied."
    return _item(f"{source.name} ({kind})", text)


def _option(option):
    kind = "str" if option.values else option.type
    text = _capital(_sentence(option.doc))
    allowed = f"One of {option.allowed}" if option.values else _capital(option.allowed)
    return _item(f"{option.name} ({kind}, optional)", f"{text} {allowed}. Default: {option.default!r}")


def _output(entry, output):
    if output.merged:
        which = "with" if output.merged_if else "without"
        output_shape = f"{_shape(entry, output.shape)}, or {shape_text(output.shape[1:])} {which} ``{output.merged}``"
    else:
        shape = [output.length, *output.shape[1:]] if output.length else output.shape
        output_shape = _shape(entry, shape)
    if output.reduced:
        values = entry.reduction.values
        single = " or ".join(repr(v) for v in values if v != "none")
        shape = "of the inputs' shape" if output_shape == "of any shape" else output_shape
        kind = f"{_OUT[output.type].replace(' array', '')}; a single value for reduction {single}, an array {shape} for 'none'"
    else:
        kind = f"{_OUT[output.type]} {output_shape}"
    return _item(f"{output.name} ({kind})", _capital(_sentence(output.doc)))


def _example(entry):
    if entry.example:
        lines = ["import numpy, losskit", "rng = numpy.random.default_rng(0)", *entry.example.strip().splitlines()]
        return "\n".join("    >>> " + line for line in lines)
    sizes = {dim: max(size, entry.dims[dim].minimum) for dim, size in zip(entry.dims, itertools.cycle(_SIZES))}
    sizes = entry.values(sizes, {})
    if entry.elementwise and len(entry.dims) == 1:
        sizes[next(iter(entry.dims))] = 6
    lines = ["import numpy, losskit", "rng = numpy.random.default_rng(0)"]
    for source in entry.positional:
        if source.optional:
            continue
        shape = shape_text([extent.size(sizes) for extent in source.shape])
        if source.type in ("float", "f32"):
            lines.append(f"{source.name} = rng.random({shape}, dtype=numpy.float32)")
        elif source.type == "i64":
            upper = source.index.size(sizes) if source.index else 2
            lines.append(f"{source.name} = rng.integers(0, {upper}, size={shape})")
        else:
            lines.append(f"{source.name} = rng.integers(0, 2, size={shape}, dtype=numpy.uint8)")
    required = [i for i in entry.positional if not i.optional]
    passed = [i.name for i in required] + [f"{dim}={sizes[dim]}" for dim in entry.free_dims]
    text = ["    >>> " + line for line in lines]
    call = textwrap.wrap(f"result = losskit.{entry.name}({', '.join(passed)})", _WIDTH, subsequent_indent="    ")
    text += ["    >>> " + call[0], *("    ... " + line for line in call[1:])]
    output = next(iter(entry.outputs.values()))
    single = output.reduced and entry.reduction.default != "none"
    if output.length:
        text.append(f"    >>> len(result.{output.name}) == int(result.{output.length})")
        text.append("    True")
    else:
        text.append(f"    >>> result.{output.name}.shape")
        text.append("    " + shape_text([] if single else [extent.size(sizes) for extent in output.shape]))
    if entry.differentiable:
        name = entry.differentiable[0]
        text.append(f'    >>> result.backward()["{name}"].shape')
        text.append("    " + shape_text([extent.size(sizes) for extent in entry.inputs[name].shape]))
    return "\n".join(text)


def _prose(text):
    """Long lines wrapped; those that begin with a space stay as they are."""
    return "\n".join(
        line if line.startswith(" ") or not line else textwrap.fill(line, _WIDTH + 4) for line in text.rstrip().splitlines()
    )


def function(entry):
    doc = [_sentence(entry.summary), "", _prose(_python(entry.doc))]
    if entry.positional:
        doc += ["", "Args:", *(_input(entry, source) for source in entry.positional)]
    doc += ["", "Keyword Args:"]
    doc += [_item(f"{dim} (int)", _capital(_sentence(entry.dims[dim].doc))) for dim in entry.free_dims]
    doc += [_option(option) for option in entry.options.values()]
    doc.append(_item("context (losskit.Context, optional)", f"Where to compute. {_CONTEXT}"))
    doc += ["", "Returns:", "    A result with the attributes"]
    doc += [textwrap.indent(_output(entry, output), "  ") for output in entry.outputs.values()]
    if entry.differentiable:
        text = (
            f"and the method ``backward(grad_loss=None, wanted=None)``, which returns a dict of the gradients of "
            f"``{next(iter(entry.outputs))}`` by input name ({', '.join(entry.differentiable)}). ``grad_loss`` is the upstream "
            f"gradient, of the shape of ``{next(iter(entry.outputs))}``; ones if not given. "
            f"``losskit.{entry.name}.forward_backward(...)`` computes both in one pass over memory."
        )
    else:
        text = "It has no differentiable input."
    doc.append(textwrap.fill(text, _WIDTH, initial_indent="    ", subsequent_indent="    "))
    doc += ["", "Raises:"]
    doc.append(_item("TypeError", "An argument has a dtype it cannot have, or is missing, or is unknown."))
    doc.append(_item("losskit.InvalidArgument (a ValueError)", "A shape does not fit."))
    if entry.options:
        doc.append(_item("losskit.InvalidOption (a ValueError)", "An option is out of its range."))
    if any(source.index for source in entry.inputs.values()):
        doc.append(_item("losskit.InvalidLabel (a ValueError and IndexError)", "A label is out of range."))
    doc += ["", "Example::", "", _example(entry), "", "Source:"]
    doc.append(textwrap.fill(_sentence(entry.paper), _WIDTH, initial_indent="    ", subsequent_indent="    "))
    return "\n".join(doc) + "\n"


def fused(entry):
    if not entry.differentiable:
        return f"{entry.name} has no differentiable input.\n"
    return (
        f"As :func:`losskit.{entry.name}`, with the gradients computed in the same pass over memory.\n\n"
        f"Takes also ``grad_loss``, the upstream gradient (ones if not given), and ``wanted``, the names of the\n"
        f"inputs whose gradients are wanted (all differentiable ones if not given: {', '.join(entry.differentiable)}).\n"
        f"The result has the attribute ``gradients``, a dict by input name.\n"
    )


def result(entry):
    lines = [f"Outputs of :func:`losskit.{entry.name}`.", ""]
    lines += [f"{output.name}: {output.doc}" for output in entry.outputs.values()]
    return "\n".join(lines) + "\n"


def torch_function(entry):
    text = function(entry)
    for array, tensor in (("array of float32", "Tensor of float32"), (" array of", " Tensor of"), (" array,", " Tensor,")):
        text = text.replace(array, tensor)
    head, _, rest = text.partition("\nReturns:\n")
    head = head.replace(_CONTEXT, "Default: that of the tensors' device and its current stream")
    outputs = ", ".join(entry.outputs)
    returns = "A tensor" if len(entry.outputs) == 1 else f"A named tuple ({outputs})"
    gradients = f" Gradients flow to {', '.join(entry.differentiable)}." if entry.differentiable else ""
    source = rest.partition("\nSource:\n")[2]
    return (
        f"{head}\nReturns:\n    {returns}.{gradients} See :func:`losskit.{entry.name}` for shapes and errors.\n\nSource:\n{source}"
    )
