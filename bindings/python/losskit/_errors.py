"""Exceptions: one class per status of the library."""


class Error(RuntimeError):
    """A call failed. ``status`` is the library's status code; the message names the argument, its value
    and what was expected."""

    status = 7


class InvalidArgument(Error, ValueError):
    """A shape, size, stride or dtype is not as it must be."""

    status = 1


class InvalidOption(Error, ValueError):
    """An option is out of its range."""

    status = 2


class InvalidLabel(Error, ValueError, IndexError):
    """A label or other index is out of range."""

    status = 3


class WorkspaceTooSmall(Error):
    """The workspace is missing or too small."""

    status = 4


class Unsupported(Error, NotImplementedError):
    """The entry does not exist on this device, or the library was built without it."""

    status = 5


class CudaError(Error):
    """The CUDA driver is missing or reported an error."""

    status = 6


class InternalError(Error):
    """A defect of the library."""

    status = 7


BY_STATUS = {
    cls.status: cls
    for cls in (InvalidArgument, InvalidOption, InvalidLabel, WorkspaceTooSmall, Unsupported, CudaError, InternalError)
}
