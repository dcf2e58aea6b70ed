"""Memory of a CUDA device, through the driver: calls on numpy arrays copy them there and back.

This is for trying things out and for tests. Training code has its tensors on the device already; see
:mod:`losskit.torch`.
"""

import ctypes
import sys

import numpy as np

from ._arrays import pointer
from ._context import needed_workspace
from ._errors import CudaError

_NAMES = ("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1", "libcuda.so")
_ALIGN = 256

_HANDLE = ctypes.c_void_p
_ADDRESS = ctypes.c_uint64
_FUNCTIONS = {
    "cuInit": [ctypes.c_uint],
    "cuGetErrorString": [ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)],
    "cuDeviceGet": [ctypes.POINTER(ctypes.c_int), ctypes.c_int],
    "cuDevicePrimaryCtxRetain": [ctypes.POINTER(_HANDLE), ctypes.c_int],
    "cuDevicePrimaryCtxRelease_v2": [ctypes.c_int],
    "cuCtxPushCurrent_v2": [_HANDLE],
    "cuCtxPopCurrent_v2": [ctypes.POINTER(_HANDLE)],
    "cuMemAlloc_v2": [ctypes.POINTER(_ADDRESS), ctypes.c_size_t],
    "cuMemFree_v2": [_ADDRESS],
    "cuMemcpyHtoDAsync_v2": [_ADDRESS, ctypes.c_void_p, ctypes.c_size_t, _HANDLE],
    "cuMemcpyDtoHAsync_v2": [ctypes.c_void_p, _ADDRESS, ctypes.c_size_t, _HANDLE],
    "cuStreamSynchronize": [_HANDLE],
}
_driver = None


def _load():
    global _driver
    if _driver is None:
        for name in _NAMES:
            try:
                library = ctypes.CDLL(name)
                break
            except OSError:
                continue
        else:
            raise CudaError(f"no CUDA driver found ({_NAMES[0]})")
        for function, arguments in _FUNCTIONS.items():
            getattr(library, function).argtypes = arguments
            getattr(library, function).restype = ctypes.c_int
        _driver = library
    return _driver


def _check(what, code):
    if code:
        text = ctypes.c_char_p()
        _driver.cuGetErrorString(code, ctypes.byref(text))
        raise CudaError(f"{what}: {text.value.decode() if text.value else 'CUDA error'} ({code})")


def _span(array):
    """Bytes from an array's first to its last element, gaps between rows included."""
    if array.size == 0:
        return 0
    return sum((n - 1) * step for n, step in zip(array.shape, array.strides)) + array.itemsize


class DeviceMemory:
    """The memory of one device, on the stream of a context."""

    def __init__(self, ordinal, stream):
        driver = self._driver = _load()
        self.stream = stream or 0
        self._device, self._context = ctypes.c_int(), _HANDLE()
        _check("cuInit", driver.cuInit(0))
        _check("cuDeviceGet", driver.cuDeviceGet(ctypes.byref(self._device), ordinal))
        retained = driver.cuDevicePrimaryCtxRetain(ctypes.byref(self._context), self._device)
        _check("cuDevicePrimaryCtxRetain", retained)

    # May run when the interpreter ends and module globals are gone.
    def close(self):
        context, self._context = self._context, None
        if context and self._driver:
            self._driver.cuDevicePrimaryCtxRelease_v2(self._device)

    def call(self, function, workspace_size, handle, opts, dtype, dims, rest, writes):
        """Calls `function(handle, opts, dtype, *dims, *rest, workspace, bytes)` with copies on the device of
        the arrays in `rest`; those that `writes` marks are copied back."""
        workspace = needed_workspace(workspace_size, handle, opts, dtype, dims)
        places, size = [], 0
        for value in rest:
            places.append(size)
            if isinstance(value, np.ndarray):
                size += -(-_span(value) // _ALIGN) * _ALIGN + _ALIGN
        start, stream, driver = _ADDRESS(), self.stream, _driver
        popped = _HANDLE()
        _check("cuCtxPushCurrent", driver.cuCtxPushCurrent_v2(self._context))
        try:
            _check("cuMemAlloc", driver.cuMemAlloc_v2(ctypes.byref(start), size + workspace + _ALIGN))
            base = -(-start.value // _ALIGN) * _ALIGN
            try:
                arguments = []
                for value, place, written in zip(rest, places, writes):
                    if not isinstance(value, np.ndarray):
                        arguments.append(value or 0)
                        continue
                    arguments.append(base + place)
                    if not written and value.size:
                        copied = driver.cuMemcpyHtoDAsync_v2(base + place, pointer(value), _span(value), stream)
                        _check("cuMemcpyHtoDAsync", copied)
                scratch = base + size if workspace else 0
                status = function(handle, opts, dtype, *dims, *arguments, scratch, workspace)
                if status:
                    return status
                for value, place, written in zip(rest, places, writes):
                    if written and isinstance(value, np.ndarray) and value.size:
                        copied = driver.cuMemcpyDtoHAsync_v2(pointer(value), base + place, _span(value), stream)
                        _check("cuMemcpyDtoHAsync", copied)
                return 0
            finally:
                # The arrays and the device memory are in use until the stream has come this far.
                synchronised = driver.cuStreamSynchronize(stream)
                driver.cuMemFree_v2(start)
                _check("cuStreamSynchronize", synchronised)
        finally:
            driver.cuCtxPopCurrent_v2(ctypes.byref(popped))
