"""Contexts: where calls compute."""

import ctypes
import threading

import numpy as np

from . import _library
from ._arrays import pointer

_EMULATED = -1


class Context:
    """Where calls compute.

    Args:
        kind (str): "cpu", "cuda", or "cuda-emulated" (the CUDA kernels run on the host; for testing).
        num_threads (int): threads of a CPU context; 0 for one per processor, 1 for the caller's alone.
        device (int): which CUDA device.
        stream (int, optional): a ``cudaStream_t`` as an integer; the default stream if not given.

    A context may be used by several threads at once. ``close()``, the end of a ``with`` block or garbage
    collection ends it.

    Example::

        >>> with losskit.Context("cpu", num_threads=1) as context:
        ...     losskit.mse_loss(pred, target, context=context)
    """

    def __init__(self, kind="cpu", num_threads=0, device=0, stream=None):
        self._handle = 0
        self._device = None
        self.kind, self.num_threads, self.device, self.stream = kind, num_threads, device, stream
        options = _library.ContextOptions()
        _library.context_options_init(ctypes.addressof(options))
        options.num_threads = num_threads
        handle = ctypes.c_void_p()
        to, opts = ctypes.addressof(handle), ctypes.addressof(options)
        if kind == "cpu":
            _library.check(_library.context_create(to, opts))
        elif kind == "cuda-emulated":
            _library.check(_library.context_create_cuda(to, _EMULATED, stream, opts))
            self._device = HostMemory()
        elif kind == "cuda":
            _library.check(_library.context_create_cuda(to, device, stream, opts))
        else:
            raise ValueError(f"context is {kind!r}, expected 'cpu', 'cuda' or 'cuda-emulated'")
        self._handle = handle.value
        if kind == "cuda":
            from ._cuda import DeviceMemory

            self._device = DeviceMemory(device, stream)

    def check(self):
        """Waits for the device and raises what its kernels found since the last check, such as
        :class:`losskit.InvalidLabel`. A CPU context has nothing to report."""
        _library.check(_library.context_check(self._handle))

    def set_stream(self, stream):
        """Makes later calls of a CUDA context work on another stream."""
        _library.check(_library.context_set_stream(self._handle, stream))
        self.stream = stream
        if self.kind == "cuda":
            self._device.stream = stream or 0

    # The default keeps the function alive to the end of the interpreter, when module globals may be gone.
    def close(self, _destroy=_library.context_destroy):
        """Ends the context. No call may be using it."""
        handle, self._handle = self._handle, 0
        if handle:
            _destroy(handle)
            if self.kind == "cuda" and self._device is not None:
                self._device.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if getattr(self, "_handle", 0):
            self.close()

    def __repr__(self):
        of = f", num_threads={self.num_threads}" if self.kind == "cpu" else f", device={self.device}"
        return f"losskit.Context({self.kind!r}{of if self.kind != 'cuda-emulated' else ''})"


class HostMemory:
    """Memory of a device whose memory is the host's."""

    def call(self, function, workspace_size, handle, opts, dtype, dims, rest, writes):
        """Calls `function(handle, opts, dtype, *dims, *rest, workspace, bytes)`. Arrays in `rest` stand for
        their memory; `writes` tells for each place whether the function writes there."""
        bytes_ = needed_workspace(workspace_size, handle, opts, dtype, dims)
        workspace = np.empty(bytes_ + 256, np.uint8)
        start = -(-pointer(workspace) // 256) * 256
        places = [pointer(value) if isinstance(value, np.ndarray) else value or 0 for value in rest]
        return function(handle, opts, dtype, *dims, *places, start if bytes_ else 0, bytes_)


def needed_workspace(workspace_size, handle, opts, dtype, dims):
    needed = ctypes.c_size_t()
    _library.check(workspace_size(handle, opts, dtype, *dims, ctypes.addressof(needed)))
    return needed.value


def host_workspace(workspace_size, handle, opts, dtype, dims):
    """An array, its address and its size for a call on the CPU."""
    bytes_ = needed_workspace(workspace_size, handle, opts, dtype, dims)
    room = np.empty(bytes_, np.uint8)
    return room, pointer(room) if bytes_ else 0, bytes_


_default = None
_lock = threading.Lock()


def default_context():
    """The context of calls that name none: the CPU with all its threads. Made on first use."""
    global _default
    if _default is None or not _default._handle:
        with _lock:
            if _default is None or not _default._handle:
                _default = Context("cpu")
    return _default
