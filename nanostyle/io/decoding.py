"""Opening picture files that nobody vouches for: one clear line for whatever a decoder makes of a bad one."""

import contextlib
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from nanostyle.errors import NanostyleError, with_hint
from nanostyle.io.formats import READERS

# Without a handler Python prints what Pillow logs of damaged files; programs that want it still get it.
logging.getLogger("PIL").addHandler(logging.NullHandler())

_SHRINK = "shrink it with an image editor first ({size} comes too late, it works on the decoded picture)"


class TooLarge(ValueError):
    """A picture has more pixels than are allowed."""


def opened(path: str | os.PathLike[str]) -> BinaryIO:
    """The file `path`, open for reading.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, OSError
        There is nothing to read there.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a picture")
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        address = str(path).split(":", 1)[0] in ("http", "https", "ftp")
        what = "an address is not read, only files; download it first" if address else "check the name"
        raise FileNotFoundError(f"there is no picture {path}; {what}") from error
    except OSError as error:
        raise OSError(f"cannot read {path}: {error.strerror or error}; check the file's permissions") from error


class _Silence:
    """`warnings.catch_warnings` for several threads: the first one in silences, the last one out restores.

    Pillow warns of broken EXIF, large pictures and the like: they do not matter here, or are errors of ours.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._caught = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._caught.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._caught.close()


_silence = _Silence()


@contextlib.contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn whatever a decoder makes of a bad file into one clear ValueError that names the file; no warnings."""
    try:
        with _silence:
            yield
    except (NanostyleError, TooLarge):
        raise
    except UnidentifiedImageError as error:
        known = ", ".join(READERS)
        raise ValueError(
            f"{name} is not a picture, or not in a format that can be read ({known}); save it as PNG or JPEG"
        ) from error
    except Image.DecompressionBombError as error:
        reason = str(error).split(",")[0]
        raise with_hint(TooLarge(f"{name} is too large: {reason}"), _SHRINK) from error
    except MemoryError as error:
        raise with_hint(MemoryError(f"not enough memory to decode {name}"), _SHRINK) from error
    except Exception as error:  # decoders raise nearly anything: struct.error, SyntaxError, KeyError, zlib.error …
        if isinstance(error, ValueError) and str(error).startswith(f"{name} "):  # it is ours, and says which file
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{name} is damaged or cut short ({reason}); get a fresh copy of it") from error


class _Muted:
    """Swallows what is written to the process's standard error: libtiff tells of damage there, asked or not.

    Several threads may be inside: the first one in turns it off, the last one out on.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._kept: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                with contextlib.suppress(OSError):  # there may be no standard error
                    self._kept = os.dup(2)
                    nowhere = os.open(os.devnull, os.O_WRONLY)
                    os.dup2(nowhere, 2)
                    os.close(nowhere)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._kept is not None:
                os.dup2(self._kept, 2)
                os.close(self._kept)
                self._kept = None


muted = _Muted()


def check_pixels(size: tuple[int, int], name: str, max_pixels: int) -> None:
    """Raise `TooLarge` if a picture of `size` (width, height) has more than `max_pixels` pixels."""
    width, height = size
    if width * height > max_pixels:
        text = f"{name} is too large: {width} x {height} pixels, the limit is {max_pixels}"
        raise with_hint(TooLarge(text), _SHRINK)
