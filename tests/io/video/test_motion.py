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
            alive.append(sum(isinstance(one, av.VideoFrame) for one in gc.get_objects()))
    finally:
        gc.enable()
    assert found is not None and np.median(found[..., 1]) == 2
    assert alive[-1] <= alive[2], alive
