"""Several works at once, their results in order: photos of a folder, frames of a video, orders of a server.

One picture on all threads leaves processors idle between its layers, and while files are read and written. So as many
pictures are worked on at once as there are threads, and one more for the time that a work does not compute; each has
its part of the threads. No result depends on the number of threads, to the bit: so none depends on this either.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from contextvars import copy_context
from itertools import islice
from queue import SimpleQueue
from typing import Generic, Protocol, TypeVar

from nanostyle.backend.threads import is_shared, thread_count, with_quota
from nanostyle.backend.types import Item, R

# Seconds after which it is asked again whether those elsewhere are lost.
_CHECK = 0.5

_Item = TypeVar("_Item", contravariant=True)
_R = TypeVar("_R")


class Others(Protocol[_Item, _R]):
    """Who else works on items: ranks on other machines.

    Attributes
    ----------
    most : int
        How many items may be begun there and not be yielded.
    """

    most: int

    def begin(self, item: _Item) -> "Future[_R] | None":
        """Have `item` worked on; None where enough waits there."""

    def check(self) -> None:
        """Raise where they seem to be lost."""


class Stopped(BaseException):
    """Ends a work whose result nobody waits for any more. No work needs to catch it."""


def in_order(
    work: Callable[[Item], R],
    items: Iterable[Item],
    *,
    size: Callable[[Item], float] = lambda item: 0,
    memory: float | None = None,
    at_once: bool = True,
    elsewhere: Others[Item, R] | None = None,
) -> Generator[Future[R], None, None]:
    """`work(item)` for every item, several at once; yields their futures, each of them done, in the order of the items.

    The calling thread asks for the items, a few ahead of the results. Closing the generator, an error or Ctrl-C in the
    calling thread stop the works at their next call of `parallel`; the generator ends when all have stopped.

    Parameters
    ----------
    work
        Runs in a thread of this function's. What it raises is in its future.
    size
        The bytes that a work takes, about.
    memory
        The bytes that all works together may take; one that takes more is done alone, by all threads. None: no limit.
    at_once
        Whether several works are done at once; otherwise one after the other, in the calling thread.
    elsewhere
        Who else works on items, if there is anybody. They take none of the memory.

    Examples
    --------
    >>> [future.result() for future in in_order(len, ["one", "three"])]
    [3, 5]
    """
    workers = _Workers(work, thread_count(), at_once=at_once)
    here = 2 * workers.threads + 1 if at_once else 1
    most = here + (elsewhere.most if elsewhere else 0)
    source = iter(items)
    begun: deque[Future[R]] = deque()
    own: list[tuple[Future[R], float]] = []  # those of `begun` that this process does, and their sizes
    coming = list(islice(source, 1))
    try:
        while coming or begun:
            while coming and len(begun) < most:
                future = elsewhere.begin(coming[0]) if elsewhere else None
                if future is None:
                    own = [(future, taken) for future, taken in own if not future.done()]
                    taken = size(coming[0])
                    if len(own) >= here or not _fits(taken, own, memory):
                        break
                    future = workers.begin(coming[0])
                    own.append((future, taken))
                begun.append(future)
                coming = list(islice(source, 1))
            if begun[0].done():
                yield begun.popleft()
            else:
                wait([future for future in begun if not future.done()], _CHECK, FIRST_COMPLETED)
                if elsewhere:
                    elsewhere.check()
    finally:
        workers.end()


def side_by_side(work: Callable[[Item], R], items: Iterable[Item], most: int) -> Generator[R, None, None]:
    """The results of `work(item)` in the order of the items, up to `most` of them worked on at once.

    What one of them raises is raised here, after the others have stopped. They are done one after another where there
    is one thread, and where the calling thread is itself one of several that work at the same time.
    """
    if most == 1 or thread_count() == 1 or is_shared():
        yield from map(work, items)
        return
    context = copy_context()
    made = in_order(lambda item: context.copy().run(work, item), items, size=lambda item: 1, memory=most)
    with closing(made):
        for future in made:
            yield future.result()


def _fits(size: float, others: Iterable[tuple[object, float]], memory: float | None) -> bool:
    """Whether a work of this size may begin beside others."""
    sizes = [taken for _, taken in others]
    return memory is None or not sizes or sum(sizes) + size <= memory


class _Workers(Generic[Item, R]):
    """Threads that work, and what each of them may use of the threads of `parallel`."""

    def __init__(self, work: Callable[[Item], R], threads: int, *, at_once: bool) -> None:
        self._work, self.threads = work, threads
        self._most = threads + 1 if at_once else 0
        self._started: list[threading.Thread] = []
        self._todo: SimpleQueue[tuple[Future[R], Item] | None] = SimpleQueue()
        self._lock, self._at_work, self._stopped = threading.Lock(), 0, False

    def begin(self, item: Item) -> Future[R]:
        """Have `item` worked on as soon as a thread is free."""
        future: Future[R] = Future()
        if len(self._started) < self._most:
            thread = threading.Thread(target=self._serve, name="nanostyle-work")
            try:
                thread.start()
                self._started.append(thread)
            except RuntimeError:  # a limit on threads (`ulimit -u`)
                self._most = len(self._started)
        if self._most:
            self._todo.put((future, item))
        else:
            self._run(future, item)
        return future

    def end(self) -> None:
        """Stop what is at work, leave out what has not begun, and wait for the threads."""
        self._stopped = True
        for _ in self._started:
            self._todo.put(None)
        for thread in self._started:
            if thread is not threading.current_thread():  # the garbage collector may close the generator in one of them
                thread.join()

    def quota(self) -> int:
        """How many threads a work may use now: as many as each of those at work."""
        if self._stopped:
            raise Stopped
        return max(1, self.threads // max(1, self._at_work))

    def _serve(self) -> None:
        while (task := self._todo.get()) is not None:
            self._run(*task)

    def _run(self, future: Future[R], item: Item) -> None:
        if self._stopped:
            future.cancel()
            return
        self._count(1)
        try:
            with with_quota(self.quota):
                result = self._work(item)
        except BaseException as error:
            self._count(-1)
            future.set_exception(error)
        else:
            self._count(-1)  # before anybody begins another work because this one is done
            future.set_result(result)

    def _count(self, change: int) -> None:
        with self._lock:
            self._at_work += change
