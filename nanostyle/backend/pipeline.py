"""Work before and behind the network, in threads of their own: reading ahead, and writing."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

_WAITING = 2  # things that wait before and behind the network


def ahead(items: Iterator[T]) -> Generator[T, None, None]:
    """`items`, computed ahead of their use in a thread of their own."""
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="nanostyle-read") as pool:
        pending: deque[Future[Any]] = deque(pool.submit(next, items, end) for _ in range(_WAITING))
        try:
            while (item := pending.popleft().result()) is not end:
                pending.append(pool.submit(next, items, end))
                yield item
        finally:
            for future in pending:
                future.cancel()


class Behind:
    """Does what it is told, one after the other, in a thread of its own. An error is raised by the next call."""

    def __enter__(self) -> "Behind":
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="nanostyle-write")
        self._pending: deque[Future[Any]] = deque()
        self._failed = False
        return self

    def do(self, work: Callable[..., object], *given: Any) -> None:
        """Do `work` when what came before is done; after an error nothing is done any more."""
        while len(self._pending) >= _WAITING:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(self._try, work, *given))

    def _try(self, work: Callable[..., object], *given: Any) -> None:
        if not self._failed:
            self._failed = True
            work(*given)
            self._failed = False

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            while self._pending:
                future = self._pending.popleft()
                if kind is None:
                    future.result()
                else:
                    with suppress(Exception):  # the first error is the one to tell
                        future.result()
        finally:
            self._pool.shutdown()
