"""Items of a stream that other ranks work on, beside the threads of this process."""

import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Generic

from nanostyle.backend.comm.dealing import WINDOW, do_one
from nanostyle.backend.comm.launch import RanksLost
from nanostyle.backend.types import Item, R


class Elsewhere(Generic[Item, R]):
    """The other ones of `ranks` ranks, which `pool` gives items to; each does what `prepare` has said.

    Attributes
    ----------
    most : int
        How many items may be begun there and not be taken from here: those that are done wait for earlier ones.
    """

    def __init__(self, pool: Executor, ranks: int, patience: Callable[[], float]) -> None:
        self._pool, self._ranks, self._patience = pool, ranks, patience
        self.most = 2 * WINDOW * (ranks - 1)
        self._begun: list[Future[R]] = []
        self._heard = 0.0  # when a result came last, or nothing was under way

    def begin(self, item: Item) -> Future[R] | None:
        """Have `item` worked on; None where enough waits there."""
        self.check()
        if len(self._begun) >= WINDOW * (self._ranks - 1):
            return None
        self._begun.append(self._pool.submit(do_one, item))
        return self._begun[-1]

    def check(self) -> None:
        """Raise RanksLost where nothing has come for longer than patience lasts."""
        before, now = len(self._begun), time.monotonic()
        self._begun = [future for future in self._begun if not future.done()]
        if not self._begun or len(self._begun) < before:
            self._heard = now
        elif now - self._heard > self._patience():
            raise RanksLost.after(now - self._heard, 0, self._ranks)
