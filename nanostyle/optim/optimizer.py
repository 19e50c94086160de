"""The optimizer of a training: Adam with a clipped gradient, a loss scale and a running average of the weights."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from nanostyle.autograd.tensor import Tensor
from nanostyle.backend.device import module_of
from nanostyle.backend.types import Array, Number
from nanostyle.optim.adam import Adam, average_steps, clip_grad_norm
from nanostyle.optim.loss_scale import LossScale


class Optimizer:
    """Adam with what a training needs around it.

    A step is three calls, of which the second works on the device alone, so that it can be part of a recorded step:

    1. `numbers(lr)` on the host: what differs from step to step;
    2. `step(**numbers)` after the backward pass: clip the gradient, move the parameters and their average;
    3. `count(norm)` on the host, when the norm that `step` returned is known: a step whose gradient was not finite has
       moved nothing, and does not count.

    Parameters
    ----------
    parameters
        By name, all that is trained, in the order in which their gradients are added up. Their arrays are changed in
        place.
    max_norm
        A gradient that is longer, over all parameters, is scaled down to this norm.
    lr_factors
        By the parameter's name, a factor on its learning rate; 1 if not named.
    ema
        Above 0 and below 1: the decay of the running average of the parameters. 0: there is none.
    loss_scale
        What the loss is multiplied by before the backward pass; without one it is 1.

    Attributes
    ----------
    t : int
        Steps taken.
    loss_scale : LossScale
        The scale of the next step.

    Examples
    --------
    >>> w = Tensor(np.ones(2, np.float32), requires_grad=True)
    >>> optimizer = Optimizer({"w": w}, max_norm=10.0)
    >>> numbers = optimizer.numbers(0.1)
    >>> (w * w).backward(np.full(2, numbers["scale"], np.float32))
    >>> norm = optimizer.step(**numbers)
    >>> optimizer.count(float(norm)), w.data.round(3)
    (True, array([0.9, 0.9], dtype=float32))
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        *,
        max_norm: float,
        lr_factors: Mapping[str, float] | None = None,
        ema: float = 0.0,
        loss_scale: LossScale | None = None,
    ) -> None:
        self.parameters = dict(parameters)
        self.max_norm, self.ema = max_norm, ema
        self.loss_scale = loss_scale or LossScale(adapts=False)
        self.t = 0
        factors = {name: (lr_factors or {}).get(name, 1.0) for name in self.parameters}
        self._groups = [
            (factor, Adam({name: p for name, p in self.parameters.items() if factors[name] == factor}))
            for factor in dict.fromkeys(factors.values())
        ]
        self._average = {name: p.data.copy() for name, p in self.parameters.items()} if ema else {}

    # --- a step -------------------------------------------------------------------------------------------

    def numbers(self, lr: float) -> dict[str, float]:
        """What the next step needs to know: its learning rate, its number, its loss scale."""
        return {"lr": lr, "t": float(self.t + 1), "scale": self.loss_scale.value}

    def step(self, *, lr: Number, t: Number, scale: Number) -> Number:
        """Take step number `t` with gradients of `scale` times the loss; they are forgotten.

        Nothing moves where a gradient is not finite. On a GPU the three may be arrays without axes.

        Returns
        -------
        Number
            The norm of the whole gradient, without the scale and before clipping; not finite where nothing moved.
        """
        norm, factor = self.clip([p.grad for p in self.parameters.values() if p.grad is not None], scale)
        self.move(lr=lr, t=t, factor=factor)
        return norm

    def clip(self, gradients: Sequence[Array], scale: Number) -> tuple[Number, Number]:
        """The norm of all `gradients / scale` together, and the factor with which `move` is to take them."""
        return clip_grad_norm(gradients, max_norm=self.max_norm, scale=scale)

    def move(self, *, lr: Number, t: Number, factor: Number) -> None:
        """Move the parameters and their average: step number `t`, by the gradients times `factor`."""
        for lr_factor, adam in self._groups:
            adam.move(lr * lr_factor, t, factor)
        if self._average:
            # At first the plain mean of all steps: the random start is forgotten at once.
            weight = module_of(t).maximum(1 - self.ema, 1 / t)
            trained = [self.parameters[name].data for name in self._average]
            average_steps(list(self._average.values()), trained, weight=weight, factor=factor)

    def count(self, norm: float) -> bool:
        """Take note of the step that had this norm; whether it was taken."""
        taken = bool(np.isfinite(norm))
        self.t += taken
        self.loss_scale.update(taken)
        return taken

    # --- the running average ------------------------------------------------------------------------------

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within the block the parameters have their average values, if there is an average."""
        weights = {name: self.parameters[name].data for name in self._average}
        try:
            for name, average in self._average.items():
                self.parameters[name].data = average
            yield
        finally:
            for name, weight in weights.items():
                self.parameters[name].data = weight

    # --- for a checkpoint ---------------------------------------------------------------------------------

    def state(self) -> dict[str, Array]:
        """All arrays besides the parameters: `m/NAME` and `v/NAME`, Adam's moments; `average/NAME`."""
        return {f"{part}/{name}": array for part, arrays in self._arrays() for name, array in arrays.items()}

    def set_state(self, state: Mapping[str, Array]) -> None:
        """Take up the arrays that `state` gave; KeyError if one is missing."""
        for part, arrays in self._arrays():
            for name in arrays:
                arrays[name] = state[f"{part}/{name}"]

    def _arrays(self) -> list[tuple[str, dict[str, Array]]]:
        moments = [(part, arrays) for _, adam in self._groups for part, arrays in (("m", adam.m), ("v", adam.v))]
        return [*moments, ("average", self._average)]
