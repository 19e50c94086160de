"""Batches of pictures for training, decoded ahead in background threads.

Picture, crop and colors at a place in a batch follow from the seed and the number of the step alone. A training that
resumes at step n gets the batches that it would have got without the stop.
"""

import math
import threading
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np

from nanostyle.backend.device import Device
from nanostyle.backend.threads import thread_count
from nanostyle.backend.types import Pixels
from nanostyle.errors import NanostyleError
from nanostyle.io.color import LUMA
from nanostyle.io.image_read import load_image
from nanostyle.io.pictures import sides

# The purpose of a random stream: the number after the seed in its seed, so that no two streams are the same.
_ORDER, _CROP, STYLES = 1, 2, 3

# Batches that are decoded ahead.
_AHEAD = 3

# What the names of the threads that decode begin with.
_THREADS = "decode"

_ZOOM = 1.5


def decoders(device: Device) -> int:
    """The number of threads that decode for work on `device`. For a GPU it is larger: it leaves the processors free."""
    return 2 if not device.is_gpu else max(2, min(thread_count(), 8))


class Pictures:
    """Batches of square crops from a collection of pictures.

    Each epoch goes through all pictures once, in a new order. A picture is made smaller, so that its short side is
    between `size` and 1.5 times that; a random crop of `size` x `size` pixels is taken; half of the crops are mirrored.
    A picture that cannot be read, or is smaller than a crop, gives its place to the next one in the order.

    Parameters
    ----------
    files
        The pictures.
    batch
        Crops in a batch.
    size
        Side of a crop in pixels.
    seed
        Fixes everything random.
    colors
        Vary brightness, saturation and hue as well, which makes more paintings of few.
    workers
        Threads that decode.

    Attributes
    ----------
    files : list of Path
        The pictures.
    skipped : dict
        Those that could not be used so far, each with the reason.
    """

    def __init__(
        self,
        files: Sequence[Path],
        *,
        batch: int,
        size: int,
        seed: int,
        colors: bool = False,
        workers: int = 2,
    ) -> None:
        self.files = list(files)
        self.skipped: dict[Path, str] = {}
        self._batch, self._size, self._seed = batch, size, seed
        self._colors, self._workers = colors, workers
        self._order = lru_cache(maxsize=2)(self._permutation)

    def batches(self, steps: Iterable[int]) -> Generator[Pixels, None, None]:
        """The batches `(batch, size, size, 3)` of each of `steps`, which has no end: RGB in 0..1.

        The threads stop when the iterator is closed or garbage-collected.

        Raises
        ------
        NanostyleError
            None of the pictures can be used; the message says why the first cannot.
        """
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix=_THREADS)
        ahead: deque[list[Future[Pixels]]] = deque()
        coming = iter(steps)
        try:
            while True:
                while len(ahead) < _AHEAD:
                    step = next(coming)
                    ahead.append([pool.submit(self.crop, step, i) for i in range(self._batch)])
                yield np.stack([future.result() for future in ahead.popleft()])
        finally:
            # The garbage collector may close the iterator in one of these threads, which cannot wait for itself.
            pool.shutdown(wait=not threading.current_thread().name.startswith(_THREADS), cancel_futures=True)

    def crop(self, step: int, i: int) -> Pixels:
        """The crop `(size, size, 3)` at place `i` of the batch of `step`; raises as `batches` does."""
        count = len(self.files)
        epoch, place = divmod(step * self._batch + i, count)
        for offset in range(count):
            file = self.files[self._order(epoch)[(place + offset) % count]]
            if file in self.skipped:
                continue
            try:
                return self._crop(file, np.random.default_rng([self._seed, _CROP, step, i]))
            except (OSError, ValueError) as error:
                self.skipped[file] = str(error)
        reason = next(iter(self.skipped.values()))
        raise NanostyleError(
            f"none of the {count} pictures can be used for training; the first: {reason}",
            hint=f"add pictures whose short side has {self._size} pixels or more, or use a smaller {{size}}",
        )

    def _permutation(self, epoch: int) -> list[int]:
        order: list[int] = np.random.default_rng([self._seed, _ORDER, epoch]).permutation(len(self.files)).tolist()
        return order

    def _crop(self, file: Path, rng: np.random.Generator) -> Pixels:
        size = self._size
        short, long = sorted(sides(file))
        if short < size:
            raise ValueError(f"{file} is too small: {short} pixels, a crop needs {size}")
        target = rng.integers(size, min(short, round(_ZOOM * size)) + 1)
        pixels = load_image(file, size=math.ceil(long * target / short)).pixels
        top, left = (rng.integers(0, n - size + 1) for n in pixels.shape[:2])
        pixels = pixels[top : top + size, left : left + size]
        if rng.random() < 0.5:
            pixels = pixels[:, ::-1]
        return vary_colors(pixels, rng) if self._colors else pixels


def vary_colors(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """`pixels` (H, W, 3) with saturation times 0.5 to 1.5, hue turned by up to a tenth of the circle, brightness ±0.1.

    Source: Ghiasi 2017, augmentation of paintings. Departure: its hue turns twice as far, which makes skies green.
    """
    saturation = rng.uniform(0.5, 1.5)
    angle = 2 * np.pi * rng.uniform(-0.1, 0.1)
    brightness = rng.uniform(-0.1, 0.1)
    # The hue turns as the color cube turns around its gray diagonal (Rodrigues' formula).
    cos, sin, third = np.cos(angle), np.sin(angle), 1 / np.sqrt(3)
    cross = third * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    turn = cos * np.eye(3) + sin * cross + (1 - cos) / 3 * np.ones((3, 3))
    gray = np.tile(LUMA, (3, 1))
    mix = (gray + saturation * (np.eye(3) - gray)) @ turn
    varied: Pixels = np.clip(pixels @ mix.T.astype(np.float32) + np.float32(brightness), 0, 1)
    return varied
