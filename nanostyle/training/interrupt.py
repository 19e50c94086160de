"""Stop a training on Ctrl-C and, where the program answers them in the same way, on SIGTERM and SIGHUP.

A step of training is taken whole or not at all. While the gradient is computed, an interrupt is answered at once: the
step has not been taken. While the weights move, it waits until all of them have moved.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from nanostyle.backend.comm.wish import SIGNALS
from nanostyle.backend.types import Array
from nanostyle.errors import with_hint
from nanostyle.nn.module import buffers


def stopped(step: int) -> KeyboardInterrupt:
    """The interrupt with which a training ends: it says where the training stands and how to go on."""
    return with_hint(KeyboardInterrupt(f"training stopped after step {step}"), "the same command with {resume} goes on")


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Interrupts within the block are dropped. For what is saved because one has come already."""
    held = _Held()
    try:
        yield
    finally:
        held.release()


class WholeStep:
    """A context for one step of `net`. It can be entered again and again.

    `hold()` lets interrupts wait from there to the end of the block, where the first is answered. If the block ends
    with an exception, the buffers of the network get back the values that they had before the step: the running
    averages of batch norm move during the forward pass.
    """

    def __init__(self, net: object) -> None:
        self._net = net
        self._before: dict[str, Array] = {}
        self._held: _Held | None = None

    def __enter__(self) -> "WholeStep":
        self._before = {name: value.copy() for name, value in buffers(self._net).items()}
        return self

    def hold(self) -> None:
        """Let interrupts wait."""
        self._held = self._held or _Held()

    def undo(self) -> None:
        """Give the buffers of the network the values that they had before the step."""
        for name, value in buffers(self._net).items():
            value[...] = self._before[name]

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.hold()
        if kind is not None:
            self.undo()
        held, self._held, self._before = self._held, None, {}
        answer = held.release() if held else None
        if answer and kind is None:
            answer()


class _Held:
    """From here to `release` interrupts are kept, with the handlers that are to answer them."""

    def __init__(self) -> None:
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._received: list[tuple[int, FrameType | None]] = []
        if threading.current_thread() is threading.main_thread():  # which alone gets them
            for number in SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler):  # otherwise it ends the process or is ignored
                    self._handlers[number] = handler
                    signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received.append((number, frame))

    def release(self) -> Callable[[], None] | None:
        """Put the handlers back; what answers the first interrupt that came, if one did."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if not self._received:
            return None
        number, frame = self._received[0]
        return lambda: self._handlers[number](number, frame)
