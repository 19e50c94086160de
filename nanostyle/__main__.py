"""`python -m nanostyle`, and the command `nanostyle`."""

import gc
import io
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

# What the system sends to end a program, and what a terminal sends when it closes, which Windows does not know.
_ENDS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def main() -> None:
    """Run the command line.

    Ctrl-C, SIGTERM and SIGHUP are answered alike, from the first moment on, while modules are still read: what has
    been reached is saved, one line says so, and the exit status is 130. A signal that the program was started to ignore
    (`nohup`) stays ignored.
    """
    _make_streams()
    # BLAS computes on one thread (backend/threads.py): this way it does not start more, which takes 20 ms.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Modules are many objects that stay: to look for garbage among them takes a tenth of the time of reading them.
    gc.disable()
    for number in _ENDS:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _interrupt)
    try:
        from nanostyle.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted\n")
        sys.exit(130)
    try:
        run()
    finally:
        # The end of the process frees all memory; Python would look through it first, which takes 40 ms.
        gc.freeze()


def _make_streams() -> None:
    """Give a program that was started without streams (a service, `2>&-`) ones that lead nowhere.

    Otherwise the next file that is opened would be taken for one of them. What a stream's encoding has not is escaped.
    What cannot be told is not: a full disk, or a terminal or reader that is gone, costs no work.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest free number, which is this one
    buffer = getattr(sys.stderr, "buffer", None)
    if isinstance(getattr(buffer, "raw", buffer), io.FileIO):  # it is no console of Windows
        told = io.BufferedWriter(_Telling(sys.stderr.fileno(), "w", closefd=False))
        sys.stderr = io.TextIOWrapper(told, sys.stderr.encoding, line_buffering=True)
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class _Telling(io.FileIO):
    """A file that passes over what it cannot write."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Interrupt as Ctrl-C does. Later signals are ignored: they often come in pairs, and must not disturb saving."""
    for end in _ENDS:
        signal.signal(end, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
