"""The entries as the library describes them."""

import ctypes
import functools
import json

from . import _library

_FIELD_TYPES = {
    "float": ctypes.c_double,
    "int": ctypes.c_int64,
    "uint": ctypes.c_uint64,
    "bool": ctypes.c_uint8,
    "enum": ctypes.c_int32,
    "reduction": ctypes.c_int32,
}
_REDUCTIONS = ("none", "mean", "sum")


class Extent:
    """A product of a number, dimensions and integer options, plus a number: ``scale * factors + plus``."""

    __slots__ = ("scale", "factors", "plus", "text")

    def __init__(self, text):
        self.text = str(text)
        product, _, plus = self.text.partition("+")
        self.plus = int(plus or 0)
        self.scale, factors = 1, []
        for part in map(str.strip, product.split("*")):
            if part.isdigit():
                self.scale *= int(part)
            else:
                factors.append(part)
        self.factors = tuple(factors)

    def __repr__(self):
        return self.text

    @property
    def dim(self):
        """The name whose value the extent tells, if it tells one."""
        return self.factors[0] if len(self.factors) == 1 and not self.plus else None

    def size(self, values):
        """For values of the dimensions and options, by name."""
        size = self.scale
        for name in self.factors:
            size *= values[name]
        return size + self.plus


def shape_text(shape):
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


class _Described:
    _shown = ()

    def __repr__(self):
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._shown)
        return f"{type(self).__name__}({shown})"


class Input(_Described):
    """An input: ``name``, ``type`` ("float", "f32", "i64" or "u8"), ``shape`` in dimensions, ``doc``,
    ``differentiable``, ``optional``, ``stride`` (rows may be apart), ``index`` (what its values are below),
    ``ignore`` (the option that holds a value standing for none), ``range`` (of its values, in words)."""

    _shown = ("name", "type", "shape", "differentiable", "optional")

    def __init__(self, raw):
        self.name, self.type, self.doc = raw["name"], raw["type"], raw["doc"]
        self.shape = tuple(map(Extent, raw["shape"]))
        self.differentiable = raw.get("differentiable", False)
        self.optional = raw.get("optional", False)
        self.stride = raw.get("stride", False)
        self.in_place = raw.get("in_place", False)
        self.index = Extent(raw["index"]) if "index" in raw else None
        self.ignore, self.range = raw.get("ignore"), raw.get("range")


class Option(_Described):
    """An option: ``name``, ``type`` ("float", "int", "uint", "bool", "enum" or "reduction"), ``default``,
    ``range`` (text) and ``also`` (values beside it), ``minimum`` and ``maximum``, ``values`` (of enums),
    ``doc``."""

    _shown = ("name", "type", "default", "allowed")

    def __init__(self, raw):
        self.name, self.type, self.doc = raw["name"], raw["type"], raw["doc"]
        self.range, self.also = raw.get("range"), tuple(raw.get("also", ()))
        self.minimum, self.maximum = raw.get("min"), raw.get("max")
        self.values = tuple(raw.get("values", ()))
        if self.type == "reduction":
            self.values = (*_REDUCTIONS, *self.also)
        self.default = None

    @property
    def allowed(self):
        """What values it takes, in words."""
        if self.values:
            return " or ".join([", ".join(map(repr, self.values[:-1])), repr(self.values[-1])])
        if self.type == "bool":
            return "True or False"
        if self.type == "float":
            return f"in {self.range}" + "".join(f" or {value:g}" for value in self.also)
        if self.type == "uint":
            return "an integer of 64 bits, not negative"
        if self.minimum is None and self.maximum is None:
            return "any integer"
        bounds = [f"at least {self.minimum}"] if self.minimum is not None else []
        return " and ".join(bounds + ([f"at most {self.maximum}"] if self.maximum is not None else []))


class Output(_Described):
    """An output: ``name``, ``type``, ``shape`` (for reduction none where ``reduced``), ``merged`` (the bool
    option that takes its first extent away where it is ``merged_if``), ``in_place`` (the input that C may have it written over),
    ``length`` (the output that tells how many places of the first extent C writes; Python returns just
    those), ``doc``."""

    _shown = ("name", "type", "shape", "reduced")

    def __init__(self, raw):
        self.name, self.type, self.doc = raw["name"], raw["type"], raw["doc"]
        self.shape = tuple(map(Extent, raw["shape"]))
        self.reduced, self.in_place = raw.get("reduced", False), raw.get("in_place")
        self.length = raw.get("length")
        merged = raw.get("merged") or ""
        self.merged, self.merged_if = merged.lstrip("!") or None, not merged.startswith("!")

    def shape_with(self, options):
        """Its extents for these options, by name."""
        return self.shape[1:] if self.merged and bool(options[self.merged]) == self.merged_if else self.shape


class Dim(_Described):
    """A dimension: ``name``, ``minimum``, ``doc``, and of one that is room for results ``capacity``, how much
    is always enough, which Python takes."""

    _shown = ("name", "minimum")

    def __init__(self, raw):
        self.name, self.minimum, self.doc = raw["name"], raw.get("min", 0), raw["doc"]
        self.capacity = Extent(raw["capacity"]) if "capacity" in raw else None


class Entry(_Described):
    """An objective of the library. ``inputs``, ``options``, ``outputs`` and ``dims`` are dicts by name, in
    the order of the C interface."""

    _shown = ("name", "kind", "family", "summary")

    def __init__(self, raw):
        self.name, self.kind, self.family = raw["name"], raw["kind"], raw["family"]
        self.summary, self.paper, self.doc = raw["summary"], raw["paper"], raw["doc"]
        self.example = raw.get("example", "")
        self.elementwise = raw["elementwise"]
        self.saved = tuple(map(Extent, raw["saved"]))
        self.devices = tuple(raw["devices"])
        self.workspace = "cpu" in raw["workspace"]
        self.dims = {d["name"]: Dim(d) for d in raw["dims"]}
        self.inputs = {i["name"]: Input(i) for i in raw["inputs"]}
        self.options = {o["name"]: Option(o) for o in raw["options"]}
        self.outputs = {o["name"]: Output(o) for o in raw["outputs"]}
        self.functions = raw["functions"]
        self._options_init = raw["options_init"]
        self._options_struct = None
        self._read_defaults()

    @functools.cached_property
    def differentiable(self):
        """Names of the inputs that have a gradient."""
        return tuple(i.name for i in self.inputs.values() if i.differentiable)

    @functools.cached_property
    def positional(self):
        """Inputs in the order of a Python call: those that must be given first."""
        return sorted(self.inputs.values(), key=lambda i: i.optional)

    @functools.cached_property
    def free_dims(self):
        """Dimensions that no input has, so that a call must say them."""
        seen = {extent.dim for i in self.inputs.values() for extent in i.shape}
        return tuple(name for name in self.dims if name not in seen and not self.dims[name].capacity)

    def with_capacities(self, dims, options=()):
        """Dimensions with those that are room for results."""
        values = self.values(dims, dict(options))
        room = {dim.name: dim.capacity.size(values) for dim in self.dims.values() if dim.capacity}
        return {**dims, **room}

    def values(self, dims, options):
        """What extents are made of: dimensions and options by name."""
        return {**{o.name: o.default for o in self.options.values()}, **options, **dims}

    @functools.cached_property
    def reduction(self):
        """The reduction option, if there is one."""
        return next((o for o in self.options.values() if o.type == "reduction"), None)

    @property
    def options_struct(self):
        if self._options_struct is None:
            fields = [("struct_size", ctypes.c_size_t)]
            fields += [(o.name, _FIELD_TYPES[o.type]) for o in self.options.values()]
            self._options_struct = type(f"lk_{self.name}_options", (ctypes.Structure,), {"_fields_": fields})
        return self._options_struct

    def default_options(self):
        """The options struct as the library initialises it."""
        struct = self.options_struct()
        init = getattr(_library.LIBRARY, self._options_init)
        init.restype, init.argtypes = None, [ctypes.c_void_p]
        init(ctypes.addressof(struct))
        return struct

    def function(self, which):
        """The C function "forward", "backward", "forward_backward" or "workspace_size"."""
        raw = self.functions[which]
        return _library.function(raw["symbol"], raw["parameters"])

    def _read_defaults(self):
        # From the struct, not the JSON, which has no way to write an infinity.
        struct = self.default_options()
        for option in self.options.values():
            value = getattr(struct, option.name)
            if option.values:
                value = option.values[value]
            elif option.type == "bool":
                value = bool(value)
            option.default = value


REGISTRY = json.loads(_library.registry_json())
ENTRIES = {raw["name"]: raw for raw in REGISTRY["entries"]}
_made = {}


def entry(name):
    """The entry of that name, made on first use."""
    made = _made.get(name)
    if made is None:
        made = _made[name] = Entry(ENTRIES[name])
    return made
