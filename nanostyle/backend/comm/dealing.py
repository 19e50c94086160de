"""Jobs dealt out to ranks by an executor: who is free gets the next ones, and no rank only manages."""

import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, Generic, NamedTuple

from nanostyle.backend.comm.launch import RanksLost
from nanostyle.backend.types import Item, R

# Lots that wait for each rank, so that none is idle between two.
_WINDOW = 2

# Seconds that a lot of small jobs is to last, so that a thousand ranks do not ask too often.
_LOT = 0.2

# A rank that leaves a lot to the others looks again after so many seconds.
_PAUSE = 0.005


class _Own:
    """What this rank does with a job, and how long it takes."""

    work: Callable[[Any], Any]
    count = 0
    seconds = 0.0

    def mean(self) -> float:
        return self.seconds / self.count if self.count else 0.0


_own = _Own()


def prepare(work: Callable[[Any], Any]) -> None:
    """Say what this rank does with a job, before it takes any."""
    _own.work, _own.count, _own.seconds = work, 0, 0.0


class Pace(NamedTuple):
    """How the work goes on: seconds that a job takes, on average, and seconds until the other ranks have done all."""

    each: float
    left: float

    def leaves(self) -> bool:
        """Whether this rank is so slow that the others have done all before it has done one job."""
        return _own.mean() > max(2 * self.each, self.left)


def _do(lot: Sequence[Any], pace: Pace) -> tuple[list[Any], float]:
    """The results of the first jobs of a lot, until it has lasted long enough; and the seconds they took."""
    if pace.leaves():
        time.sleep(_PAUSE)
        return [], 0.0
    begun, results = time.monotonic(), []
    for job in lot:
        results.append(_own.work(job))
        if time.monotonic() - begun > _LOT:
            break
    seconds = time.monotonic() - begun
    _own.count, _own.seconds = _own.count + len(results), _own.seconds + seconds
    return results, seconds


class Dealer(Generic[Item, R]):
    """The jobs of rank 0 for `ranks` ranks, of which `pool` runs work on all but the first.

    A rank that has spent its time on a part of a lot gives the rest back, so a slow one holds up no job but the one it
    is at. Towards the end lots become single jobs, and a slow rank leaves them to the others.
    """

    def __init__(self, pool: Executor, ranks: int, jobs: Sequence[Item], patience: Callable[[], float]) -> None:
        self._pool, self._ranks, self._patience = pool, ranks, patience
        self._left = deque(jobs)
        self._lock = threading.Lock()
        self._active = self._untold = 0  # lots under way, and those whose results have not been yielded
        self._done, self._seconds, self._longest = 0, 0.0, 0.0
        self._finished: queue.SimpleQueue[tuple[list[Item], Future[tuple[list[R], float]]]] = queue.SimpleQueue()

    def results(self) -> Iterator[tuple[Item, R]]:
        """Each job with its result, as they are done.

        Raises
        ------
        RanksLost
            No result has come for longer than patience lasts, and for ten times as long as the longest lot took.
        """
        self._fill()
        try:
            while True:
                with self._lock:
                    pace = self._pace()
                    own = [] if pace.leaves() and self._untold else self._take(1)
                if own:
                    (result,), seconds = _do(own, Pace(pace.each, math.inf))
                    self._note(1, seconds)
                    yield own[0], result
                while self._untold and not (own and self._finished.empty()):
                    lot, future = self._next()
                    with self._lock:
                        self._untold -= 1
                    done, _ = future.result()
                    yield from zip(lot, done, strict=False)
                    if not own and self._left:
                        break
                if not own and not self._untold and not self._left:
                    return
        except BaseException:
            self._pool.shutdown(wait=False, cancel_futures=True)
            raise

    def _fill(self) -> None:
        while True:
            with self._lock:
                lot = self._take() if self._active < _WINDOW * (self._ranks - 1) else []
                if not lot:
                    return
                self._active += 1
                self._untold += 1
                pace = self._pace()
            self._pool.submit(_do, lot, pace).add_done_callback(partial(self._back, lot))

    def _take(self, count: int = 0) -> list[Item]:
        """The next jobs: so many, or as many as last long enough and leave enough for the others."""
        if not count:
            each = self._seconds / self._done if self._done else _LOT
            count = max(1, min(int(_LOT / max(each, 1e-6)), len(self._left) // (4 * self._ranks)))
        return [self._left.popleft() for _ in range(min(count, len(self._left)))]

    def _pace(self) -> Pace:
        each = self._seconds / self._done if self._done else math.inf
        return Pace(each, (len(self._left) + 1) * each / max(1, self._ranks - 1))

    def _back(self, lot: list[Item], future: Future[tuple[list[R], float]]) -> None:
        """A lot has come back: in the pool's thread, so that what rank 0 does meanwhile holds nobody up."""
        with self._lock:
            self._active -= 1
            if not future.cancelled() and future.exception() is None:
                results, seconds = future.result()
                self._left.extendleft(reversed(lot[len(results) :]))
        if not future.cancelled() and future.exception() is None:
            self._note(len(results), seconds)
            self._fill()
        self._finished.put((lot, future))

    def _note(self, count: int, seconds: float) -> None:
        with self._lock:
            self._done, self._seconds = self._done + count, self._seconds + seconds
            self._longest = max(self._longest, seconds)

    def _next(self) -> tuple[list[Item], Future[tuple[list[R], float]]]:
        begun = time.monotonic()
        while True:
            try:
                return self._finished.get(timeout=0.5)
            except queue.Empty:
                waited = time.monotonic() - begun
                if waited > self._patience() and waited > 10 * self._longest > 0:
                    raise RanksLost(
                        f"rank 0 of {self._ranks} has waited {waited:.0f} s for the others, one of which has died,"
                        " hangs or is far too slow",
                        hint="{resume} or {skip_existing} goes on",
                    ) from None
