"""Motion is looked for frame by frame, and nothing of the frames before stays in memory."""

import gc

import numpy as np
import pytest

from nanostyle.io.video.motion import Motion
from tests.support.clips import panned

av = pytest.importorskip("av", reason="PyAV is not installed")


def test_each_frame_is_let_go():
    motion = Motion((48, 64))
    alive = []
    gc.disable()  # the collector comes when it likes, and frames are large
    try:
        for frame in panned(8, 48, 64, 2):
            found = motion.push(frame)
            alive.append(sum(type(one) is av.VideoFrame for one in gc.get_objects()))
    finally:
        gc.enable()
    assert found is not None and np.median(found[..., 1]) == 2
    assert alive[-1] <= alive[2], alive


@pytest.mark.parametrize("last", [0.6, 1.4])
def test_a_sky_that_grows_brighter_stands_still(last):
    rng = np.random.default_rng(0)
    sky = np.linspace(60, 110, 96)[:, None, None] + rng.normal(0, 1, (96, 128, 3))
    motion, moved = Motion((96, 128)), []
    for light in np.linspace(1, last, 8):
        noise = rng.normal(0, 1.5, sky.shape)
        moved.append(motion.push(np.clip(np.rint(light * sky + noise), 0, 255).astype(np.uint8)))
    far = [np.abs(vectors).max(axis=-1) > 1 for vectors in moved[2:]]
    assert np.mean(far) < 0.4, np.mean(far)
