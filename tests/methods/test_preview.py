"""A preview looks as the large result will, made small."""

import numpy as np
import pytest
from PIL import Image

import nanostyle
from nanostyle.io.resample import resize
from nanostyle.methods import preview
from nanostyle.methods.gatys import perceptual_loss
from nanostyle.methods.gatys_options import GatysOptions
from nanostyle.models.loss_network import loss_network
from tests.support.paths import ROOT

PHOTO = ROOT / "docs" / "pictures" / "photo.jpg"


@pytest.fixture(scope="module")
def distance():
    """The mean distance of two pictures' Gram matrices, relative to those of the second."""
    loss = perceptual_loss(loss_network("builtin"), GatysOptions())

    def measured(a, b):
        grams, others = loss.grams(a[None]), loss.grams(b[None])
        return np.mean([((grams[k] - others[k]) ** 2).sum() / (others[k] ** 2).sum() for k in grams])

    return measured


@pytest.mark.parametrize("strokes", [None, 100])
def test_a_preview_is_nearer_to_the_large_result_than_a_small_result_is(distance, strokes, monkeypatch):
    """All sizes at a fifth, to save time."""
    monkeypatch.setattr(preview, "SIDE", 100)
    monkeypatch.setattr("nanostyle.methods.strokes.LARGEST_BY_DEFAULT", 150)
    how = {"style": "scream_munch", "strokes": strokes}
    final = nanostyle.stylize(PHOTO, size=700, **how).pixels
    shown = nanostyle.stylize(PHOTO, size=700, preview=True, **how).pixels
    assert max(shown.shape) == 100
    small = resize(final, shown.shape[:2])
    naive = resize(nanostyle.stylize(PHOTO, "scream_munch", size=100).pixels, shown.shape[:2])
    assert distance(shown, small) < 0.5 * distance(naive, small)


def test_a_small_photo_is_its_own_preview():
    plain, shown = (nanostyle.stylize(PHOTO, "scream_munch", size=200, preview=p) for p in (False, True))
    np.testing.assert_array_equal(shown.pixels, plain.pixels)
    assert shown.recipe["preview"] is True


def test_a_preview_of_gatys_with_masks_and_alpha(monkeypatch):
    monkeypatch.setattr(preview, "SIDE", 100)
    values = np.array(Image.open(PHOTO).resize((120, 80)).convert("RGBA"))
    values[:, 60:, 3] = 0
    mask = np.zeros((80, 120), np.float32)
    mask[:40] = 1
    result = nanostyle.stylize(
        values, PHOTO, masks=mask, method="gatys", iterations=1, style_layers=("relu1_1",), preview=True
    )
    assert result.pixels.shape == (67, 100, 3) and result.alpha.shape == (67, 100)
    photo = resize(values[..., :3].astype(np.float32) / 255, (67, 100))
    np.testing.assert_allclose(result.pixels[38:, :45], photo[38:, :45], atol=1e-5)
