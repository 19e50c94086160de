"""The frames of a camera are calmed, each stream by itself."""

from itertools import pairwise

import numpy as np

from nanostyle.methods.stylizer import Stylizer
from nanostyle.server.camera import Cameras
from tests.support.clips import panned


def test_still_parts_are_calmed_and_streams_do_not_mix():
    stylizer, cameras = Stylizer("starry_night_van_gogh", strength=0.9), Cameras()
    rng = np.random.default_rng(0)
    still = panned(1, 48, 64)[0] / np.float32(255)
    noisy = [np.clip(still + rng.normal(0, 2 / 255, still.shape).astype(np.float32), 0, 1) for _ in range(6)]

    def change(frames):
        return np.sqrt(np.mean([(a - b) ** 2 for a, b in pairwise(frames[2:])]))

    calm = [cameras.paint("a", "scream", stylizer, frame) for frame in noisy]
    alone = [cameras.paint(f"b{i}", "scream", stylizer, frame) for i, frame in enumerate(noisy)]
    np.testing.assert_array_equal(calm[0], alone[0])
    assert change(calm) < 0.5 * change(alone)
    larger = cameras.paint("a", "scream", stylizer, panned(1, 56, 64)[0] / np.float32(255))
    assert larger.shape == (56, 64, 3)
