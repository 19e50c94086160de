"""The frames of cameras: strokes stay where they are while a stream goes on."""

from collections import OrderedDict

import numpy as np

from nanostyle.backend.types import Pixels
from nanostyle.io.image_write import to_image
from nanostyle.methods.stylizer import Stylizer
from nanostyle.methods.temporal import Stabilizer

_MOST = 8


class Cameras:
    """What is remembered of the last frame of each stream; of the streams that were used last."""

    def __init__(self) -> None:
        self._streams: OrderedDict[tuple[str, object], Stabilizer] = OrderedDict()

    def paint(self, stream: str, style: object, stylizer: Stylizer, pixels: Pixels) -> Pixels:
        """The next frame `(H, W, 3)` of a stream, in 0..1, painted; another style or size begins anew."""
        key = stream, style
        stabilizer = self._streams.pop(key, None) or Stabilizer("on")
        self._streams[key] = stabilizer
        while len(self._streams) > _MOST:
            self._streams.popitem(last=False)
        frame = np.asarray(to_image(pixels))
        made = stabilizer.paint(frame, lambda pixels, shift: stylizer.render(pixels, shift=shift))
        result: Pixels = made / np.float32(255)
        return result
