"""Finds and loads the native library."""

import ctypes
import glob
import os
import sys

from ._errors import BY_STATUS, Error

_NAME = {"darwin": "liblosskit.dylib", "win32": "losskit.dll"}.get(sys.platform, "liblosskit.so")


def _repository(folder):
    """The source tree this package lies in, if it does."""
    for _ in range(4):
        folder = os.path.dirname(folder)
        if os.path.isfile(os.path.join(folder, "Cargo.toml")):
            return folder
    return None


def _candidates():
    package = os.path.dirname(os.path.abspath(__file__))
    yield os.path.join(package, "lib", _NAME)
    root = _repository(package)
    if root:
        release = os.path.join(root, "target", "release", _NAME)
        built = glob.glob(os.path.join(root, "build", "**", _NAME), recursive=True)
        # The newest: an older one may lack what the sources have by now.
        yield from sorted([*filter(os.path.isfile, [release]), *built], key=os.path.getmtime, reverse=True)
        yield release
        yield os.path.join(root, "build", _NAME)
        yield os.path.join(root, "target", "debug", _NAME)


def _find():
    given = os.environ.get("LOSSKIT_LIBRARY")
    if given:
        if not os.path.isfile(given):
            raise ImportError(f"losskit: LOSSKIT_LIBRARY is {given!r}, which is not a file")
        return given
    looked = []
    for path in _candidates():
        if os.path.isfile(path):
            return path
        looked.append(path)
    listing = "".join(f"\n  {path}" for path in dict.fromkeys(looked))
    raise ImportError(
        f"losskit: the native library {_NAME} was not found. Set LOSSKIT_LIBRARY to its path, or build it "
        f"with 'cargo build --release'. Looked at:{listing}"
    )


PATH = _find()
try:
    LIBRARY = ctypes.CDLL(PATH)
    LIBRARY.lk_registry_json  # noqa: B018
except (OSError, AttributeError) as error:
    raise ImportError(f"losskit: {PATH} is not a losskit library that can be loaded here: {error}") from error


class ContextOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("num_threads", ctypes.c_uint32)]


def _declare(name, result, *arguments):
    function = getattr(LIBRARY, name)
    function.restype, function.argtypes = result, arguments
    return function


_P = ctypes.c_void_p
version = _declare("lk_version", ctypes.c_char_p)
registry_json = _declare("lk_registry_json", ctypes.c_char_p)
last_error_message = _declare("lk_last_error_message", ctypes.c_char_p)
status_string = _declare("lk_status_string", ctypes.c_char_p, ctypes.c_int32)
context_options_init = _declare("lk_context_options_init", None, _P)
context_create = _declare("lk_context_create", ctypes.c_int32, _P, _P)
context_create_cuda = _declare("lk_context_create_cuda", ctypes.c_int32, _P, ctypes.c_int32, _P, _P)
context_set_stream = _declare("lk_context_set_stream", ctypes.c_int32, _P, _P)
context_check = _declare("lk_context_check", ctypes.c_int32, _P)
context_destroy = _declare("lk_context_destroy", None, _P)

#: ctypes types of parameters by role; everything else is a pointer.
_ROLE_TYPES = {
    "dtype": ctypes.c_int32,
    "dim": ctypes.c_size_t,
    "stride": ctypes.c_size_t,
    "workspace_bytes": ctypes.c_size_t,
}


def function(symbol, parameters):
    """A C function of an entry, taking plain integers for pointers."""
    types = [_ROLE_TYPES.get(parameter["role"], _P) for parameter in parameters]
    return _declare(symbol, ctypes.c_int32, *types)


def error(status):
    """The exception for a failed call of this thread."""
    message = last_error_message().decode()
    exception = BY_STATUS.get(status, Error)(message or status_string(status).decode())
    exception.status = status
    return exception


def check(status):
    if status:
        raise error(status)
