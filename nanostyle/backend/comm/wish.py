"""A rank that is asked to end by Ctrl-C or another signal: it ends where the others do."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from nanostyle.backend.comm.world import World

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Those that ask a process to end; Windows has no SIGHUP."""

# Seconds within which a second signal is the first one's double.
_PAIR = 1.0


class StopWish:
    """Ctrl-C and its kin as a wish to end, for ranks: they must all end at the same place, or the others wait for ever.

    The first signal is noted. It interrupts this rank only within `breakable()`, where nothing is lost. A later one
    ends the process at once, but for one within a second: signals often come in pairs.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._told_at: float | None = None
        self._breakable = False

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Within the block signals are taken as wishes, where more than one rank works and this is the main thread."""
        if self._world.size == 1 or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in SIGNALS}
        for number in SIGNALS:
            if callable(before[number]):  # otherwise it ends the process or is ignored
                signal.signal(number, self._note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def breakable(self) -> Iterator[None]:
        """Within the block a wish, also one that has come before, raises KeyboardInterrupt."""
        self._breakable = True
        try:
            if self._told_at is not None:
                raise KeyboardInterrupt
            yield
        finally:
            self._breakable = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._told_at is None:
            self._told_at = now
            self._world.hurry()
        elif now - self._told_at > _PAIR:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        if self._breakable:
            self._breakable = False
            raise KeyboardInterrupt
