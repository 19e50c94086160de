"""The photo's own colors on a stylized picture."""

import numpy as np

from nanostyle.methods.colors import keep_colors

LUMA = [0.299, 0.587, 0.114]


def test_brightness_is_the_results_and_color_the_photos():
    rng = np.random.default_rng(0)
    result, photo = (rng.uniform(0.4, 0.6, (5, 7, 3)).astype(np.float32) for _ in range(2))
    kept = keep_colors(result, photo)
    np.testing.assert_allclose(kept @ LUMA, result @ LUMA, atol=1e-6)
    added = kept - photo  # the same to each channel: hue and saturation in YIQ stay
    np.testing.assert_allclose(added, np.repeat(added[..., :1], 3, axis=2), atol=1e-6)


def test_what_is_too_dark_or_too_light_is_cut_off():
    photo = np.float32([[[0.2, 0.5, 0.4], [0.2, 0.5, 0.4]]])
    kept = keep_colors(np.float32([[[0, 0, 0], [1, 1, 1]]]), photo)
    assert kept.min() == 0 and kept.max() == 1
