"""PyAV, the extra `video`: FFmpeg's libraries. It is loaded on use, and here alone."""

import importlib
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nanostyle.errors import NanostyleError

_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,nut,ivf,mjpeg"


def is_installed() -> bool:
    """Whether videos can be read and written here, and motion be estimated."""
    try:
        return importlib.util.find_spec("av") is not None
    except ValueError:  # it was loaded, and is no module
        return False


def pyav() -> Any:
    """The module `av`.

    Raises
    ------
    NanostyleError
        The extra is not installed.
    """
    os.environ.setdefault("SVT_LOG", "1")  # the encoder of AV1 tells of itself on stderr, but for errors
    try:
        for part in ("av.filter", "av.error", "av.codec.context"):
            importlib.import_module(part)
        return importlib.import_module("av")
    except ImportError as error:
        raise NanostyleError('video: needs PyAV; pip install "nanostyle[video]"') from error


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The video at `path`, opened as an input container of PyAV.

    FFmpeg opens what a file tells it to open: a playlist that is called `.mp4` would read other files, or the network.
    So it gets the bytes of this one file, and only formats that hold the pictures themselves.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, OSError
        There is nothing to read.
    ValueError
        It is no video, or a damaged one.
    NanostyleError
        The extra is not installed.
    """
    av = pyav()
    if path.is_dir():
        raise IsADirectoryError(f"cannot read {path}: it is a folder; give the name of a video")
    with path.open("rb") as file:
        if not file.read(1):
            raise ValueError(f"{path} is empty (0 bytes); get a fresh copy of it")
        file.seek(0)
        with reading(path):
            container = av.open(file, options={"format_whitelist": _FORMATS, "protocol_whitelist": "file"})
        with container:
            yield container


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what FFmpeg raises on a file that makes no sense into one line that names it."""
    av = pyav()
    try:
        yield
    except (av.error.FFmpegError, UnicodeDecodeError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        said = getattr(error, "strerror", None) or type(error).__name__
        raise ValueError(f"{path} is not a video that can be read, or it is cut short ({said})") from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an error of the system while `path` is written into one line."""
    try:
        yield
    except OSError as error:
        if error.errno is None or not error.strerror:
            raise
        raise OSError(f"cannot write {path}: {error.strerror}; choose another output, or make room") from error
