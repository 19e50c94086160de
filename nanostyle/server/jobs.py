"""Jobs, and the one thread that works on them: a step of the most urgent job at a time.

All computing of the server happens in this thread: previews wait for at most one step of a long job, and no two jobs
share the processors. A job is a generator of steps; a job that is canceled is closed at its next step, or in the
middle of one where the work tells of its progress.
"""

import itertools
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import partial
from typing import Generic, TypeVar

from nanostyle.backend.halfway import heard_by

T = TypeVar("T")

MOST_WAITING = 64
MOST_KEPT = 2000
"""Finished jobs that are kept: beyond it the oldest are forgotten."""
KEPT = 3600.0
"""Seconds that a finished job and its result are kept, and that an open one goes on if nobody asks after it."""
PATIENCE = 30.0
"""The same for an open job of a tab, which listens as long as it is there: a phone may lose its network for a while."""
IDLE = 30.0
"""Seconds without work after which memory is given back."""


class Priority(IntEnum):
    """How urgent a kind of job is; lower goes first."""

    PREVIEW = 0
    FRAME = 1
    FINAL = 2
    REFINE = 3
    BATCH = 4


class Busy(Exception):
    """Too many jobs are waiting."""


class Stopped(Exception):
    """Raised in the middle of a step of a job that was ended meanwhile."""


@dataclass
class Step(Generic[T]):
    """How far a job is: `done` of `total`, a note, and the picture so far (None where there is none yet)."""

    done: int
    total: int
    note: str = ""
    picture: Callable[[], T] | None = None


@dataclass(eq=False)
class Job(Generic[T]):
    """A piece of work and where it stands. `listeners` are called, in whatever thread, when that changes.

    Attributes
    ----------
    state : str
        `queued`, `running`, `done`, `failed`, `canceled` or `superseded`.
    n : int
        Counts the pictures so far.
    error : Exception or None
        Why it failed.
    keep : bool
        The work is to end with what it has.
    heard : float
        When somebody asked after it last.
    pixels : float
        The work of its one step, in pixels that pass through a network: its progress is told in parts of it. 0 where
        the steps say enough.
    """

    work: Callable[["Job[T]"], Iterator[Step[T]]]
    priority: Priority
    client: str = ""
    kind: str = ""
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: str = "queued"
    step: Step[T] | None = None
    n: int = 0
    error: BaseException | None = None
    began: float | None = None
    ended: float | None = None
    heard: float = field(default_factory=time.monotonic)
    pixels: float = 0.0
    pixels_done: float = 0.0
    listeners: list[Callable[["Job[T]"], None]] = field(default_factory=list)
    canceled: bool = False
    keep: bool = False
    _steps: Iterator[Step[T]] | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state not in ("queued", "running")

    @property
    def seconds_left(self) -> float | None:
        """The time left as the steps so far tell it; None before there are two."""
        if self.state != "running" or self.step is None or self.began is None or self.step.done < 1:
            return None
        return (time.monotonic() - self.began) / self.step.done * (self.step.total - self.step.done)

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for it any more."""
        patience = PATIENCE if self.client else KEPT
        return not self.listeners and time.monotonic() - self.heard > patience

    def at(self, step: Step[T]) -> None:
        """It has come to `step`."""
        before = self.step.picture if self.step is not None else None
        self.step = step
        self.n += step.picture is not None and step.picture is not before
        self.tell()

    def end(self, state: str) -> None:
        """Nothing more will happen; pictures of the way there are let go."""
        self.state, self.ended = state, time.monotonic()
        if self.step is not None:
            self.step = replace(self.step, picture=None)

    def tell(self) -> None:
        """Call every listener."""
        for listener in list(self.listeners):
            listener(self)


class Worker(Generic[T]):
    """The queue and its thread.

    Parameters
    ----------
    on_fault
        Called with a job and the exception that its work raised, for what no caller could foresee.
    on_forgotten
        Called with a job that will not be found any more.
    on_idle
        Called in the thread, again and again, while there is no work.
    """

    def __init__(
        self,
        on_fault: Callable[[Job[T], BaseException], None] = lambda job, error: None,
        on_forgotten: Callable[[Job[T]], None] = lambda job: None,
        on_idle: Callable[[], None] = lambda: None,
    ) -> None:
        self.jobs: dict[str, Job[T]] = {}
        self._on_fault, self._on_forgotten, self._on_idle = on_fault, on_forgotten, on_idle
        self._turn = threading.Condition()
        self._waiting: list[tuple[int, int, Job[T]]] = []
        self._number = itertools.count()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="nanostyle-worker", daemon=True)
        self._thread.start()

    def add(self, job: Job[T]) -> Job[T]:
        """Put a job into the queue. A client's newer preview takes the place of its older one.

        Raises
        ------
        Busy
            64 jobs are waiting.
        """
        with self._turn:
            self._tidy()
            if job.priority is Priority.PREVIEW and job.client:
                for other in self._open_jobs():
                    if other.priority is Priority.PREVIEW and other.client == job.client:
                        self._drop(other, "superseded")
            if len(self._waiting) >= MOST_WAITING:
                raise Busy
            self.jobs[job.id] = job
            self._waiting.append((job.priority, next(self._number), job))
            self._waiting.sort(key=lambda entry: entry[:2])
            self._turn.notify()
        return job

    def cancel(self, job: Job[T], *, keep: bool = False) -> None:
        """End a job; with `keep` it ends as done, with the picture that it has."""
        with self._turn:
            if job.over:
                return
            if keep and job.n > 0:
                job.keep = True
                return
            self._drop(job, "canceled")

    def position(self, job: Job[T]) -> int:
        """How many jobs go before it."""
        with self._turn:
            order = [entry[2] for entry in self._waiting]
            return order.index(job) if job in order else 0

    def counts(self) -> tuple[int, int]:
        """Jobs that have begun, and jobs that wait."""
        with self._turn:
            begun = sum(job.state == "running" for job in self.jobs.values())
            return begun, sum(job.state == "queued" for job in self.jobs.values())

    def stop(self) -> None:
        """Cancel everything; the thread ends after the step that it is at."""
        with self._turn:
            self._ending = True
            for job in self._open_jobs():
                self._drop(job, "canceled")
            self._turn.notify()

    def close(self) -> None:
        """Cancel everything and wait for the end of the thread, up to 10 seconds."""
        self.stop()
        self._thread.join(10)

    # --- in the thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            entry = self._next()
            if entry is None:
                return
            job = entry[2]
            if self._advance(job):
                with self._turn:
                    self._waiting.append(entry)
                    self._waiting.sort(key=lambda entry: entry[:2])

    def _next(self) -> tuple[int, int, Job[T]] | None:
        """The most urgent job, as soon as there is one; None at the end."""
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._waiting or self._ending, IDLE)
                if self._waiting:
                    return self._waiting.pop(0)
                if self._ending:
                    return None
                self._tidy()
            self._on_idle()

    def _advance(self, job: Job[T]) -> bool:
        """One step of a job; whether there is more to do."""
        self._end_if_abandoned(job)
        if job.canceled:
            self._close(job)
            return False
        try:
            if job._steps is None:
                job.began, job.state = time.monotonic(), "running"
                job._steps = job.work(job)
            with heard_by(partial(self._halfway, job)):
                step = next(job._steps, None)
        except Stopped:
            self._finish(job, "canceled")
            return False
        except BaseException as error:  # a fault of one job must not end the worker
            job.error = error
            self._on_fault(job, error)
            self._finish(job, "failed")
            return False
        if job.canceled:
            self._close(job)
            return False
        if step is None:
            if job.pixels:
                job.at(Step(100, 100))
            self._finish(job, "done")
            return False
        job.at(step)
        return True

    def _halfway(self, job: Job[T], pixels: float) -> None:
        """In the middle of a step: whether to go on, and how far it is."""
        self._end_if_abandoned(job)
        if job.canceled or job.keep:
            raise Stopped
        if job.pixels:
            job.pixels_done += pixels
            percent = min(99, int(100 * job.pixels_done / job.pixels))
            if job.step is None or percent > job.step.done:
                job.at(Step(percent, 100))

    def _end_if_abandoned(self, job: Job[T]) -> None:
        if job.abandoned:
            self.cancel(job)

    def _close(self, job: Job[T]) -> None:
        close = getattr(job._steps, "close", None)
        if close is not None:
            close()

    def _finish(self, job: Job[T], state: str) -> None:
        self._close(job)
        with self._turn:
            if job.over:
                return
            job.end(state)
        job.tell()

    # --- under the lock -----------------------------------------------------------------------------------

    def _open_jobs(self) -> list[Job[T]]:
        return [job for job in self.jobs.values() if not job.over]

    def _drop(self, job: Job[T], state: str) -> None:
        """Answer for a job at once; what has begun is closed when the thread comes to it."""
        if job.state == "queued":
            self._waiting = [entry for entry in self._waiting if entry[2] is not job]
        job.canceled = True
        job.end(state)
        job.tell()

    def _tidy(self) -> None:
        """Let jobs go that ended long ago or are too many, and of those that wait the ones that nobody waits for."""
        for job in self._open_jobs():
            if job.state == "queued" and job.abandoned:
                self._drop(job, "canceled")
        ended = [job for job in self.jobs.values() if job.ended is not None]
        for after, job in zip(range(len(ended), 0, -1), ended, strict=True):
            if after > MOST_KEPT or time.monotonic() - (job.ended or 0) > KEPT:
                del self.jobs[job.id]
                self._on_forgotten(job)
