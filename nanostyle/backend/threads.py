"""Threads over blocks of work. BLAS runs at one thread; the threads are ours."""

import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from threadpoolctl import ThreadpoolController

from nanostyle.backend.quota import granted_processors
from nanostyle.backend.types import Item, R

# --- threads ----------------------------------------------------------------------------------------------


# Made once: it looks through all libraries of the process. NumPy's BLAS is loaded by now, and we call no other.
_libraries = ThreadpoolController()


def _one_blas_thread() -> None:
    _libraries.limit(limits=1, user_api="blas")


# On import, so that code that calls BLAS before any `parallel` behaves no differently after it.
_one_blas_thread()


class _Local(threading.local):
    """Whether this thread is working on a job of `parallel`, and how many threads its next `parallel` may use."""

    in_job = False
    quota: Callable[[], int] | None = None


_local = _Local()
_threads = 0
_pool: ThreadPoolExecutor | None = None
_pool_lock = threading.Lock()


def set_threads(count: int | None = None, *, default: int | None = None) -> None:
    """Use `count` threads (else `NANOSTYLE_THREADS`, else `default`, else the processors this process may use).

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
        wish = int(given) if given is not None else default or _processors()
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
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(own, granted_processors() or own)


def thread_count() -> int:
    """The number of threads that `parallel` uses."""
    if not _threads:
        set_threads()
    return _threads


def parallel(job: Callable[[Item], R], items: Sequence[Item]) -> list[R]:
    """`[job(item) for item in items]`, by several threads at once; results stand in the order of the items.

    The calling thread works too. A `parallel` inside a job runs in that job's thread. An exception in a job is
    raised here, after the others have stopped.
    """
    quota = _local.quota or thread_count
    workers = min(quota(), len(items))
    if workers <= 1 or _local.in_job:
        return [job(item) for item in items if quota()]  # asked for each: it may end the work

    results: dict[int, R] = {}
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
    return [results[i] for i in range(len(items))]


@contextmanager
def with_quota(quota: Callable[[], int]) -> Iterator[None]:
    """Within the block `parallel` in this thread uses at most `quota()` threads.

    It asks anew for every job that it does alone. What `quota` raises ends the `parallel` that asks.
    """
    before, _local.quota = _local.quota, quota
    try:
        yield
    finally:
        _local.quota = before


def is_shared() -> bool:
    """Whether this thread is one of several that work at the same time: in a job of `parallel`, or with a quota."""
    return _local.in_job or _local.quota is not None


def _submit(work: Callable[[], None], times: int) -> list[Future[None]]:
    global _pool, _threads
    futures: list[Future[None]] = []
    with _pool_lock:  # so that no other thread shuts the pool down between the two lines
        if _pool is None:
            _pool = ThreadPoolExecutor(max(1, _threads - 1), thread_name_prefix="nanostyle")
        try:
            for _ in range(times):
                futures.append(_pool.submit(work))
        except RuntimeError:  # a limit on threads (`ulimit -u`): the calling thread works alone, now and from now on
            _pool.shutdown(cancel_futures=True)
            _pool, _threads = None, 1
    return futures


def _after_fork() -> None:
    """A child has the pool's object but not its threads: start afresh, with fresh locks."""
    global _pool, _pool_lock
    _pool, _pool_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
