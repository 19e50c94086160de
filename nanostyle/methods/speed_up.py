"""How much faster one pass is than Gatys' method: Johnson 2016, table 1, on this machine."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

from nanostyle.backend.device import CPU, Device
from nanostyle.backend.types import Pixels
from nanostyle.io.resample import resize
from nanostyle.methods.evaluate import evaluate
from nanostyle.methods.gatys import gatys
from nanostyle.methods.gatys_options import GatysOptions
from nanostyle.nets.vgg import LossNetwork

SIZES = (256, 512, 1024)
"""Sides of the pictures, in pixels."""

ITERATIONS = (100, 300, 500)
"""Of Gatys' method."""


@dataclass(frozen=True)
class SpeedUp:
    """One row of the table.

    Attributes
    ----------
    size : int
        The side of the picture, in pixels.
    one_pass : float
        Seconds of one pass.
    iteration : float
        Seconds of an iteration of Gatys' method.
    equal_loss : int or None
        The first iteration whose loss is no higher than that of the pass; None where it was not reached or not looked
        for.
    """

    size: int
    one_pass: float
    iteration: float
    equal_loss: int | None

    def seconds(self, iterations: int) -> float:
        """What so many iterations take: each takes as long as the others.

        >>> SpeedUp(256, 0.5, 0.2, None).seconds(100)
        20.0
        """
        return iterations * self.iteration

    def factor(self, iterations: int) -> float:
        """How many times as fast one pass is.

        >>> SpeedUp(256, 0.5, 0.2, None).factor(100)
        40.0
        """
        return self.seconds(iterations) / self.one_pass


def speed_ups(
    render: Callable[[Pixels], Pixels],
    photo: Pixels,
    painting: Pixels,
    network: LossNetwork,
    *,
    sizes: tuple[int, ...] = SIZES,
    rounds: int = 5,
    limit: int = 0,
    device: Device = CPU,
) -> Iterator[SpeedUp]:
    """Time one pass and Gatys' method at each of `sizes`.

    Source: Johnson 2016, section 4.1, table 1. Departures: an iteration is timed by `2·rounds` of them, not by 500; the
    line search takes more than one evaluation now and then. The objective is this program's own (`GatysOptions`).

    Parameters
    ----------
    render
        From a photo `(H, W, 3)` to the stylized picture, in one pass.
    photo, painting
        Pictures `(H, W, 3)`; their middle squares are used.
    network
        The loss network, on `device`.
    rounds
        How often the pass runs; the median counts.
    limit
        How many iterations Gatys' method gets to reach the loss of the pass; 0: it is not looked for.
    """
    for size in sizes:
        small, art = (resize(_square(x), (size, size)) for x in (photo, painting))
        render(small)  # weights are brought into their form, memory is touched
        one_pass = median(_seconds(lambda x=small: render(x)) for _ in range(rounds))  # type: ignore[misc]
        options = GatysOptions(iterations=2 * rounds, pyramid=False)
        begun = [time.perf_counter() for _ in gatys(small, [art], network, options, device=device)]
        iteration = (begun[-1] - begun[0]) / max(1, len(begun) - 1)
        equal = None
        if limit:
            objective = GatysOptions(iterations=limit)
            scores = evaluate(lambda _, x: render(x), [small], {"": art}, network, objective, device=device)
            equal = next(scores).iterations[0]
        yield SpeedUp(size, one_pass, iteration, equal)


def _square(pixels: Pixels) -> Pixels:
    """The middle of a picture."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
