"""Claims: two programs that share a folder of results do not make one twice."""

import hashlib
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# A claim of another machine that nobody renewed for so long is of a program that was killed.
_STALE = 3600.0  # seconds


@contextmanager
def claimed(target: Path) -> Iterator[Path | None]:
    """Claim the result `target` while the block runs: yields the claim's file, None where another program has it.

    The claim is a hidden file beside the result, made exclusively; `os.utime` on it shows that the work goes on. One
    whose program is gone is taken over: on this machine at once, on another after an hour. Where no claim can be
    written, the work is done without.
    """
    digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    path = target.with_name(f".nanostyle-claim-{digest}")
    for _ in range(2):
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            if not _taken_over(path):
                yield None
                return
        except OSError:
            break
        else:
            os.write(handle, _own())
            os.close(handle)
            break
    else:  # another program was quicker to take it over
        yield None
        return
    try:
        yield path
    finally:
        with suppress(OSError):
            if path.read_bytes() == _own():  # else it was taken over, for it was not renewed
                path.unlink()


def _own() -> bytes:
    """What this process writes into its claims."""
    return f"{socket.gethostname()} {os.getpid()}".encode()


def _taken_over(path: Path) -> bool:
    """Remove a claim whose program is gone; False where it is not, or where another program was quicker to do so."""
    try:
        before = path.stat()
        if not _is_stale(path):
            return False
        # Of several programs one moves it away, and what it moved is looked at: it may be the new claim of another.
        moved = path.with_name(f"{path.name}-{os.getpid()}")
        path.rename(moved)
        is_the_same = moved.stat().st_ino == before.st_ino and moved.stat().st_mtime == before.st_mtime
        if not is_the_same:
            with suppress(OSError):
                path.hardlink_to(moved)
        moved.unlink()
    except FileNotFoundError:
        return True
    return is_the_same


def renew(claim: Path) -> None:
    """Show that the work behind a claim goes on."""
    with suppress(OSError):
        os.utime(claim)


def _is_stale(path: Path) -> bool:
    try:
        host, _, process = path.read_text().partition(" ")
        age = time.time() - path.stat().st_mtime
    except OSError:  # it is gone by now
        return True
    if host != socket.gethostname() or not process.isdigit() or os.name != "posix":
        return age > _STALE
    try:
        os.kill(int(process), 0)  # asks whether it runs, and sends nothing
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
