"""How long work tells, in the middle of a pass, that it goes on: for progress, and to be stopped."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_listener: ContextVar[Callable[[float], None] | None] = ContextVar("listener", default=None)


@contextmanager
def heard_by(listener: Callable[[float], None]) -> Iterator[None]:
    """Within the block, and in this thread, `listener` is called with the pixels of work done since the last call.

    A pass through a network over a picture amounts to the picture's pixels, in parts as large as the work of each
    layer. What the listener raises ends the pass. A pass that a GPU repeats from a recording is not heard.
    """
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


def tell(pixels: float) -> None:
    """Tell who listens, if anyone does, of so many pixels of work."""
    listener = _listener.get()
    if listener is not None:
        listener(pixels)
