"""Ranks as threads of one process: what `backend/comm/tree.py` asks of MPI or NCCL, without them."""

import ctypes
import queue
import threading
from collections import defaultdict
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


class Nccl:
    """What `backend/gpu/nccl.py` uses of cupy.cuda.nccl, between threads and in host memory.

    Raises where NCCL would hang or fail: for a call outside of a group, and at its end for a receive that nobody
    answers, or answers with another count or kind.
    """

    NCCL_FLOAT32 = 7

    def __init__(self):
        self.ways = defaultdict(queue.SimpleQueue)  # from, to
        self._local = threading.local()

    def NcclCommunicator(self, size, key, rank):
        return _Communicator(self, size, rank)

    def groupStart(self):
        self._local.calls = []

    def groupEnd(self):
        calls, self._local.calls = self._local.calls, None
        for way, address, count, kind, sends in calls:
            if sends:
                self.ways[way].put((ctypes.string_at(address, 4 * count), count, kind))
        for way, address, count, kind, sends in calls:
            if not sends:
                data, *sent = self.ways[way].get(timeout=60)
                assert sent == [count, kind], f"{way}: {sent} was sent, {[count, kind]} wanted"
                ctypes.memmove(address, data, 4 * count)

    def call(self, *about):
        assert getattr(self._local, "calls", None) is not None, "a call outside of a group"
        self._local.calls.append(about)

    def is_quiet(self):
        """Whether all that was sent has been received."""
        return all(way.empty() for way in self.ways.values())


class _Communicator:
    def __init__(self, nccl, size, rank):
        self._nccl, self._size, self._rank = nccl, size, rank

    def send(self, address, count, kind, other, stream):
        assert 0 <= other < self._size
        self._nccl.call((self._rank, other), address, count, kind, True)

    def recv(self, address, count, kind, other, stream):
        assert 0 <= other < self._size
        self._nccl.call((other, self._rank), address, count, kind, False)
