"""Photos as a network meets them at use: with grain, in the second pass for strokes, and moved by a pixel or two."""

from collections.abc import Callable
from typing import Any

from nanostyle.autograd.ops import avg_pool, crop, mean
from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.backend.device import module_of
from nanostyle.backend.types import Array
from nanostyle.models.grain import draw_grain
from nanostyle.training.options import TrainOptions

# The number after the user's seed for the grain; 1 to 3 have other uses.
_GRAIN = 4

# By how much photos move, down and right, from step to step: what follows these follows any movement. Photos are cut
# by the room that this takes; what lies near the border sees another border after the movement and is not compared.
_PANS = ((1, 2), None, (2, 1), None)
_PAN_ROOM, _PAN_BORDER = 4, 12

# What a share of many photos may lack by rounding: 5/6 of 6 are 5 in every step, never 4 and then 6.
_ROUNDING = 1e-6


def spread_evenly(share: float, step: int, count: int) -> int:
    """How many of the `count` photos of `step` are picked, where a `share` of all photos is, evenly over the steps."""
    picked, before = (int(share * n * count + _ROUNDING) for n in (step + 1, step))
    return picked - before


def variation_at(options: TrainOptions, step: int, count: int, own: int = 0) -> dict[str, Any]:
    """How the `count` photos of `step` are varied, of which the first `own` are their own style.

    `second`: how many of the last photos were stylized at half the size before. `grain`: noise that is added to the
    photos. `pan`: a movement, down and right, in pixels. What does not happen is left out.
    """
    given: dict[str, Any] = {}
    if second := min(spread_evenly(options.second_share, step, count), count - own):
        given["second"] = second
    if options.grain:
        shape = (count, options.size, options.size)
        given["grain"] = draw_grain(shape, options.grain / 255, [options.seed, _GRAIN, step])
    if options.pan_weight:
        given["pan"] = _PANS[step % len(_PANS)]
    return given


def second_pass(x: Array, second: int, stylize: Callable[[Tensor], Tensor]) -> Array:
    """`x` `(N, H, W, C)` with the last `second` photos prepared as for the second pass for strokes.

    They are stylized at half the size and enlarged; then the detail that was lost at half the size is added.
    """
    xp, late = module_of(x), x[-second:]
    with no_grad():
        small = avg_pool(Tensor(late))
        painted = stylize(small)
    result: Array = xp.concatenate([x[:-second], late + enlarge(painted.data - small.data)])
    return result


def enlarge(x: Array) -> Array:
    """`x` `(N, H, W, C)` at twice the size: linear, each new pixel a quarter of the way to its neighbor."""
    for axis in (1, 2):
        xp, n = module_of(x), x.shape[axis]
        i = xp.arange(n)
        before, after = (xp.take(x, xp.clip(i + d, 0, n - 1), axis=axis) for d in (-1, 1))
        pair = xp.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis=axis + 1)
        x = pair.reshape(*x.shape[:axis], 2 * n, *x.shape[axis + 1 :])
    return x


def pan_loss(x: Array, y: Tensor, pan: tuple[int, int], stylize: Callable[[Tensor], Tensor]) -> Tensor:
    """The mean square between the results of photos `x` moved by `pan` pixels and the results `y` moved likewise."""
    H, W = x.shape[1] - _PAN_ROOM, x.shape[2] - _PAN_ROOM
    down, right = pan
    moved = stylize(Tensor(x[:, down : down + H, right : right + W]))
    window = {"height": H - 2 * _PAN_BORDER, "width": W - 2 * _PAN_BORDER}
    moved = crop(moved, top=_PAN_BORDER, left=_PAN_BORDER, **window)
    still = crop(y, top=down + _PAN_BORDER, left=right + _PAN_BORDER, **window)
    d = moved - still
    return mean(d * d)
