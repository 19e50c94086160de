"""Ranks as threads of one process: what `backend/comm/tree.py` asks of MPI, without it."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np


class ThreadMover:
    """A rank whose numbers go over a board that all threads see."""

    def __init__(self, rank, size, board, barrier):
        self.rank, self.size, self._board, self._barrier = rank, size, board, barrier

    def exchange(self, sent, lengths, received, coming):
        assert sum(lengths) == sent.size and sum(coming) == received.size
        everything = self._post(np.split(sent, np.cumsum(lengths)[:-1]))
        parts = [parts[self.rank] for parts in everything]
        assert [part.size for part in parts] == coming
        received[...] = np.concatenate(parts)

    def collect(self, part, result, lengths):
        parts = self._post(part)
        assert [part.size for part in parts] == lengths
        result[...] = np.concatenate(parts)

    def _post(self, value):
        self._board[self.rank] = value
        self._barrier.wait()
        values = [np.copy(v) if isinstance(v, np.ndarray) else [np.copy(x) for x in v] for v in self._board]
        self._barrier.wait()
        return values


def thread_movers(size):
    board, barrier = [None] * size, threading.Barrier(size, timeout=60)
    return [ThreadMover(rank, size, board, barrier) for rank in range(size)]


def at_once(work, movers):
    """`work(mover)` of all ranks, at the same time; their results."""
    with ThreadPoolExecutor(len(movers)) as pool:
        return list(pool.map(work, movers))
