"""What a call does with arrays that are not simply right: conversion, copies and error messages."""

import ctypes
import sys

import numpy as np

from ._errors import InvalidArgument
from ._registry import shape_text

F32, F16, I64, U8 = (np.dtype(name) for name in ("float32", "float16", "int64", "uint8"))

#: Codes of the storage types in C.
CODES = {F32: 0, F16: 1}
try:
    import ml_dtypes
except ImportError:
    BF16 = None
else:
    BF16 = np.dtype(ml_dtypes.bfloat16)
    CODES[BF16] = 2

#: C contiguous and aligned, as `flags.num` has it.
READY = 0x0101


def pointer(array):
    """Address of an array's first element."""
    return array.ctypes.data


# The attribute above costs two microseconds. The address is also the first field of the C struct behind
# an array, right after the object header: part of numpy's binary interface. Tried out before it is relied on.
POINTER = "{}.ctypes.data"
if sys.implementation.name == "cpython":
    _HEADER = object.__basicsize__
    read_address = ctypes.c_size_t.from_address
    _samples = [np.zeros(3, np.float32), np.zeros((2, 5))[1:, 2:], np.zeros(())]
    if all(read_address(id(array) + _HEADER).value == array.ctypes.data for array in _samples):
        POINTER = f"_read(id({{}}) + {_HEADER}).value"

        def pointer(array):  # noqa: F811
            return read_address(id(array) + _HEADER).value

    del _samples

_TYPES = {"float": "float32, float16 or bfloat16", "f32": "float32", "i64": "an integer type", "u8": "bool or uint8"}


def describe(element):
    """What an input's elements may be, in words."""
    return _TYPES[element]


class Arguments:
    """The slow paths of one entry's calls."""

    def __init__(self, entry):
        self.entry = entry

    def array(self, name, value):
        """An argument that is not a numpy array, as one."""
        source = self.entry.inputs[name]
        if isinstance(value, np.ndarray):
            return np.asarray(value)
        if hasattr(value, "__dlpack__"):
            try:
                return np.from_dlpack(value)
            except (RuntimeError, BufferError, TypeError) as error:
                raise TypeError(f"{self.entry.name}: {name} cannot be taken over DLPack: {error}") from error
        if isinstance(value, (list, tuple, int, float)) and not isinstance(value, bool):
            # Python numbers have no type of their own to respect.
            array = np.asarray(value)
            kind = array.dtype.kind
            return array.astype(F32) if source.type in ("float", "f32") and kind in "fiu" else array
        if hasattr(value, "__array__"):
            return np.asarray(value)
        raise TypeError(f"{self.entry.name}: {name} is a {type(value).__name__}, expected an array of {describe(source.type)}")

    def dtype(self, name, array):
        """Refuses the dtype of a float input."""
        hint = ""
        if array.dtype == np.float64:
            hint = f"; convert it with {name}.astype(numpy.float32)"
        elif array.dtype.name == "bfloat16":
            hint = "; bfloat16 needs the package ml_dtypes"
        raise TypeError(
            f"{self.entry.name}: {name} has dtype {array.dtype}, expected {describe(self.entry.inputs[name].type)}{hint}"
        )

    def mixed(self, name, array, dtype):
        """Compares dtypes that are not the same object."""
        if array.dtype != dtype:
            if array.dtype not in CODES:
                self.dtype(name, array)
            raise TypeError(
                f"{self.entry.name}: {name} has dtype {array.dtype}, expected {dtype} as the other float inputs have"
            )

    def integers(self, name, array):
        if array.dtype == I64:
            return array
        if array.dtype.kind not in "iu" and array.size:
            raise TypeError(f"{self.entry.name}: {name} has dtype {array.dtype}, expected an integer type")
        if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
            raise InvalidArgument(f"{self.entry.name}: {name} has the value {array.max()}, which is too large for int64")
        return array.astype(I64)

    def bytes(self, name, array):
        if array.dtype == np.bool_:
            return array.view(U8)
        if array.dtype != U8:
            self.dtype(name, array)
        return array

    def singles(self, name, array):
        if array.dtype != F32:
            self.dtype(name, array)
        return array

    def shape(self, name, array, dims):
        """Complains about a shape; `dims` are the dimensions known so far."""
        shape = self.entry.inputs[name].shape
        expected = shape_text(shape)
        if all(name in dims for extent in shape for name in extent.factors):
            sizes = shape_text([extent.size(dims) for extent in shape])
            expected += f" = {sizes}" if sizes != expected else ""
        raise InvalidArgument(f"{self.entry.name}: {name} has shape {array.shape}, expected {expected}")

    def other_shape(self, name, array, first, shape):
        raise InvalidArgument(f"{self.entry.name}: {name} has shape {array.shape}, expected that of {first}, {shape}")

    def rows(self, array):
        """A 2-d array and the distance of its rows in elements, 0 if they are dense. A copy if need be."""
        size = array.itemsize
        step, inner = array.strides
        dense = array.shape[1] * size
        if array.flags.aligned and inner == size and step % size == 0 and step >= dense:
            return array, step // size
        return self.ready(array), 0

    def ready(self, array):
        """A contiguous, aligned copy of the same shape."""
        return np.array(array, order="C", copy=True)

    def missing(self, *given):
        names = [f"'{i.name}'" for i, value in zip(self.entry.positional, given) if value is MISSING]
        names += [f"'{name}'" for name in self.entry.free_dims[: max(0, len(given) - len(self.entry.positional))]]
        listing = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        raise TypeError(f"{self.entry.name}() missing {len(names)} required argument{'s' * (len(names) > 1)}: {listing}")

    def upstream(self, grad_loss, shape):
        """The upstream gradient as a dense f32 array of the shape of the first output."""
        try:
            array = np.asarray(grad_loss)
            if array.dtype != F32:
                array = array.astype(F32, casting="same_kind" if array.dtype.kind == "f" else "unsafe")
        except (TypeError, ValueError) as error:
            raise TypeError(f"{self.entry.name}: grad_loss cannot be taken as float32: {error}") from None
        if array.shape != shape and not (shape == () and array.size == 1):
            raise InvalidArgument(f"{self.entry.name}: grad_loss has shape {array.shape}, expected {shape}")
        return array if array.flags.num & READY == READY else np.array(array, order="C", copy=True)

    def wanted(self, names, given):
        """Which of the differentiable inputs `names` asks for; `given` are those a gradient exists for."""
        names = (names,) if isinstance(names, str) else tuple(names)
        possible = self.entry.differentiable
        for name in names:
            if name not in possible:
                raise ValueError(
                    f"{self.entry.name}: wanted has {name!r}, expected names among {', '.join(map(repr, possible))}"
                )
            if name not in given:
                raise ValueError(f"{self.entry.name}: wanted has {name!r}, which was not given to the call")
        return [name in names for name in possible]


class _Missing:
    def __repr__(self):
        return "<required>"


MISSING = _Missing()
