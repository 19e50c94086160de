"""Atomic writes: a crash leaves the old file or the new one, never half of one."""

import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from nanostyle.errors import with_hint

# Stands in the name of a file while it is written; an old file with it was left by a run that was killed.
_UNFINISHED = ".nanostyle-unfinished-"
_MOST = 80  # bytes of the file's own name that follow: a file system takes 255
# What a file system answers to a call that it does not know, as exFAT, SMB and FUSE do to chmod and syncs.
_UNSUPPORTED = {errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF}


@contextmanager
def replacing(path: str | os.PathLike[str], *, overwrite: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, it is synced and takes `path`'s place.

    If the block raises, the temporary file is removed and `path` is as it was. A link is followed. With `overwrite`
    False, a file that is there at the last moment stays. Permissions and syncs that the file system does not support
    are passed over.

    Raises
    ------
    FileExistsError
        `overwrite` is False, and the file is there now.
    OSError
        The folder does not exist or is not writable, the disk is full, or `path` is a folder or a device.
    """
    path = Path(path)
    with _telling(path):
        target = path.resolve() if path.is_symlink() else path
        mode = target.stat().st_mode if target.exists() else stat.S_IFREG
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"cannot write {path}: it is a folder; give the name of a file")
    if not stat.S_ISREG(mode):
        raise OSError(f"cannot write {path}: it is a device or a pipe; give the name of a file")
    prefix, suffix = _around(path)
    with _telling(path):
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with _telling(path):
            with temporary.open("rb+") as file, _supported():
                os.fsync(file.fileno())
            with _supported():
                # mkstemp makes files that only their owner may read; a result has the permissions of any other file.
                temporary.chmod(0o666 & ~_umask())
            if overwrite:
                temporary.replace(target)
            else:
                _move_without_replacing(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _move_without_replacing(temporary: Path, target: Path) -> None:
    """Give `temporary` the name `target` unless it is taken: a link fails where a file is, a rename does not."""
    try:
        target.hardlink_to(temporary)
    except FileExistsError as error:
        raise _exists(target) from error
    except OSError:  # a file system without links: an empty file takes the name first
        try:
            target.touch(exist_ok=False)
        except FileExistsError as error:
            raise _exists(target) from error
        temporary.replace(target)
    else:
        temporary.unlink()


def _exists(path: Path) -> FileExistsError:
    return with_hint(FileExistsError(f"{path} exists already"), "choose another name or pass {overwrite}")


def _around(path: Path) -> tuple[str, str]:
    """What stands before and after the random letters in the name of the temporary file for `path`."""
    stem = os.fsencode(path.stem)[:_MOST].decode(errors="ignore")
    return f"{_UNFINISHED}{stem}.", path.suffix if len(os.fsencode(path.suffix)) <= 16 else ""


@contextmanager
def _supported() -> Iterator[None]:
    """Pass over what the file system does not support."""
    try:
        yield
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def write(path: str | os.PathLike[str], data: bytes | memoryview | str, *, overwrite: bool = True) -> None:
    """Write `data` (text as UTF-8) to the file `path`, whole or not at all. Raises as `replacing` does."""
    with replacing(path, overwrite=overwrite) as temporary, _telling(Path(path)):
        # Text can hold names of files, and these bytes that are no text.
        temporary.write_bytes(data.encode(errors="backslashreplace") if isinstance(data, str) else data)


@contextmanager
def writing(path: str | os.PathLike[str], *, overwrite: bool = True) -> Iterator[BinaryIO]:
    """Yield a file to write; when the block ends well, it is the file `path`. Raises as `replacing` does."""
    with replacing(path, overwrite=overwrite) as temporary, _telling(Path(path)), temporary.open("wb") as file:
        yield file


def check_target(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Raise now what `write(path, …)` would raise after the work is done; leaves no trace.

    Raises
    ------
    FileExistsError
        The file is there and `overwrite` is False.
    FileNotFoundError, NotADirectoryError, IsADirectoryError, OSError
        The folder is missing, is a file or cannot be written to, or `path` is a folder or a device.
    """
    path = Path(path)
    if not path.parent.exists():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    if not path.parent.is_dir():
        raise NotADirectoryError(f"cannot write {path}: {path.parent} is a file, not a folder; choose another output")
    with suppress(_Probed), replacing(path):
        raise _Probed  # the temporary file could be made, as `write` will; it is removed again
    if path.exists() and not overwrite:
        raise _exists(path)


def remove_unfinished(folder: Path, name: str = "") -> None:
    """Remove the temporary files that a killed run left in `folder`: those of the file `name`, else all."""
    begin, end = _around(Path(name)) if name else (_UNFINISHED, "")
    for left in folder.iterdir():
        drawn = left.name.removeprefix(begin).removesuffix(end)  # what mkstemp has put between
        ours = left.name == begin + drawn + end and not (name and "." in drawn)
        if ours and left.is_file():
            left.unlink()


class _Probed(Exception):
    pass


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Turn an error of the system into one that names the file as the user knows it."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        said = f"cannot write {path}: {error.strerror or error}; choose another output, or make room"
        raise OSError(said) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system can; the file is in its place already."""
    if os.name == "posix":
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return sha256_of(file)


def sha256_of(file: BinaryIO) -> str:
    """The SHA-256 of what an open file still holds, in hexadecimal."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
