"""The network's passes of the frames of a video: several at once, by all ranks that work together."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from typing import NamedTuple

from nanostyle.backend.comm.world import World
from nanostyle.io.video.clip import Frame8
from nanostyle.methods.masks import Mask
from nanostyle.methods.stylizer import Stylizer
from nanostyle.methods.temporal import Planned
from nanostyle.models.shift import Shift


class Pass(NamedTuple):
    """What a frame is painted from: itself, how far it has moved over its scene, and the masks that are its own."""

    frame: Frame8
    shift: Shift
    masks: Sequence[Mask] | None


def painted(
    stylizer: Stylizer, passes: Iterable[Pass], size: tuple[int, int], ranks: World
) -> Generator[Frame8, None, None]:
    """The results of `passes`, of frames of `size` (height, width), in their order; `ranks` work on them."""
    memory = stylizer.memory_for(size)
    futures = ranks.in_order(
        _painter(stylizer),
        passes,
        size=lambda _: memory or 0,
        memory=stylizer.options.memory,
        at_once=memory is not None,  # not on a GPU
    )
    with closing(futures):
        for future in futures:
            yield future.result()


def paint_for_first(stylizer: Stylizer, ranks: World) -> None:
    """As another rank than the first: paint frames of its `painted` until there are none left."""
    deque(ranks.in_order(_painter(stylizer), ()), maxlen=0)


def _painter(stylizer: Stylizer) -> Callable[[Pass], Frame8]:
    def paint(one: Pass) -> Frame8:
        planned = Planned(one.frame, one.shift)
        return planned.render(lambda pixels, shift: stylizer.render(pixels, shift=shift, masks=one.masks))

    return paint
