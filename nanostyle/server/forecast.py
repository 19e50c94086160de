"""What an order takes: seconds as the last pass took them, bytes as the networks need them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from nanostyle import GatysOptions, TrainedModel
from nanostyle.backend.memory import free_memory
from nanostyle.methods.gatys import gradient_bytes
from nanostyle.methods.strokes import painted_pixels
from nanostyle.models.loss_network import default_loss_network, loss_network
from nanostyle.server.guard import Refused
from nanostyle.server.wire import Order

Size = tuple[int, int]

_OF_FREE = 0.8
"""The part of the free memory that an order may take."""
_PICTURES = 60
"""Bytes per pixel of the photo, of the result and of what lies between them and their files."""
_OF_GATYS = 1.7
"""Peak memory of Gatys' method on a CPU over that of its gradient, measured: L-BFGS keeps its history."""
_OF_BANDS = 0.75
"""The part of the free memory that one pass takes at most: beyond it works in bands of rows."""


@dataclass(frozen=True)
class Forecast:
    """What an order may take: seconds (None before there was a pass), and bytes of main memory."""

    seconds: float | None
    bytes: int


class Forecasts:
    """Forecasts for orders, which learn from each pass how long the next one takes."""

    def __init__(self, models: Mapping[str, TrainedModel[Any]]) -> None:
        self._models = models
        self._seconds_a_pixel: float | None = None
        self._learned_from = 0.0

    def learn(self, order: Order, size: Size, seconds: float) -> None:
        """Take note that one pass of `order` over a photo of `size` (height, width) took so many `seconds`.

        Small pictures take more for each pixel, so a small one does not replace what a large one has taught.
        """
        painted = max(1.0, self.painted(order, size))
        if painted >= self._learned_from / 2:
            self._seconds_a_pixel, self._learned_from = seconds / painted, painted

    def of(self, order: Order, sizes: Sequence[Size]) -> Forecast:
        """The forecast for photos that are painted at `sizes` (height, width), one after another."""
        seconds = None
        if order.kind != "refine" and self._seconds_a_pixel is not None:
            seconds = self._seconds_a_pixel * sum(self.painted(order, size) for size in sizes)
        return Forecast(seconds, max(self._bytes(order, size) for size in sizes))

    def check(self, order: Order, sizes: Sequence[Size]) -> None:
        """Refuse what the free memory does not hold, and say what size it holds: 413."""
        free = free_memory()
        if free is None:
            return
        for size in sizes:
            need = self._bytes(order, size)
            if need > _OF_FREE * free:
                side = int(max(size) * (_OF_FREE * free / need) ** 0.5)
                raise Refused(
                    413,
                    "too_large",
                    f"memory: {size[1]} x {size[0]} pixels need about {need / 1e9:.2g} GB, {free / 1e9:.2g} GB are"
                    f" free; a long side of {side} fits",
                )

    def painted(self, order: Order, size: Size) -> float:
        """The pixels that all passes of an order go over, for one photo."""
        models = {layer.model for layer in order.layers}
        passes = len(order.layers) if order.layers[0].mask is not None else len(models)
        return passes * painted_pixels(size, order.strokes, order.strength)

    def _bytes(self, order: Order, size: Size) -> int:
        pixels = size[0] * size[1]
        if order.kind == "refine":
            return int(pixels * (_PICTURES + _OF_GATYS * self._gradient))
        larger = max(1.0, (order.strokes or 0) / max(size)) ** 2
        models = [self._models[layer.model] for layer in order.layers if layer.model in self._models]
        need = max((model.memory_for(size) for model in models), default=0.0) * larger
        free = free_memory()
        return int(pixels * _PICTURES + (need if free is None else min(need, _OF_FREE * _OF_BANDS * free)))

    @cached_property
    def _gradient(self) -> float:
        """Bytes per pixel of the gradient of Gatys' method."""
        return gradient_bytes(loss_network(default_loss_network()), GatysOptions())
