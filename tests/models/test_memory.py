"""A picture that would take more memory than it may is worked on in bands, to the same result."""

import numpy as np
import pytest

import nanostyle
from nanostyle.backend import memory
from nanostyle.backend.memory import bytes_of, free_memory
from nanostyle.io.image_read import load_image
from nanostyle.models.load import load_model
from nanostyle.nets import banded
from tests.support.command import failed, run
from tests.support.paths import ROOT

PICTURES = ROOT / "docs" / "pictures"
PHOTO = load_image(PICTURES / "photo.jpg", size=150).pixels


@pytest.fixture(autouse=True)
def narrow_bands(monkeypatch):
    monkeypatch.setattr(banded, "_LEAST_ROWS", 24)


@pytest.fixture
def bands(monkeypatch):
    """How many passes went in bands."""
    passes = []
    several = banded.BandedTransformer.several

    def counted(self, photo, styles):
        passes.extend(photo.shape for _ in styles)
        return several(self, photo, styles)

    monkeypatch.setattr(banded.BandedTransformer, "several", counted)
    return passes


@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("name", ["styles", "any"])
def test_the_built_in_models_in_bands(name, strength, bands):
    model = load_model(name)
    style = (
        model.blend(["scream_munch", "udnie_picabia"], [3, 1])
        if name == "styles"
        else model.style(PHOTO[::-1], name="a")
    )
    whole = model.render(PHOTO, style, strength=strength)
    assert not bands
    parts = model.render(PHOTO, style, strength=strength, memory=1_000_000)
    assert len(bands) == (1 if strength == 1 else 2)
    np.testing.assert_allclose(parts, whole, atol=1e-5)


def test_masks_in_bands(bands):
    mask = np.zeros((10, 15), np.float32)  # of the photo's proportions
    mask[:, :8] = 1
    how = {"masks": [mask, 1 - mask], "strength": 0.8}
    styles = ["scream_munch", "water_lilies_monet"]
    whole = nanostyle.stylize(PHOTO, styles, **how).pixels
    parts = nanostyle.stylize(PHOTO, styles, **how, max_memory="1MB").pixels
    assert bands
    np.testing.assert_allclose(parts, whole, atol=1e-5)


def test_what_fits_is_done_in_one_piece(bands):
    nanostyle.stylize(PHOTO, "scream_munch", max_memory="1GB")
    assert not bands


def test_by_default_three_quarters_of_what_is_free(monkeypatch, bands):
    monkeypatch.setattr("nanostyle.methods.request.free_memory", lambda: 2_000_000)
    nanostyle.stylize(PHOTO, "scream_munch")
    assert bands
    bands.clear()
    monkeypatch.setattr("nanostyle.methods.request.free_memory", lambda: None)
    nanostyle.stylize(PHOTO, "scream_munch")
    assert not bands


@pytest.mark.parametrize(
    ("text", "count"), [("2GB", 2 * 10**9), ("1.5 gb", 1_500_000_000), ("800M", 8 * 10**8), ("1000000", 10**6)]
)
def test_sizes_in_words(text, count):
    assert bytes_of(text) == count


@pytest.mark.parametrize("text", ["", "much", "-2GB", "2XB", "1e9", "10KB", "0", "GB"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="expected a size such as 800MB or 2GB, got"):
        bytes_of(text)


def test_a_bad_size_is_one_line(tmp_path):
    photo = PICTURES / "photo.jpg"
    failed(run("stylize", photo, "--style", "scream_munch", "--max-memory", "much", cwd=tmp_path), "such as 800MB")


def test_what_is_free(tmp_path, monkeypatch):
    assert free_memory() is None or free_memory() > 0
    limit, used = tmp_path / "max", tmp_path / "current"
    limit.write_text("3000000\n")
    used.write_text("1000000\n")
    monkeypatch.setattr(memory, "_GROUP_FILES", ((str(limit), str(used)),))
    assert free_memory() == 2_000_000
    limit.write_text("max\n")
    assert free_memory() != 2_000_000
