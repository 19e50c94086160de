"""Floor 0: Adam on a GPU, by `kernels/adam.cu`: for one array, and for all parameters of a network at once."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nanostyle.arrays import Array, empty, module_of
from nanostyle.gpu.launch import THREADS, blocks, contiguous, launch

_CHUNK = 16 * THREADS  # numbers of a block; the same in kernels/adam.cu
_FIRST_SCALE = 2.0**16


def adam_step(
    p: Array, g: Array, m: Array, v: Array, *, lr: float, beta1: float, beta2: float, eps: float, step: int
) -> Any:
    """See `ops.adam.adam_step`."""
    if any(a.dtype != np.float32 or not a.flags.c_contiguous for a in (p, m, v)) or g.dtype != np.float32:
        return NotImplemented
    numbers = (lr / (1 - beta1**step), beta1, beta2, eps, 1 - beta2**step)
    launch("adam", "adam_one", blocks(p.size), p, contiguous(g), m, v, *numbers, p.size, HALF=0)
    return None


class FusedAdam:
    """Adam for all parameters of a network in three launches, with a loss scale that adapts.

    The gradients come in arrays that stay the same from step to step. The loss is to be multiplied by `loss_scale`
    before `backward`, so that gradients that would vanish in float16 do not. A step whose gradients are not finite is
    skipped, and the scale halved; after `growth` good steps it is doubled.
    Source: Kingma 2015, algorithm 1; Micikevicius 2018, section 3.2.

    Parameters
    ----------
    parameters, gradients : sequences of Array
        Contiguous float32 arrays of the device, pairs of one shape. They are remembered by address.
    lr : float
        The learning rate; `set_lr` changes it.
    growth : int
        See above. 0: the scale is 1 and stays 1.

    Raises
    ------
    ValueError
        An array is of another type or shape, or not contiguous.
    """

    def __init__(
        self,
        parameters: Sequence[Array],
        gradients: Sequence[Array],
        *,
        lr: float,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        growth: int = 2000,
    ) -> None:
        for p, g in zip(parameters, gradients, strict=True):
            if p.shape != g.shape or {p.dtype, g.dtype} != {np.dtype(np.float32)}:
                raise ValueError(
                    f"FusedAdam: expected float32 parameters and gradients of one shape, got {p.shape} {p.dtype}"
                    f" and {g.shape} {g.dtype}"
                )
            if not (p.flags.c_contiguous and g.flags.c_contiguous):
                raise ValueError(f"FusedAdam: expected contiguous arrays, got shape {p.shape} with strides {p.strides}")
        xp = module_of(parameters[0])
        self.m = [xp.zeros(p.shape, np.float32) for p in parameters]
        self.v = [xp.zeros(p.shape, np.float32) for p in parameters]
        self._arrays = (tuple(parameters), tuple(gradients))  # kept alive: the kernels know their addresses
        addresses = [[_address(a) for a in row] for row in zip(parameters, gradients, self.m, self.v, strict=True)]
        chunks = [(i, begin) for i, p in enumerate(parameters) for begin in range(0, p.size, _CHUNK)]
        self._tables: tuple[Any, ...] = (
            xp.asarray(np.array(addresses, np.uint64)),
            xp.asarray(np.array([p.size for p in parameters], np.int32)),
            xp.asarray(np.array(chunks, np.int32)),
        )
        self._bad = empty((len(chunks),), np.float32, like=parameters[0])
        scale = _FIRST_SCALE if growth else 1.0
        self.state = xp.asarray(np.array([0, lr, scale, 0, 0, 0, 0, 0], np.float32))
        self._betas, self._eps, self._growth = (beta1, beta2), eps, growth

    @property
    def loss_scale(self) -> Array:
        """The factor of the loss, an array with no axes: it stays on the device."""
        return self.state[2]

    def set_lr(self, lr: float) -> None:
        """Use the learning rate `lr` from the next step on."""
        self.state[1] = lr

    def step(self) -> None:
        """Update the parameters from the gradients."""
        count = self._bad.size
        launch("adam", "adam_check", count, *self._tables, self._bad, HALF=0)
        logs = [math.log(beta) for beta in self._betas]
        launch("adam", "adam_begin", 1, self._bad, self.state, count, self._growth, *logs, HALF=0)
        launch("adam", "adam_many", count, *self._tables, self.state, *self._betas, self._eps, HALF=0)


def _address(x: Any) -> int:
    return x.data.ptr
