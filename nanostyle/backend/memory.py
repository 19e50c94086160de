"""Buffers that are used again, and a look at the room on a GPU before work begins."""

import contextlib
import ctypes
import math
import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nanostyle.backend.arena import SMALL, Arena, aligned
from nanostyle.backend.device import Device, loaded_cupy, module_of
from nanostyle.backend.types import Array
from nanostyle.errors import NanostyleError


def check_memory(device: Device, size: tuple[int, int], each: float, remedy: str = "") -> None:
    """Refuse to work on `size` (height, width) pixels that take `each` so many bytes, where a GPU has no room.

    Raises
    ------
    NanostyleError
        Its hint is `remedy`; by default it names the long side that would fit.
    """
    if not device.is_gpu:
        return
    cp = loaded_cupy()
    free = cp.cuda.runtime.memGetInfo()[0] + cp.get_default_memory_pool().free_bytes()
    need = size[0] * size[1] * each
    if need > free:
        side = max(1, int(max(size) * (free / need) ** 0.5))
        raise NanostyleError(
            f"memory: {size[1]}x{size[0]} pixels need about {need / 1e9:.2g} GB of the GPU's,"
            f" {free / 1e9:.2g} GB are free",
            hint=f"use {remedy or f'{{size}} {side}'}, or {{device}} cpu",
        )


def free_memory() -> int | None:
    """The bytes of main memory that this process may still take; None where the system does not tell.

    On Linux: what the machine has available, or what is left of the process's control group, whichever is less.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    for limit, used in _GROUP_FILES:
        try:
            found.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # no such group, or "max": no limit
            continue
    return max(0, min(found)) if found else None


_GROUP_FILES = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def bytes_of(text: str) -> int:
    """The bytes that a text such as `1.5GB`, `800 MB` or `900000000` stands for.

    Raises
    ------
    ValueError
        It is no such text, or less than 1 MB.

    Examples
    --------
    >>> bytes_of("1.5GB")
    1500000000
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", text, re.IGNORECASE)
    count = int(float(match[1]) * 1000 ** " kmgt".index(match[2].lower() or " ")) if match else 0
    if count < 1_000_000:
        raise ValueError(f"memory: expected a size such as 800MB or 2GB, got {text!r}")
    return count


# --- memory -----------------------------------------------------------------------------------------------

_arena = Arena()


def empty(shape: Sequence[int], dtype: npt.DTypeLike = np.float32, *, like: Array | None = None) -> Array:
    """An uninitialized array, from memory that was used before where some is free.

    On a GPU (`like` is an array of CuPy) the memory comes from CuPy's own pool, which does the same.
    """
    xp = np if like is None else module_of(like)
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if xp is not np or size < SMALL:
        small: Array = xp.empty(shape, dtype)
        return small
    large: Array = np.ndarray(shape, dtype, _arena.take(size))
    return large


class _Buffers(threading.local):
    """The work buffers of each thread, by name."""

    def __init__(self) -> None:
        self.by_name: dict[str, npt.NDArray[np.uint8]] = {}


_buffers = _Buffers()


def scratch(name: str, shape: Sequence[int], dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
    """This thread's work buffer `name`, uninitialized. The next call with the same name hands it out again."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    buffer = _buffers.by_name.get(name)
    if buffer is None or buffer.nbytes < size:
        buffer = _buffers.by_name[name] = aligned(size)
    array: Array = np.ndarray(shape, dtype, buffer)
    return array


def release_memory() -> None:
    """Give back to the system what is kept to be used again: after large work, where small work may follow."""
    global _buffers
    _buffers = _Buffers()  # those of all threads: what they are working on stays until they are done
    _arena.clear()
    # The C library keeps what lies between pieces in use; glibc gives it back when asked, others do so by themselves.
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _after_fork() -> None:
    """A child must not share the lock of its parent's arena: it starts with an arena of its own."""
    global _arena
    _arena = Arena()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
