"""A step of training: forward, backward, update; of a batch as a whole."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from nanostyle.backend.device import Device, module_of, repeated, to_host
from nanostyle.backend.types import Array, Number
from nanostyle.optim.optimizer import Optimizer
from nanostyle.training.interrupt import WholeStep
from nanostyle.training.task import Task


class Measured(NamedTuple):
    """What a step has found: the loss, the norm of the gradient before clipping, each term of the loss by its name."""

    loss: float
    gradient: float
    terms: dict[str, float]


class WholeBatch:
    """Steps of one process that takes each batch as a whole. On a GPU a step is one recording.

    The recording works on the arrays that network and optimizer have now: after a roll-back there must be a new one.
    """

    def __init__(self, task: Task, optimizer: Optimizer, whole: WholeStep, device: Device) -> None:
        self._task, self._optimizer, self._whole, self._device = task, optimizer, whole, device
        self._work = repeated(self._compute, device)

    def take(self, photos: Iterator[Array], step: int, lr: float) -> Measured:
        """Take `step` with the next batch of `photos`, within `whole`."""
        batch = next(photos)
        inputs = self._task.inputs(step, len(batch))
        if self._device.is_gpu:
            self._whole.hold()  # a recorded step is launched as a whole
        names, values = self._work(batch, **self._optimizer.numbers(lr), **inputs)
        loss, gradient, *numbers = to_host(values).tolist()
        return Measured(loss, gradient, dict(zip(names, numbers, strict=True)))

    def spent(self) -> dict[str, float]:
        """Nothing: there are no other ranks."""
        return {}

    def _compute(
        self, photos: Array, *, lr: Number, t: Number, scale: Number, **inputs: Any
    ) -> tuple[list[str], Array]:
        """The names of the terms; the values of the loss, of the gradient's norm, and of the terms."""
        loss, terms = self._task.losses(photos, **inputs)
        xp = module_of(loss.data)
        loss.backward(xp.asarray(scale, loss.data.dtype))
        self._whole.hold()
        norm = self._optimizer.step(lr=lr, t=t, scale=scale)
        return list(terms), xp.stack([loss.data, norm, *(term.data for term in terms.values())])
