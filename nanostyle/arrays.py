"""Floor 0: where arrays live, who computes on them, and where their memory comes from.

The only file that imports cupy. It holds five things that every floor above relies on:

- *module_of*: NumPy or CuPy, by the array's type;
- *primitive*: a plain array function that may have a faster twin in `nanostyle.cpu` or `nanostyle.gpu`;
- *set_precision, repeated, ahead, check_memory*: what a GPU does differently;
- *empty, scratch*: buffers that are used again instead of being asked of the system each time;
- *parallel*: threads over blocks of work. BLAS runs at one thread; the blocks are the threads' work.
"""

import contextlib
import importlib
import importlib.util
import itertools
import math
import os
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, wraps
from types import ModuleType
from typing import Any, ParamSpec, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from nanostyle.cpu.arena import SMALL, Arena, aligned
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
    """Copy a NumPy array to `device`; on `cpu`, or if it is there already, it is the same array.

    If it is read-only nothing may write to the copy either: what is derived from it may be kept.
    """
    if device == "cpu" or module_of(x) is not np:
        return x
    copy = cupy().asarray(x)  # type: ignore[union-attr]
    if not x.flags.writeable:
        _gpu("derived").settle(copy)
    return copy


def to_host(x: Array) -> npt.NDArray[Any]:
    """The array's values as a NumPy array; a NumPy array is returned as it is."""
    return x if isinstance(x, np.ndarray) else x.get()


# --- what a GPU does differently ---------------------------------------------------------------------------

PRECISIONS = ("fp32", "tf32", "fp16")

_precision = "fp32"


def set_precision(wish: str = "auto", device: str = "cpu") -> str:
    """Compute in `wish` on `device` from now on: `fp32`, `tf32` or `fp16`; `auto`: the first on a CPU, else the second.

    tf32 keeps float32 and multiplies with 10 bits of mantissa on the GPU's tensor cores; fp16 keeps feature maps in
    float16 too. Sums, statistics, parameters and pictures are float32 in all three. Returns what was chosen.

    Raises
    ------
    NanostyleError
        A CPU is asked for what only a GPU has.
    """
    global _precision
    if wish not in ("auto", *PRECISIONS):
        raise ValueError(f"precision: expected auto, {', '.join(PRECISIONS)}, got {wish!r}")
    chosen = {"cpu": "fp32", "cuda": "tf32"}[device] if wish == "auto" else wish
    if device == "cpu" and chosen != "fp32":
        raise NanostyleError(f"precision {chosen}: only a GPU has it; use --precision fp32 or --device cuda")
    _precision = chosen
    return chosen


def precision() -> str:
    """What `set_precision` chose last."""
    return _precision


def storage(x: Array) -> np.dtype[Any]:
    """The type in which a network keeps the feature maps of pictures like `x`; see `set_precision`."""
    half = _precision == "fp16" and module_of(x) is not np and x.dtype == np.float32
    return np.dtype(np.float16) if half else x.dtype


def repeated(work: Callable[..., R], device: str) -> Callable[..., R]:
    """`work`, a function of arrays that will be called again and again, in the form that is fastest on `device`.

    On a GPU its arrays are uploaded, and where their shapes come a second time its launches are recorded and then
    repeated: see `nanostyle.gpu.graph`, which says what `work` must keep to. Its results are arrays of the device that
    the next call overwrites.
    """
    return work if device == "cpu" else _gpu("graph").Repeated(work)


def ahead(batches: Generator[npt.NDArray[Any], None, None], device: str) -> Generator[Array, None, None]:
    """The arrays of `batches` on `device`; to a GPU the next one is copied while the last one is worked on."""
    return batches if device == "cpu" else _gpu("transfer").uploaded(batches)


def check_memory(device: str, size: tuple[int, int], each: float, remedy: str = "--size {side}") -> None:
    """Refuse to work on `size` (height, width) pixels, `each` of which takes so many bytes, where a GPU has no room.

    Raises
    ------
    NanostyleError
        It says what would fit: `remedy`, with the long side that does.
    """
    if device == "cpu":
        return
    cp: Any = cupy()
    free = cp.cuda.runtime.memGetInfo()[0] + cp.get_default_memory_pool().free_bytes()
    need = size[0] * size[1] * each
    if need > free:
        side = max(1, int(max(size) * (free / need) ** 0.5))
        raise NanostyleError(
            f"memory: {size[1]}x{size[0]} pixels need about {need / 1e9:.2g} GB of the GPU's, {free / 1e9:.2g} GB are"
            f" free; use {remedy.format(side=side)}, or --device cpu"
        )


def _gpu(name: str) -> Any:
    return importlib.import_module(f"nanostyle.gpu.{name}")


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
    `gpu/conv.py: conv2d_forward` for arrays of CuPy; the first argument (or the first of its arrays) decides. A twin
    may return `NotImplemented` for what it does not cover. Without a twin, and for every other type, the function
    itself runs: it is the reference, reachable as `.reference`.
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
    if isinstance(x, tuple | list):
        x = x[0]
    if module_of(x) is np:
        return "cpu" if x.dtype == np.float32 else None
    return "gpu"


@cache
def _twin(home: str | None, stem: str, name: str) -> Callable[..., Any] | None:
    if home is None or importlib.util.find_spec(f"nanostyle.{home}.{stem}") is None:
        return None
    return getattr(importlib.import_module(f"nanostyle.{home}.{stem}"), name, None)


# --- memory -----------------------------------------------------------------------------------------------

_arena = Arena()


def empty(shape: Sequence[int], dtype: npt.DTypeLike = np.float32, *, like: Array | None = None) -> Array:
    """An uninitialised array, from memory that was used before where some is free.

    On a GPU (`like` is an array of CuPy) the memory comes from CuPy's own pool, which does the same.
    """
    xp = np if like is None else module_of(like)
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if xp is not np or size < SMALL:
        return xp.empty(shape, dtype)
    return np.ndarray(shape, dtype, _arena.take(size))


def release_memory() -> None:
    """Return the memory that is kept for use again to the system: after a large picture, before a small one."""
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
        buffer = _local.buffers[name] = aligned(size)
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
    _pool, _pool_lock, _arena = None, threading.Lock(), Arena()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
