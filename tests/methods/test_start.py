"""The start of Gatys' method, and what it does for pictures that hide something or are flat."""

import numpy as np
import pytest

from nanostyle import stylize
from nanostyle.methods.start import first_picture
from tests.support.pictures import ART, PHOTO

FEW = {"method": "gatys", "size": 64, "iterations": 12}


def test_the_start_has_the_same_grain_for_the_same_seed():
    gray = np.full((40, 60, 3), 0.5, np.float32)
    a, b, c = (first_picture("photo", gray, [ART], [1.0], None, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    assert 1 / 255 < a.std() < 1.5 / 255 and np.abs(a - gray).max() < 6 / 255


def test_the_painting_is_cut_to_the_photos_shape():
    start = first_picture("style", PHOTO[:10], [ART], [1.0], None, 0)
    assert start.shape == PHOTO[:10].shape
    np.testing.assert_array_equal(first_picture("style", ART, [ART], [1.0], None, 0), ART)


@pytest.mark.parametrize("init", ["content", "photo"])
def test_a_smooth_sky_gets_strokes_and_no_stripes(init):
    """A gradient without noise: all pixels of a row are equal, and without grain they would stay so."""
    sky = np.broadcast_to(np.linspace(0.3, 0.8, 64, dtype=np.float32)[:, None, None], (64, 64, 3))
    made = stylize(np.ascontiguousarray(sky), "docs/pictures/painting.jpg", init=init, **FEW).pixels
    detail = made[1:] - made[:-1]
    assert np.var(detail.mean(axis=1)) < 0.4 * np.var(detail)
    assert made.std(axis=1).mean() > 5 / 255


def test_what_hides_under_transparency_does_not_matter():
    alpha = np.zeros((64, 64, 1), np.float32)
    alpha[16:48, 16:48] = 1
    rng = np.random.default_rng(0)
    inside = rng.random((64, 64, 3), np.float32) * alpha
    photos = [np.concatenate([inside + (1 - alpha) * hidden, alpha], axis=2) for hidden in (0.0, 1.0, 0.5)]
    results = [stylize(photo, ART, **FEW).pixels for photo in photos]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)
    as_painting = [stylize(PHOTO, photo, **FEW).pixels for photo in photos]
    for other in as_painting[1:]:
        np.testing.assert_array_equal(as_painting[0], other)


def test_what_all_masks_leave_black_is_the_photo():
    mask = np.zeros((*PHOTO.shape[:2], 3), np.float32)
    mask[:, PHOTO.shape[1] // 2 :] = 1
    made = stylize(PHOTO, ART, method="gatys", iterations=4, masks=(mask,)).pixels
    half = PHOTO.shape[1] // 2
    np.testing.assert_allclose(made[:, : half - 1], PHOTO[:, : half - 1], atol=1e-6)
    assert np.abs(made[:, half:] - PHOTO[:, half:]).mean() > 0.01
