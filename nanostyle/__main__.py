"""`python -m nanostyle`, and the command `nanostyle`."""

import signal
import sys
from types import FrameType

# What the system sends to end a program, and what a terminal sends when it closes, which Windows does not know.
_ENDS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def main() -> None:
    """Run the command line.

    Ctrl-C, SIGTERM and SIGHUP are answered alike, from the first moment on, while modules are still read: what has
    been reached is saved, one line says so, and the exit status is 130. A signal that the program was started to ignore
    (`nohup`) stays ignored.
    """
    for number in _ENDS:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _interrupt)
    try:
        from nanostyle.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted\n")
        sys.exit(130)
    run()


def _interrupt(number: int, frame: FrameType | None) -> None:
    """As Ctrl-C. Further ones are ignored: they often come in pairs, and must not disturb what is saved."""
    for end in _ENDS:
        signal.signal(end, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
