"""A step of training in shards: equal parts of a batch, each with a gradient of its own, over any number of ranks.

A shard is a small batch of its own. Its number, step x shards + its place, stands where the number of the step stands
in a training without shards: which photos, crops and styles it has follows from the seed and that number alone. The
gradients are added by `backend/comm/tree.py`, so the weights are the same to the bit on any number of ranks.

Batch norm uses the statistics of each shard (ghost batch norm: Hoffer 2017); running averages move once a step, by the
mean over the shards.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nanostyle.backend.comm.tree import Block, add_block, block_lengths, shards_of
from nanostyle.backend.comm.wish import StopWish
from nanostyle.backend.comm.world import Spent, World, world
from nanostyle.backend.device import Device, module_of, repeated, to_staging
from nanostyle.backend.types import Array, Number
from nanostyle.errors import with_hint
from nanostyle.nn.module import buffers
from nanostyle.optim.optimizer import Optimizer
from nanostyle.training.interrupt import WholeStep
from nanostyle.training.objective import TERMS
from nanostyle.training.options import TrainOptions
from nanostyle.training.steps import Measured
from nanostyle.training.task import Task

# After the gradients and the running averages a rank sends the loss, the terms, and whether it has been asked to stop.
_NUMBERS = 1 + len(TERMS) + 1


def numbers_from(number: int, shards: int) -> Iterator[int]:
    """The numbers of the shards of this rank, from `number` on: step by step, without end.

    >>> list(itertools.islice(numbers_from(5, 2), 3))  # a process alone has all of them
    [5, 6, 7]
    """
    mine = shards_of(world().rank, world().size, shards)
    step, place = divmod(number, shards)
    yield from (step * shards + shard for shard in mine if shard >= place)
    for later in itertools.count(step + 1):
        yield from (later * shards + shard for shard in mine)


def check_shards(options: TrainOptions, net: object) -> None:
    """Raise unless the batch can be cut into the shards of `options`, and these suffice for the ranks.

    Raises
    ------
    ValueError
        There are more ranks than shards; the shards do not divide the batch; or a shard is one photo where `net` has
        batch norm.
    """
    shards, ranks = options.parts, world().size
    if shards < ranks:
        error = ValueError(f"shards: {shards} of a batch are too few for {ranks} ranks")
        raise with_hint(error, "use fewer ranks, or begin anew with more {shards}")
    if options.batch % shards:
        error = ValueError(f"batch: {options.batch} photos cannot be cut into {shards} equal shards")
        raise with_hint(error, f"use a {{batch}} that {shards} divides, or other {{shards}}")
    if shards > 1 and options.shard_size < 2 and buffers(net):
        error = ValueError("shards: batch norm needs 2 photos or more in each, got 1")
        raise with_hint(error, "use a larger {batch} or fewer {shards}")


class Shards:
    """Steps of this rank's shards of each batch, together with the other ranks.

    On a GPU a step is two recordings, a shard's gradient and the update, with the exchange between them. They work on
    the arrays that network and optimizer have now: after a roll-back there must be new ones.

    Parameters
    ----------
    wish
        Whether this rank has been asked to end. All ranks end before the step in which one says so.
    save
        Called on rank 0 when it has been asked to end, before the others know: a launcher may leave it half a second.
    """

    def __init__(
        self,
        task: Task,
        optimizer: Optimizer,
        whole: WholeStep,
        device: Device,
        *,
        shards: int,
        wish: StopWish,
        save: Callable[[], None],
    ) -> None:
        self._task, self._optimizer, self._whole = task, optimizer, whole
        self._shards, self._wish, self._save = shards, wish, save
        self._world: World = world()
        self._mine = shards_of(self._world.rank, self._world.size, shards)
        self._parameters = list(optimizer.parameters.values())
        self._buffers = list(buffers(task.net).values())
        self._sizes = [x.size for x in (*(p.data for p in self._parameters), *self._buffers)]
        self._gradient = repeated(self._compute, device)
        self._update = repeated(self._move, device)
        self._computing = 0.0

    def take(self, photos: Iterator[Array], step: int, lr: float) -> Measured:
        """Take `step` with the next shards of `photos`, within `whole`.

        Raises
        ------
        KeyboardInterrupt
            A rank has been asked to end; the step has not been taken.
        """
        numbers, begun = self._optimizer.numbers(lr), time.perf_counter()
        try:
            with self._wish.breakable():
                blocks = self._blocks(photos, step, numbers["scale"])
        except KeyboardInterrupt:
            if self._world.size == 1:
                raise
            blocks = self._stopped()
        self._computing = time.perf_counter() - begun
        total = self._world.total(blocks, self._shards)
        loss, *terms, stop = (total[-_NUMBERS:] / self._shards).tolist()
        if stop > 0:
            raise KeyboardInterrupt
        norm, factor = self._optimizer.clip(
            self._split(total)[: len(self._parameters)], numbers["scale"] * self._shards
        )
        # Processors of other kinds may round the norm otherwise.
        norm, factor = self._world.share((float(norm), float(factor)))
        self._whole.hold()
        if np.isfinite(factor):
            self._update(total, lr=numbers["lr"], t=numbers["t"], factor=factor)
        # A term that is 0 in every shard is one that this training does not have.
        found = {name: term for name, term in zip(TERMS, terms, strict=True) if term != 0}
        return Measured(loss, norm, found)

    def spent(self) -> dict[str, float]:
        """What the last step took this rank, for the log: seconds computing, waiting, moving numbers; bytes sent."""
        if self._world.size == 1:
            return {}
        spent, self._world.spent = self._world.spent, Spent()
        seconds = {"computing": self._computing, "waiting": spent.waiting, "moving": spent.moving}
        return {name: round(value, 5) for name, value in seconds.items()} | {"sent": spent.sent}

    def _blocks(self, photos: Iterator[Array], step: int, scale: float) -> list[Block]:
        """The sums over this rank's shards of `step`."""
        blocks: list[Block] = []
        for shard in self._mine:
            batch = next(photos)
            inputs = self._task.inputs(step * self._shards + shard, len(batch))
            add_block(blocks, Block(shard, 1, to_staging(self._gradient(batch, scale=scale, **inputs))))
        return blocks

    def _compute(self, photos: Array, *, scale: Number, **inputs: Any) -> Array:
        """Of one shard, in one array: gradients, moves of the running averages, loss, terms, and a 0."""
        before = [value.copy() for value in self._buffers]
        loss, terms = self._task.losses(photos, **inputs)
        xp = module_of(loss.data)
        loss.backward(xp.asarray(scale, loss.data.dtype))
        zero = xp.zeros((), np.float32)
        numbers = [loss.data, *(terms[name].data if name in terms else zero for name in TERMS), zero]
        gradients = [xp.zeros(p.shape, np.float32) if p.grad is None else p.grad for p in self._parameters]
        moves = [value - old for value, old in zip(self._buffers, before, strict=True)]
        for p in self._parameters:
            p.grad = None
        for value, old in zip(self._buffers, before, strict=True):
            value[...] = old
        flat: Array = xp.concatenate([x.ravel() for x in (*gradients, *moves, xp.stack(numbers))])
        return flat

    def _move(self, total: Array, *, lr: Number, t: Number, factor: Number) -> None:
        """Move parameters and running averages, by the sum over all shards."""
        found = self._split(total)
        if module_of(total) is not np:
            found = [part.copy() for part in found]  # kernels read arrays that begin on a boundary of their memory
        for p, gradient in zip(self._parameters, found, strict=False):
            p.grad = gradient
        self._optimizer.move(lr=lr, t=t, factor=factor)
        for value, change in zip(self._buffers, found[len(self._parameters) :], strict=True):
            value += change / self._shards

    def _split(self, total: Array) -> list[Array]:
        """The gradients and the moves of the running averages in a sum, each in its own shape."""
        shapes = [x.shape for x in (*(p.data for p in self._parameters), *self._buffers)]
        ends = list(itertools.accumulate(self._sizes))
        return [
            total[end - size : end].reshape(shape) for end, size, shape in zip(ends, self._sizes, shapes, strict=True)
        ]

    def _stopped(self) -> list[Block]:
        """The wish to stop in the place of the sums: this rank's shards are not computed to the end."""
        self._whole.undo()
        if self._world.is_first:
            self._save()
        zeros = np.zeros(sum(self._sizes) + _NUMBERS, np.float32)
        lengths = block_lengths(self._world.rank, self._world.size, self._shards)
        blocks = [Block(start, length, zeros.copy()) for start, length in lengths]
        blocks[0].values[-1] = 1
        return blocks
