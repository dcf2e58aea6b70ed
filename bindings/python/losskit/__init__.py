"""Training objectives for machine learning, forward and backward, on numpy arrays.

Every entry of the library is a function of this module: ``losskit.entries()`` lists them,
``help(losskit.<name>)`` documents one. ``losskit.torch`` has the same functions on torch tensors::

    >>> import numpy, losskit
    >>> logits = numpy.array([[0.5, -1.25, 0.25], [3.0, 0.0, 2.5]], numpy.float32)
    >>> result = losskit.token_cross_entropy(logits, labels=[0, 2], label_smoothing=0.1)
    >>> result.loss
    np.float32(0.9035413)
    >>> gradients = result.backward()
    >>> gradients["logits"].shape
    (2, 3)
"""

from . import _functions, _library, _registry
from ._context import Context
from ._errors import (
    CudaError,
    Error,
    InternalError,
    InvalidArgument,
    InvalidLabel,
    InvalidOption,
    Unsupported,
    WorkspaceTooSmall,
)

_OWN = [
    "Context",
    "CudaError",
    "Error",
    "InternalError",
    "InvalidArgument",
    "InvalidLabel",
    "InvalidOption",
    "Unsupported",
    "WorkspaceTooSmall",
    "entries",
    "features",
    "library_path",
    "version",
]
__all__ = _OWN + list(_registry.ENTRIES)


def entries():
    """Every entry of the library by name, with its inputs, options, defaults, outputs, kind, family, summary
    and paper."""
    return {name: _registry.entry(name) for name in _registry.ENTRIES}


def version():
    """Version of the native library, as "major.minor.patch"."""
    return _library.version().decode()


def features():
    """Features the native library was built with, such as "cuda"."""
    return tuple(_registry.REGISTRY["features"])


def library_path():
    """Where the native library was found."""
    return _library.PATH


__version__ = version()


def __getattr__(name):
    if name in _registry.ENTRIES:
        function = globals()[name] = _functions.make(name)
        return function
    raise AttributeError(f"module 'losskit' has no attribute {name!r}")


def __dir__():
    return sorted(set(globals()) | set(__all__))
