"""The processes that do one work together. `world()` says who they are; alone, a process is a world of one rank.

mpiexec or srun starts the processes, and their environment says so. Everything here is collective unless it says
otherwise: all ranks call it, in the same order.
"""

import math
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from nanostyle.backend.comm.launch import RanksLost, launch
from nanostyle.backend.comm.tree import Block, folded
from nanostyle.backend.ordered import in_order
from nanostyle.backend.types import Array, Item, R

T = TypeVar("T")

# Seconds that a rank waits for the others; and when it has been asked to end.
_PATIENCE, _LAST_PATIENCE = 600.0, 10.0


@dataclass
class Spent:
    """What a rank has spent on the others since it was last asked: seconds waiting and moving numbers, bytes sent."""

    waiting: float = 0.0
    moving: float = 0.0
    sent: int = 0


class World:
    """A process alone. `MpiWorld` is the same for several.

    Attributes
    ----------
    rank, size : int
        The number of this rank, from 0, and how many there are.
    patience : float
        Seconds that a rank waits for the others before it raises `RanksLost`.
    spent : Spent
        What waiting for the others has cost.
    """

    rank, size = 0, 1

    def __init__(self) -> None:
        self.patience = _patience()
        self.spent = Spent()

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which alone writes files and talks to the user."""
        return self.rank == 0

    def hurry(self) -> None:
        """Wait for the others for ten seconds at most from now on: this rank has been asked to end. Not collective."""
        self.patience = min(self.patience, _LAST_PATIENCE)

    def share(self, value: T) -> T:
        """What rank 0 gives, on every rank."""
        return value

    def first(self, work: Callable[[], T]) -> T:
        """What `work()` returns or raises on rank 0, which alone calls it, on every rank."""
        if self.size == 1:
            return work()
        done: tuple[Any, BaseException | None] = None, None
        if self.is_first:
            try:
                done = work(), None
            except RanksLost:  # nobody is there to be told
                raise
            except KeyboardInterrupt as error:
                self.hurry()
                done = None, error
            except Exception as error:
                done = None, error
        value, failure = self.share(done)
        if failure is not None:
            raise failure
        result: T = value
        return result

    def gather(self, value: T) -> list[T]:
        """What every rank gives, in their order, on every rank."""
        return [value]

    def total(self, blocks: list[Block], shards: int) -> Array:
        """The sum over all `shards`, on every rank; each gives the blocks of its own (`tree.py`), which are used up."""
        return folded(blocks)

    def deal(self, jobs: Sequence[Item], work: Callable[[Item], R]) -> Generator[tuple[Item, R], None, None]:
        """Have each of the `jobs` of rank 0 done once, by whichever rank is free.

        Rank 0 yields the jobs with their results as they are done; the other ranks work until there is nothing left.
        """
        for job in jobs:
            yield job, work(job)

    def in_order(
        self,
        work: Callable[[Item], R],
        items: Iterable[Item],
        *,
        size: Callable[[Item], float] = lambda item: 0,
        memory: float | None = None,
        at_once: bool = True,
    ) -> Generator[Future[R], None, None]:
        """`backend/ordered.py`'s `in_order` of the `items` of rank 0, on which all ranks work.

        Rank 0 yields the futures; the other ranks work until there is nothing left.
        """
        return in_order(work, items, size=size, memory=memory, at_once=at_once)

    def meet(self, seconds: float) -> bool:
        """Whether all ranks come here within so many seconds. Nothing collective may follow if they do not."""
        return True

    def abort(self, status: int) -> NoReturn:
        """End every rank at once, with that exit status. Not collective."""
        os._exit(status)


_world: World | None = None


def known_world() -> World | None:
    """The processes that work together with this one, if `world()` has been asked."""
    return _world


def world() -> World:
    """The processes that work together with this one; made once.

    MPI is loaded where `launch()` says so, and nowhere else.

    Raises
    ------
    NanostyleError
        A launcher has started several processes, and MPI cannot be used or does not see them.
    ValueError
        `NANOSTYLE_COMM` or `NANOSTYLE_PATIENCE` has a value that it may not have.
    """
    global _world
    if _world is None:
        started = launch().size
        if started == 1:
            _world = World()
        else:
            from nanostyle.backend.comm.mpi import MpiWorld  # loads MPI

            _world = MpiWorld(started)
    return _world


def _patience() -> float:
    text = os.environ.get("NANOSTYLE_PATIENCE", "") or str(_PATIENCE)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise ValueError(f"NANOSTYLE_PATIENCE: expected seconds, above 0, got {text!r}")
    return seconds
