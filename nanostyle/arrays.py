"""Floor 0: where arrays live, who computes on them, and where their memory comes from.

The only file that imports cupy. It holds four things that every floor above relies on:

- *module_of*: NumPy or CuPy, by the array's type;
- *primitive*: a plain array function that may have a faster twin in `nanostyle.cpu` or `nanostyle.gpu`;
- *empty, scratch*: buffers that are used again instead of being asked of the system each time;
- *parallel*: threads over blocks of work. BLAS runs at one thread; the blocks are the threads' work.
"""

import bisect
import contextlib
import importlib
import importlib.util
import itertools
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, wraps
from types import ModuleType
from typing import Any, ParamSpec, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from nanostyle.errors import NanostyleError

# On a GPU the array is a cupy.ndarray, which has the same interface.
Array: TypeAlias = npt.NDArray[Any]

P = ParamSpec("P")
R = TypeVar("R")
Item = TypeVar("Item")


# --- NumPy or CuPy ----------------------------------------------------------------------------------------


@cache
def cupy() -> ModuleType | None:
    """The cupy module, or None where it is not installed. Installed is not usable: see `pick_device`."""
    return importlib.import_module("cupy") if importlib.util.find_spec("cupy") else None


def module_of(x: Any) -> Any:
    """`numpy` or `cupy`: the module whose functions work on the array `x`."""
    return np if isinstance(x, np.ndarray | np.generic) or cupy() is None else cupy().get_array_module(x)  # type: ignore[union-attr]


def pick_device(wish: str = "auto") -> str:
    """The device that `wish` (`auto`, `cpu` or `cuda`) stands for on this machine: `cpu` or `cuda`.

    Raises
    ------
    NanostyleError
        `cuda` is asked for and cannot be had; the message says why. A wish is never quietly replaced.
    """
    if wish not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device: expected auto, cpu or cuda, got {wish!r}")
    if wish == "cpu":
        return "cpu"
    cp = cupy()
    if cp is not None and cp.is_available():
        return "cuda"
    if wish == "auto":
        return "cpu"
    why = "CuPy finds no usable GPU and driver" if cp else "CuPy is not installed"
    raise NanostyleError(
        f"device cuda: {why}; install nanostyle[cuda12] or nanostyle[cuda13] on a machine with an NVIDIA GPU,"
        " or use --device cpu"
    )


def to_device(x: npt.NDArray[Any], device: str) -> Array:
    """Copy a NumPy array to `device`; on `cpu` it is the same array."""
    return x if device == "cpu" else cupy().asarray(x)  # type: ignore[union-attr]


def to_host(x: Array) -> npt.NDArray[Any]:
    """The array's values as a NumPy array; a NumPy array is returned as it is."""
    return x if isinstance(x, np.ndarray) else x.get()


# --- primitives and their twins ---------------------------------------------------------------------------

_twins_on = True


@contextlib.contextmanager
def reference_only() -> Iterator[None]:
    """Within the block every primitive runs as its plain reference: for debugging and for tests."""
    global _twins_on
    before, _twins_on = _twins_on, False
    try:
        yield
    finally:
        _twins_on = before


def primitive(fn: Callable[P, R]) -> Callable[P, R]:
    """Mark a plain array function that may have a faster twin of the same name and signature.

    The twin of `ops/conv.py: conv2d_forward` is `cpu/conv.py: conv2d_forward` for float32 arrays of NumPy and
    `gpu/conv.py: conv2d_forward` for arrays of CuPy; the first argument decides. A twin may return
    `NotImplemented` for what it does not cover. Without a twin, and for every other type, the function itself
    runs: it is the reference, reachable as `.reference`.
    """
    stem = fn.__module__.rpartition(".")[2]

    @wraps(fn)
    def dispatch(*args: P.args, **kwargs: P.kwargs) -> R:
        twin = _twin(_home(args[0]), stem, fn.__name__) if _twins_on else None
        result = NotImplemented if twin is None else twin(*args, **kwargs)
        return fn(*args, **kwargs) if result is NotImplemented else result

    dispatch.reference = fn  # type: ignore[attr-defined]
    return dispatch


def _home(x: Any) -> str | None:
    if module_of(x) is np:
        return "cpu" if x.dtype == np.float32 else None
    return "gpu"


@cache
def _twin(home: str | None, stem: str, name: str) -> Callable[..., Any] | None:
    if home is None or importlib.util.find_spec(f"nanostyle.{home}.{stem}") is None:
        return None
    return getattr(importlib.import_module(f"nanostyle.{home}.{stem}"), name, None)


# --- memory -----------------------------------------------------------------------------------------------

# Below this the system's allocator is as fast as ours; above it, fresh memory costs a page fault per 4 KiB
# (measured: 4 MiB fresh 1.6 ms, used again 0.15 ms).
_SMALL = 1 << 16

# Memory begins at a cache line: passes over arrays that straddle the lines run a fifth slower (measured).
_LINE = 64


def _aligned(size: int) -> npt.NDArray[np.uint8]:
    memory = np.empty(size + _LINE, np.uint8)
    start = -memory.__array_interface__["data"][0] % _LINE
    return memory[start : start + size]


class _Block:
    """A piece of memory on loan: when the last array that looks into it dies, it returns to the arena."""

    def __init__(self, memory: npt.NDArray[np.uint8], returned: "deque[npt.NDArray[np.uint8]]") -> None:
        self._memory, self._returned = memory, returned
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        # The garbage collector may run this at any moment, in any thread, in the middle of `take` too. So it
        # takes no lock and counts nothing: an append is one step under the interpreter's lock.
        self._returned.append(self._memory)


class _Arena:
    """Free blocks by size. Holds at most a quarter more than what has been in use at one time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._returned: deque[npt.NDArray[np.uint8]] = deque()
        # (bytes, -age, block), sorted: among blocks of one size the latest returned, warm in the cache, is first.
        self._free: list[tuple[int, int, npt.NDArray[np.uint8]]] = []
        self._age = itertools.count()
        self._in_use = self._peak = self._idle = 0

    def take(self, size: int) -> npt.NDArray[np.uint8]:
        """The smallest free block of `size` to `size` + 1/4 bytes, or a fresh one."""
        with self._lock:
            self._collect()
            i = bisect.bisect_left(self._free, (size,))
            if i < len(self._free) and self._free[i][0] <= size + size // 4:
                memory = self._remove(i)
            else:
                self._peak = max(self._peak, self._in_use + size)
                while self._free and self._in_use + self._idle + size > self._peak + self._peak // 4:
                    self._remove(max(range(len(self._free)), key=lambda k: self._free[k][1]))
                memory = _aligned(size)
            self._in_use += memory.nbytes
            self._peak = max(self._peak, self._in_use)
            return np.asarray(_Block(memory, self._returned))

    def clear(self) -> None:
        """Let all free blocks go, and forget how much was in use before."""
        with self._lock:
            self._collect()
            self._free.clear()
            self._idle, self._peak = 0, self._in_use

    def _collect(self) -> None:
        """Move what was returned to the free blocks."""
        while self._returned:
            memory = self._returned.popleft()
            self._in_use -= memory.nbytes
            self._idle += memory.nbytes
            bisect.insort(self._free, (memory.nbytes, -next(self._age), memory))

    def _remove(self, i: int) -> npt.NDArray[np.uint8]:
        """Take the free block `i` out."""
        size, _, memory = self._free.pop(i)
        self._idle -= size
        return memory


_arena = _Arena()


def empty(shape: Sequence[int], dtype: npt.DTypeLike = np.float32, *, like: Array | None = None) -> Array:
    """An uninitialised array, from memory that was used before where some is free.

    On a GPU (`like` is an array of CuPy) the memory comes from CuPy's own pool, which does the same.
    """
    xp = np if like is None else module_of(like)
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if xp is not np or size < _SMALL:
        return xp.empty(shape, dtype)
    return np.ndarray(shape, dtype, _arena.take(size))


def release_memory() -> None:
    """Return the arena's free blocks to the system: after a large picture, before a small one."""
    _arena.clear()


class _Local(threading.local):
    """What each thread has of its own."""

    def __init__(self) -> None:
        self.buffers: dict[str, npt.NDArray[np.uint8]] = {}
        self.in_job = False


_local = _Local()


def scratch(name: str, shape: Sequence[int], dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
    """This thread's work buffer `name`, uninitialised. The next call with the same name hands it out again."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    buffer = _local.buffers.get(name)
    if buffer is None or buffer.nbytes < size:
        buffer = _local.buffers[name] = _aligned(size)
    return np.ndarray(shape, dtype, buffer)


# --- threads ----------------------------------------------------------------------------------------------


def _one_blas_thread() -> None:
    ThreadpoolController().limit(limits=1, user_api="blas")


# Once on import, so that code that calls BLAS before any `parallel` behaves no differently after it.
_one_blas_thread()

_threads = 0
_pool: ThreadPoolExecutor | None = None
_pool_lock = threading.Lock()


def set_threads(count: int | None = None) -> None:
    """Use `count` threads (default: `NANOSTYLE_THREADS`, else the processors this process may use).

    BLAS is set to one thread for the whole process, here and on import: the threads are ours, over blocks, so
    the result does not depend on their number, to the bit. A library that changes the threads of BLAS later
    costs speed, not correctness; calling this again puts it right.

    Raises
    ------
    ValueError
        `count` or the environment variable is not a whole number of 1 or more.
    """
    global _threads, _pool
    given = os.environ.get("NANOSTYLE_THREADS") if count is None else count
    try:
        wish = _processors() if given is None else int(given)
    except ValueError:
        wish = 0
    if wish < 1:
        raise ValueError(f"threads: expected a whole number of 1 or more, got {given!r}")
    with _pool_lock:
        if _pool is not None:
            _pool.shutdown(wait=False)
        _threads, _pool = wish, None
    _one_blas_thread()


def _processors() -> int:
    # Linux alone can tell how many of the machine's processors are this process's.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """The number of threads that `parallel` uses."""
    if not _threads:
        set_threads()
    return _threads


def parallel(job: Callable[[Item], R], items: Sequence[Item]) -> list[R]:
    """`[job(item) for item in items]`, by several threads at once; results stand in the order of the items.

    The calling thread works too. A `parallel` inside a job runs in that job's thread. An exception in a job is
    raised here, after the others have stopped.
    """
    workers = min(threads(), len(items))
    if workers <= 1 or _local.in_job:
        return [job(item) for item in items]

    results: list[Any] = [None] * len(items)
    ticket = itertools.count()  # next() on it is one step under the interpreter's lock
    stop = threading.Event()

    def work() -> None:
        _local.in_job = True
        try:
            while not stop.is_set() and (i := next(ticket)) < len(items):
                results[i] = job(items[i])
        except BaseException:
            stop.set()
            raise
        finally:
            _local.in_job = False

    futures = _submit(work, workers - 1)
    try:
        work()
    finally:
        # Jobs write into arrays of the caller: none may still run when this returns, whatever happened.
        for future in futures:
            if not future.cancel():
                future.exception()
    for future in futures:
        if not future.cancelled():
            future.result()
    return results


def _submit(work: Callable[[], None], times: int) -> list[Future[None]]:
    global _pool
    with _pool_lock:  # so that no other thread shuts the pool down between the two lines
        if _pool is None:
            _pool = ThreadPoolExecutor(max(1, _threads - 1), thread_name_prefix="nanostyle")
        return [_pool.submit(work) for _ in range(times)]


def _after_fork() -> None:
    """A child has the pool's object but not its threads: start afresh, with fresh locks."""
    global _pool, _pool_lock, _arena
    _pool, _pool_lock, _arena = None, threading.Lock(), _Arena()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
