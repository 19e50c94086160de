"""Recipes travel in results and come out again."""

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nanostyle.io.image_write import encode_image
from nanostyle.io.recipe import read_recipe, recipe_text


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp"])
def test_pictures_without_a_recipe(tmp_path, suffix):
    Image.new("RGB", (4, 4)).save(tmp_path / f"plain{suffix}")
    assert read_recipe(tmp_path / f"plain{suffix}") is None


@pytest.mark.parametrize(
    "comment", [b"made by hand", b"nanostyle {broken", b"nanostyle [1]", b"\xff\xfe", b"nanostyle " + b"[" * 50_000]
)
def test_foreign_or_broken_recipes_are_none(tmp_path, comment):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg", comment=comment)
    assert read_recipe(tmp_path / "a.jpg") is None


def test_recipe_of_a_bad_file(tmp_path):
    (tmp_path / "a.png").write_bytes(b"text")
    with pytest.raises(ValueError, match="not a picture"):
        read_recipe(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match="there is no picture"):
        read_recipe(tmp_path / "b.png")


@given(st.dictionaries(st.text(max_size=8), st.one_of(st.none(), st.integers(-(2**50), 2**50), st.text(max_size=30))))
def test_any_json_recipe_returns(recipe):
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "AVIF"):
        file = encode_image(kind, np.zeros((1, 1, 3), np.float32), recipe=recipe)
        assert json.loads(recipe_text(Image.open(io.BytesIO(file))) or "null") == recipe
