"""Jobs dealt out to ranks by an executor: who is free gets the next ones, and no rank only manages."""

import _thread
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Generic, NamedTuple

from nanostyle.backend.comm.launch import RanksLost
from nanostyle.backend.types import Item, R

WINDOW = 2
"""Lots that wait for each rank, so that none is idle between two."""

# Seconds that a lot of small jobs is to last, so that a thousand ranks do not ask too often: between two lots a rank is
# idle for some milliseconds.
_LOT = 0.5

# A rank that leaves a lot to the others looks again after so many seconds.
_PAUSE = 0.005


class _Own:
    """What this rank does with a job, and how it is interrupted."""

    work: Callable[[Any], Any]
    breakable: Callable[[], AbstractContextManager[None]]


class _Took(threading.local):
    """How many jobs this rank has done, and the seconds they took; in a test each thread is a rank."""

    count = 0
    seconds = 0.0

    def mean(self) -> float:
        return self.seconds / self.count if self.count else 0.0


_own, _took = _Own(), _Took()


def prepare(
    work: Callable[[Any], Any], breakable: Callable[[], AbstractContextManager[None]] = nullcontext[None]
) -> None:
    """Say what this rank does with a job, before it takes any; within `breakable()` it may be interrupted."""
    _own.work, _own.breakable = work, breakable
    _took.count, _took.seconds = 0, 0.0


def do_one(job: Any) -> Any:
    """What this rank makes of a job."""
    with _own.breakable():
        return _own.work(job)


class Pace(NamedTuple):
    """How the work goes on: seconds that a job takes a rank, and seconds until all are done."""

    each: float
    left: float

    def leaves(self) -> bool:
        """Whether this rank is so slow that the others will have done all before it has done one job."""
        return _took.mean() > max(2 * self.each, self.left)


def _do(lot: Sequence[Any], pace: Pace) -> tuple[list[Any], float]:
    """The results of the first jobs of a lot, until it has lasted long enough; and the seconds they took."""
    if pace.leaves():
        time.sleep(_PAUSE)
        return [], 0.0
    if len(lot) > 1 and _took.mean() > _LOT:
        return [], 0.0  # it would hold the rest up while it is at the first
    begun, results = time.monotonic(), []
    for job in lot:
        results.append(do_one(job))
        if time.monotonic() - begun > _LOT:
            break
    seconds = time.monotonic() - begun
    _took.count, _took.seconds = _took.count + len(results), _took.seconds + seconds
    return results, seconds


class Dealer(Generic[Item, R]):
    """The jobs of rank 0 for `ranks` ranks, of which `pool` runs work on all but the first.

    A rank that has spent its time on a part of a lot gives the rest back, so a slow one holds up no job but the one it
    is at. Towards the end lots become single jobs, and a slow rank leaves them to the others.
    """

    def __init__(self, pool: Executor, ranks: int, jobs: Sequence[Item], patience: Callable[[], float]) -> None:
        self._pool, self._ranks, self._patience = pool, ranks, patience
        self._left, self._jobs = deque(jobs), len(jobs)
        self._begun = time.monotonic()
        self._lock = threading.Lock()
        self._active = self._untold = 0  # lots under way, and those whose results have not been yielded
        self._at_own = self._idle = False  # whether this rank does a job, or would if there were one
        self._closed = False  # no lot may begin any more
        self._done, self._longest = 0, 0.0
        self._singles = 0  # lots of one job to come, for ranks that have left a longer one
        self._given: list[Future[tuple[list[R], float]]] = []  # to the pool, the latest last
        self._finished: queue.SimpleQueue[tuple[list[Item], Future[tuple[list[R], float]]]] = queue.SimpleQueue()

    def results(self) -> Iterator[tuple[Item, R]]:
        """Each job with its result, as they are done.

        Raises
        ------
        RanksLost
            No result has come for longer than patience lasts, and for ten times as long as the longest lot took.
        """
        try:
            self._fill()
            yield from self._results()
        finally:
            with self._lock:
                self._closed = True

    def _results(self) -> Iterator[tuple[Item, R]]:
        while True:
            pace = self._pace()
            if not self._left and not pace.leaves():
                self._recall()
            with self._lock:
                own = [] if pace.leaves() and self._untold else self._take(1)
                self._at_own, self._idle = bool(own), not (own or pace.leaves())
            self._fill()
            if own:
                (result,), seconds = _do(own, Pace(pace.each, math.inf))
                with self._lock:
                    self._at_own = False
                self._note(1, seconds)
                yield own[0], result
            while self._untold and not (own and self._finished.empty()):
                lot, future = self._next()
                with self._lock:
                    self._untold -= 1
                done = [] if future.cancelled() else future.result()[0]
                yield from zip(lot, done, strict=False)
                if not own and self._left:
                    break
            if not own and not self._untold and not self._left:
                return

    def _fill(self) -> None:
        while True:
            with self._lock:
                has_room = self._active < WINDOW * (self._ranks - 1) and not self._closed
                lot = self._take(1 if self._singles else 0) if has_room else []
                if not lot:
                    return
                self._singles -= bool(self._singles)
                self._active += 1
                self._untold += 1
                pace = self._pace()
            future = self._pool.submit(_do, lot, pace)
            with self._lock:
                self._given = [*(other for other in self._given if not other.done()), future]
            future.add_done_callback(partial(self._back, lot))

    def _recall(self) -> None:
        """Take back the last lot that no rank has begun, if there is one: this rank has nothing to do."""
        with self._lock:
            given = self._given[::-1]
        next((future for future in given if future.cancel()), None)

    def _take(self, count: int = 0) -> list[Item]:
        """The next jobs: so many, or as many as last long enough and leave enough for the others."""
        if not count:
            each = self._pace().each
            count = max(1, min(int(_LOT / max(each, 1e-6)), len(self._left) // (2 * self._ranks)))
        return [self._left.popleft() for _ in range(min(count, len(self._left)))]

    def _pace(self) -> Pace:
        """By what all ranks have done so far: one that is slow does not count for more than it does."""
        each = (time.monotonic() - self._begun) / self._done if self._done else math.inf
        return Pace(each * self._ranks, (self._jobs - self._done) * each)

    def _back(self, lot: list[Item], future: Future[tuple[list[R], float]]) -> None:
        """A lot has come back: in the pool's thread, so that what rank 0 does meanwhile holds nobody up."""
        error = CancelledError() if future.cancelled() else future.exception()
        with self._lock:
            self._active -= 1
            if error is None:
                results, seconds = future.result()
                self._left.extendleft(reversed(lot[len(results) :]))
                refused = len(lot) > 1 and not results
                self._singles = min(self._singles + refused, self._ranks)
            elif future.cancelled():
                self._left.extendleft(reversed(lot))
            elif self._at_own and isinstance(error, KeyboardInterrupt):
                _thread.interrupt_main()  # a rank has been asked to end: so is this one, which may be long at its job
        if error is None:
            self._note(len(results), seconds)
            if not (self._idle and self._left):
                self._fill()
        self._finished.put((lot, future))

    def _note(self, count: int, seconds: float) -> None:
        with self._lock:
            self._done += count
            self._longest = max(self._longest, seconds)

    def _next(self) -> tuple[list[Item], Future[tuple[list[R], float]]]:
        begun = time.monotonic()
        while True:
            try:
                return self._finished.get(timeout=0.5)
            except queue.Empty:
                waited = time.monotonic() - begun
                if waited > self._patience() and waited > 10 * self._longest > 0:
                    raise RanksLost.after(waited, 0, self._ranks) from None
