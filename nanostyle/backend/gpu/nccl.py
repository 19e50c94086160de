"""Numbers moved from GPU to GPU by NCCL, for ranks with a GPU each: the `Mover` of `backend/comm/tree.py`.

NCCL adds nothing up: the order of its sums depends on channels and topology. Each movement is one group of sends and
receives on the stream that is given, outside of any recording: a recording cannot hold a step at which ranks meet.

Calls return before the numbers have moved. Who needs them must wait for an event of the stream with patience, and not
in `cudaStreamSynchronize`, which never returns once another rank has died.
"""

import itertools
from collections.abc import Iterator, Sequence

from nanostyle.backend.device import CuPy
from nanostyle.backend.types import Array


class NcclMover:
    """One of `size` ranks, each with a GPU of its own, that all make their movers at the same time.

    Parameters
    ----------
    nccl
        The module `cupy.cuda.nccl`.
    key
        What `nccl.get_unique_id()` has given to rank 0, on every rank.
    stream
        The address of the stream on which numbers are made and used.
    """

    def __init__(self, nccl: CuPy, key: object, rank: int, size: int, stream: int) -> None:
        self.rank, self.size = rank, size
        self._nccl, self._stream = nccl, stream
        self._all = nccl.NcclCommunicator(size, key, rank)

    def exchange(self, sent: Array, lengths: list[int], received: Array, coming: list[int]) -> None:
        """See `tree.Mover`."""
        self._move(_cut(sent, lengths), _cut(received, coming))

    def collect(self, part: Array, result: Array, lengths: list[int]) -> None:
        """See `tree.Mover`."""
        self._move(itertools.repeat(part, self.size), _cut(result, lengths))

    def _move(self, outgoing: Iterator[Array], incoming: Iterator[Array]) -> None:
        """Send to every rank, this one too, and receive from every rank; of no numbers neither side says anything."""
        kind = self._nccl.NCCL_FLOAT32
        self._nccl.groupStart()
        for other, (there, here) in enumerate(zip(outgoing, incoming, strict=True)):
            if there.size:
                self._all.send(_address(there), there.size, kind, other, self._stream)
            if here.size:
                self._all.recv(_address(here), here.size, kind, other, self._stream)
        self._nccl.groupEnd()


def _cut(values: Array, lengths: Sequence[int]) -> Iterator[Array]:
    """Neighboring parts of `values`, of these lengths."""
    ends = itertools.accumulate(lengths)
    return (values[end - length : end] for end, length in zip(ends, lengths, strict=True))


def _address(values: Array) -> int:
    memory: CuPy = values.data
    address: int = memory.ptr
    return address
