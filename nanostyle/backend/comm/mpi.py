"""The processes that mpiexec or srun has started, through MPI. This file alone imports mpi4py.

MPI starts the processes, moves bytes and ends everybody when one dies. It adds nothing up: sums are those of
`tree.py`. No call of it blocks: a blocked call would keep signals out and spin a processor.
"""

import os
import pickle
import sys
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from nanostyle.backend.comm.dealing import Dealer, prepare
from nanostyle.backend.comm.elsewhere import Elsewhere
from nanostyle.backend.comm.launch import RanksLost
from nanostyle.backend.comm.tree import Block, sum_over_ranks
from nanostyle.backend.comm.wish import StopWish
from nanostyle.backend.comm.world import World
from nanostyle.backend.ordered import in_order
from nanostyle.backend.types import Array, Item, R
from nanostyle.errors import NanostyleError

# Seconds between two looks while frames are passed about. Between processes of one machine MPICH moves bytes only when
# it is called: with mpi4py's millisecond a frame of 960 x 540 took 450 ms there and back, and takes 60 to 80 so.
_FRAMES = 5e-5

T = TypeVar("T")
Mpi = Any  # the module mpi4py.MPI and its objects


class MpiWorld(World):
    """All processes of one mpiexec or srun. `expected`: how many the launcher says it has started; 0 if it does not.

    Raises
    ------
    NanostyleError
        mpi4py or an MPI library is missing, or MPI sees another number of processes.
    """

    def __init__(self, expected: int) -> None:
        super().__init__()
        mpi = _loaded(expected)
        self._mpi, self._all = mpi, mpi.COMM_WORLD
        self.rank, self.size = self._all.rank, self._all.size
        if expected > 1 and expected != self.size:
            name, version = mpi.get_vendor()
            raise NanostyleError(
                f"started as one of {expected} processes, but {name} {'.'.join(map(str, version))}, which mpi4py uses,"
                f" sees {self.size}: mpiexec is of another MPI",
                hint="use the mpiexec of the same one",
            )
        self._meeting = self._all.Dup()  # calls on it do not meet those that a failed rank has left open

    # --- what ranks tell each other -----------------------------------------------------------------------

    def share(self, value: T) -> T:
        """See `World.share`."""
        data = pickle.dumps(value, 5) if self.is_first else b""
        size = np.array([len(data)], np.int64)
        self._wait(self._all.Ibcast(size))
        buffer = np.frombuffer(data, np.uint8).copy() if self.is_first else np.empty(int(size[0]), np.uint8)
        self._wait(self._all.Ibcast(buffer), moving=True)
        shared: T = value if self.is_first else pickle.loads(buffer.data)
        return shared

    def gather(self, value: T) -> list[T]:
        """See `World.gather`."""
        data = np.frombuffer(pickle.dumps(value, 5), np.uint8)
        sizes = np.empty(self.size, np.int64)
        self._wait(self._all.Iallgather(np.array([data.size], np.int64), sizes))
        everything = np.empty(int(sizes.sum()), np.uint8)
        self._wait(self._all.Iallgatherv(data, [everything, sizes.tolist()]), moving=True)
        ends = np.cumsum(sizes)
        return [pickle.loads(everything[end - size : end].data) for end, size in zip(ends, sizes, strict=True)]

    def total(self, blocks: list[Block], shards: int) -> Array:
        """See `World.total`."""
        if self.size == 1:
            return super().total(blocks, shards)
        self._wait(self._all.Ibarrier())
        return sum_over_ranks(self, blocks, shards)

    def deal(self, jobs: Sequence[Item], work: Callable[[Item], R]) -> Generator[tuple[Item, R], None, None]:
        """See `World.deal`."""
        if self.size == 1:
            yield from super().deal(jobs, work)
            return
        with self._pool(work) as pool:
            if pool is not None:
                yield from Dealer(pool, self.size, jobs, lambda: self.patience).results()

    def in_order(
        self, work: Callable[[Item], R], items: Iterable[Item], **limits: Any
    ) -> Generator[Future[R], None, None]:
        """See `World.in_order`."""
        if self.size == 1:
            yield from super().in_order(work, items, **limits)
            return
        with self._pool(work, backoff=_FRAMES) as pool:
            if pool is not None:
                others = Elsewhere[Item, R](pool, self.size, lambda: self.patience)
                yield from in_order(work, items, elsewhere=others, **limits)

    @contextmanager
    def _pool(self, work: Callable[[Any], Any], *, backoff: float | None = None) -> Iterator[Executor | None]:
        """An executor that has `work` done by all ranks but the first; None on those, when they have done all.

        `backoff` are the seconds after which it looks again for what comes, at most; None: those of mpi4py.
        """
        from mpi4py.futures import MPICommExecutor

        wish = StopWish(self)
        prepare(work, wish.breakable)
        with ExitStack() as stack:
            if not self.is_first:
                stack.enter_context(wish.heeded())  # rank 0 learns of it by the next job
            pool: Any = stack.enter_context(MPICommExecutor(self._all, root=0, backoff=backoff))
            try:
                yield pool
            except BaseException as error:
                if pool is not None:
                    pool.shutdown(wait=False, cancel_futures=True)
                if isinstance(error, RanksLost):
                    stack.pop_all()  # the pool would wait for them at its end
                raise

    # --- the two movements of a sum -----------------------------------------------------------------------

    def exchange(
        self,
        sent: npt.NDArray[np.float32],
        lengths: list[int],
        received: npt.NDArray[np.float32],
        coming: list[int],
    ) -> None:
        """See `tree.Mover`."""
        self._wait(self._all.Ialltoallv([sent, lengths], [received, coming]), moving=True)
        self.spent.sent += sent.itemsize * (sent.size - lengths[self.rank])

    def collect(self, part: npt.NDArray[np.float32], result: npt.NDArray[np.float32], lengths: list[int]) -> None:
        """See `tree.Mover`."""
        self._wait(self._all.Iallgatherv(part, [result, lengths]), moving=True)
        self.spent.sent += part.itemsize * part.size * (self.size - 1)

    # --- waiting and ending -------------------------------------------------------------------------------

    def _wait(self, request: Mpi, *, moving: bool = False) -> None:
        """Wait for a request, so that signals come through, and no longer than patience lasts.

        A rank sleeps while the others are not there yet: they may need its processor. While numbers are `moving` it
        asks without a pause: between processes of one machine MPICH moves bytes only when it is called.
        """
        begun = time.monotonic()
        while not request.Test():
            waited = time.monotonic() - begun
            if waited > self.patience:
                raise RanksLost.after(waited, self.rank, self.size)
            if moving:
                _yield_processor()
            else:
                time.sleep(min(1e-3, waited / 10))
        seconds = time.monotonic() - begun
        if moving:
            self.spent.moving += seconds
        else:
            self.spent.waiting += seconds

    def meet(self, seconds: float) -> bool:
        """See `World.meet`."""
        request, end = self._meeting.Ibarrier(), time.monotonic() + seconds
        while not request.Test():
            if time.monotonic() > end:
                return False
            time.sleep(1e-3)
        return True

    def abort(self, status: int) -> NoReturn:
        """See `World.abort`."""
        sys.stdout.flush()
        sys.stderr.flush()
        self._all.Abort(status)
        os._exit(status)


def _loaded(expected: int) -> Mpi:
    """The module mpi4py.MPI; importing it starts MPI."""
    try:
        import mpi4py

        mpi4py.rc.thread_level = "serialized"  # one thread at a time calls MPI
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a launcher of another MPI, which is refused below
            from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        started = f"started as one of {expected} processes, but " if expected > 1 else ""
        raise NanostyleError(
            f"{started}MPI cannot be used: {error}",
            hint="pip install 'nanostyle[mpi]' brings it; or start one process",
        ) from None
    return MPI


def _yield_processor() -> None:
    if hasattr(os, "sched_yield"):  # Linux
        os.sched_yield()
    else:
        time.sleep(0)
