"""The exceptions of the package: each is a :class:`Error` and the built-in of its kind."""


class Error(Exception):
    """Whatever neurosieve refuses or fails at; the message says what is wrong, where, and what to do about it."""


class InvalidInputError(Error, ValueError):
    """A value, an array or the contents of a file is not what an operation allows."""


class FileError(Error, OSError):
    """A file or folder cannot be opened, read or written; ``errno`` and ``filename`` say which and why."""


class DeviceError(Error, RuntimeError):
    """There is no such compute device, or it failed."""
