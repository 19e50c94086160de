"""Animations are written frame by frame, and read back as they were meant."""

import weakref
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from nanostyle.io.recipe import read_recipe
from nanostyle.io.video import animation_write
from nanostyle.io.video.animation_write import _opened, write_animation
from nanostyle.io.video.read import open_clip
from tests.support.clips import panned

KINDS = ["gif", "webp", "png"]


def frames_in(folder, arrays):
    """Each array as the file of a frame."""
    paths = [folder / f"{i:04d}.png" for i in range(len(arrays))]
    for path, array in zip(paths, arrays, strict=True):
        Image.fromarray(array).save(path)
    return paths


def written(folder, kind, arrays, **settings):
    target = folder / f"a.{kind}"
    settings = {"loop": 0, "quality": 95, "recipe": '{"a": 1}', "overwrite": False, **settings}
    durations = settings.pop("durations", [Fraction(1, 25)] * len(arrays))
    write_animation(target, frames_in(folder, arrays), durations, **settings)
    return target


@pytest.mark.parametrize("kind", KINDS)
def test_frames_come_back(tmp_path, kind):
    frames = panned(5, 33, 47, 2)
    frames[3] = frames[2]  # nothing changes
    frames[4] = frames[3].copy()
    frames[4][7:12, 9:20] = 250  # a part does
    path = written(tmp_path, kind, frames, durations=[Fraction(ms, 1000) for ms in (40, 80, 120, 40, 200)], loop=2)
    clip = open_clip(path)
    found = list(clip.frames())
    assert (clip.count, clip.loop) == (5, 2)
    assert [frame.duration for frame in found] == [40, 80, 120, 40, 200]
    most = {"png": 0, "webp": 8, "gif": 12}[kind]  # GIF: 255 colors; WebP: colors at half the size
    for frame, wanted in zip(found, frames, strict=True):
        assert np.abs(frame.pixels.astype(int) - wanted).mean() <= most
    assert read_recipe(path) == {"a": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_alpha_moves(tmp_path, kind):
    frames = [np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)]) for frame in panned(4, 24, 40)]
    for i, frame in enumerate(frames[:3]):
        frame[4:12, 8 * i : 8 * i + 8, 3] = 0
    found = list(open_clip(written(tmp_path, kind, frames)).frames())
    for frame, wanted in zip(found, frames, strict=True):
        alpha = np.full((24, 40), 255) if frame.alpha is None else frame.alpha
        np.testing.assert_array_equal(alpha, wanted[..., 3])


@pytest.mark.parametrize("kind", KINDS)
def test_one_frame_and_one_pixel(tmp_path, kind):
    path = written(tmp_path, kind, [np.full((1, 1, 3), 200, np.uint8)])
    (frame,) = open_clip(path).frames()
    assert np.abs(frame.pixels.astype(int) - 200).max() <= 3


@pytest.mark.parametrize("kind", KINDS)
def test_no_more_than_a_few_frames_are_in_memory(tmp_path, kind, monkeypatch):
    seen, most = [], 0

    def watched(paths, mode):
        nonlocal most
        for image in _opened(paths, mode):
            seen.append(weakref.ref(image))
            most = max(most, sum(one() is not None for one in seen))
            yield image
            del image

    monkeypatch.setattr(animation_write, "_opened", watched)
    written(tmp_path, kind, panned(40, 24, 32))
    assert most <= 24 + 2 if kind == "gif" else most <= 3  # the palette of a GIF is made from 24 small ones
