"""Reading untrusted files: one clear line for whatever a damaged or hostile file makes its reader raise."""

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What h5py, zipfile, zlib, struct, json and NumPy raise on bytes that make no sense.
_DAMAGE = (
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn the errors of a reader into one line that names the file `path`.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        `path` is not a file.
    OSError
        The system could not read it: a missing permission, a fault of the disk.
    ValueError
        The block raised anything else that damage leads to.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"cannot read {path}: it is a folder; give the name of a file")
    if not path.is_file():
        raise FileNotFoundError(f"cannot read {path}: there is no such file")
    try:
        yield
    except OSError as error:
        kind = OSError if error.errno else ValueError  # a number comes from the system, none from a parser
        raise kind(f"cannot read {path}: {_one_line(error)}") from error
    except _DAMAGE as error:
        raise ValueError(f"cannot read {path}: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    """The error in one line of bounded length: some libraries quote the bytes they cannot read."""
    text = str(error.strerror if isinstance(error, OSError) and error.strerror else error)
    said = " ".join(text[:600].split())
    return said if isinstance(error, ValueError | OSError) else f"it is damaged ({type(error).__name__}: {said})"
