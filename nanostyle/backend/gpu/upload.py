"""Copies between a GPU and pinned memory: to it beside its work, on a stream of their own; and from it."""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Any

import numpy as np
import numpy.typing as npt

from nanostyle.backend.device import CuPy, loaded_cupy
from nanostyle.backend.types import Array


class _Slot:
    """A place on the device for one batch, and one in pinned memory: only from there a copy runs beside the work."""

    def __init__(self) -> None:
        self._host: npt.NDArray[Any] | None = None
        self.device: CuPy = None
        self.copied: CuPy = None  # the event after the copy

    def fill(self, batches: Iterator[npt.NDArray[Any]], stream: CuPy, free: CuPy) -> "_Slot | None":
        """Copy the next batch here, on `stream`, once the event `free` has come; None after the last batch."""
        cp = loaded_cupy()
        batch = next(batches, None)
        if batch is None:
            return None
        if self._host is None or self._host.shape != batch.shape:
            self._host = _pinned(batch)
            with stream:  # not memory that work on another stream has given back and still reads
                self.device = cp.empty(batch.shape, batch.dtype)
        else:
            self.copied.synchronize()
        self._host[...] = batch
        stream.wait_event(free)
        self.device.set(self._host, stream=stream)
        self.copied = stream.record()
        return self


def _pinned(like: Array) -> npt.NDArray[Any]:
    """An array in pinned memory, of the shape and type of `like`, uninitialized."""
    memory = loaded_cupy().cuda.alloc_pinned_memory(like.nbytes)
    return np.frombuffer(memory, like.dtype, like.size).reshape(like.shape)


def fetched(x: CuPy) -> npt.NDArray[Any]:
    """The values of `x` in pinned memory: the GPU copies there without a buffer of the driver between."""
    place = _pinned(x)
    x.get(out=place)
    return place


def uploaded(batches: Iterator[npt.NDArray[Any]]) -> Generator[Array, None, None]:
    """Each of `batches` on the device, until the next one is asked for; that one is copied meanwhile, by a thread."""
    cp = loaded_cupy()
    stream = cp.cuda.Stream(non_blocking=True)
    with ThreadPoolExecutor(1, thread_name_prefix="upload") as pool:
        slots = cycle([_Slot(), _Slot()])
        coming = pool.submit(next(slots).fill, batches, stream, cp.cuda.get_current_stream().record())
        while (slot := coming.result()) is not None:
            # The other slot was given out last: what works on it has been launched.
            coming = pool.submit(next(slots).fill, batches, stream, cp.cuda.get_current_stream().record())
            cp.cuda.get_current_stream().wait_event(slot.copied)
            yield slot.device
