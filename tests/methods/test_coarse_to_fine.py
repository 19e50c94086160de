"""The sizes and the iterations of coarse-to-fine, and when a size is done."""

import numpy as np
import pytest

from nanostyle.methods.coarse_to_fine import Plateau, counts, pyramid


@pytest.mark.parametrize(
    ("size", "wanted", "least", "sizes"),
    [
        ((255, 170), None, 1, [(255, 170)]),
        ((170, 256), None, 1, [(85, 128), (170, 256)]),
        ((300, 512), None, 1, [(150, 256), (300, 512)]),
        ((768, 1024), None, 1, [(192, 256), (384, 512), (768, 1024)]),
        ((768, 1024), False, 1, [(768, 1024)]),
        ((100, 120), True, 1, [(50, 60), (100, 120)]),
        ((40, 3000), None, 8, [(10, 750), (20, 1500), (40, 3000)]),
        ((12, 16), True, 8, [(12, 16)]),
    ],
)
def test_sizes(size, wanted, least, sizes):
    assert pyramid(size, wanted, least) == sizes


def test_a_finer_size_does_a_quarter():
    assert counts(80, 1) == [80] and counts(81, 3) == [81, 20, 20]
    assert counts(0, 2) == [0, 0] and counts(1, 3) == [1, 1, 1]


def test_a_plateau_is_reached_after_ten_steps_of_little_gain():
    falling = Plateau(0.02)
    assert not any(falling.reached(100 * 0.99**i) for i in range(100))
    flat = Plateau(0.02)
    assert [flat.reached(100 * 0.999**i) for i in range(11)] == [False] * 10 + [True]
    uneven = Plateau(0.02)  # a step up now and then, as Adam makes them, is no plateau
    assert not any(uneven.reached(100 * 0.99**i + 5 * (i % 3 == 0)) for i in range(60))


def test_no_least_gain_is_no_plateau():
    assert not any(Plateau(0).reached(1.0) for _ in range(50))
    never = Plateau(0)
    assert not any(never.reached(loss) for loss in np.ones(50))
