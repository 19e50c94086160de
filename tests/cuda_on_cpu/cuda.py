"""The part of CuPy that is about streams, graphs and memory, for `device.py`.

A stream other than the current one does its work as late as it may: when somebody waits for it. Whatever does not wait
where it should finds NaN.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from tests.cuda_on_cpu import device
from tests.cuda_on_cpu.device import FakeCupy, Tape, synchronized


class Event:
    """A place in the work of a stream."""

    def __init__(self, stream: "Stream", place: int) -> None:
        self._stream, self._place = stream, place

    def synchronize(self) -> None:
        """Wait, on the host."""
        synchronized("synchronize()")
        self._stream.do(self._place)

    reach = synchronize


class Stream:
    """A queue of work."""

    def __init__(self, non_blocking: bool = False) -> None:
        self._queue: list[Callable[[], Any]] = []
        self._done = 0
        self._before: Stream | None = None

    def later(self, work: Callable[[], Any]) -> None:
        """Queue it."""
        self._queue.append(work)

    def do(self, up_to: int) -> None:
        """Do what is queued before a place."""
        while self._done < up_to:
            self._done += 1
            self._queue[self._done - 1]()

    def record(self) -> Event:
        """An event after all that is queued now."""
        return Event(self, len(self._queue))

    def wait_event(self, event: Event) -> None:
        """What comes after this on this stream comes after the event."""
        if self is current[-1]:
            event.reach()
        else:
            self.later(event.reach)

    def begin_capture(self) -> None:
        """What is launched from now on is recorded, not done."""
        if self is not current[-1]:
            raise RuntimeError("a capture of a stream that is not the current one")
        device.set_tape(Tape())

    def end_capture(self) -> "Graph":
        """The graph of what was launched since."""
        tape = device.tape()
        assert tape is not None
        device.set_tape(None)
        tape.close()
        if tape.broken:
            raise RuntimeError("cudaErrorStreamCaptureInvalidated")
        return Graph(tape)

    def __enter__(self) -> "Stream":
        current.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        current.pop()


current = [Stream()]


class Graph:
    """Recorded work."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    def launch(self) -> None:
        """Do it."""
        synchronized("a graph launched")
        self._tape.play()


class MemoryPool:
    """Memory; here there is one kind alone, wherever a pool has it from."""

    def __init__(self, malloc: Any = None) -> None: ...

    def malloc(self, size: int) -> None:
        """Never called: NumPy allocates."""

    def free_bytes(self) -> int:
        """What is kept to be used again."""
        return 0


class Runtime:
    """`cupy.cuda.runtime`; `free` is how much memory there is."""

    free = 80 << 30

    def memGetInfo(self) -> tuple[int, int]:
        """Bytes that are free, and all there are."""
        return self.free, 80 << 30


class Device:
    """`cupy.cuda.Device`, with what a Hopper GPU says of itself."""

    attributes: ClassVar = {"MaxSharedMemoryPerBlockOptin": 227 << 10}


class Cuda:
    """`cupy.cuda`."""

    Stream, MemoryPool, Device = Stream, MemoryPool, Device

    def __init__(self) -> None:
        self.runtime = Runtime()
        self.pool = MemoryPool()  # of all that is not recorded

    def get_current_stream(self) -> Stream:
        """Of this thread; here of all."""
        return current[-1]

    @contextlib.contextmanager
    def using_allocator(self, malloc: Any) -> Iterator[None]:
        """Within the block memory comes from a pool; all but one are of recordings."""
        before = device.set_own_memory(malloc.__self__ is not self.pool)
        try:
            yield
        finally:
            device.set_own_memory(before)

    def alloc_pinned_memory(self, size: int) -> bytearray:
        """Memory of the host; as with CuPy there may be more than was asked for."""
        return bytearray(b"\xff" * (size + 512))


class FakeGpu(FakeCupy):
    """The module on a machine with a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.cuda = Cuda()

    def is_available(self) -> bool:
        """It is."""
        return True

    def get_default_memory_pool(self) -> MemoryPool:
        """The pool of all that is not recorded."""
        return self.cuda.pool
