"""A result is repeated from its recipe to the same bytes, or says which of its files is missing or another."""

import json
import shutil

import numpy as np
import pytest

from nanostyle.io.image_read import load_image
from nanostyle.io.image_write import save_image
from nanostyle.io.recipe import read_recipe
from tests.support.command import called as run
from tests.support.command import failed
from tests.support.tiny import picture

STYLE = ("--style-image", "art/wave.png")


@pytest.fixture
def folder(tmp_path):
    """Two photos and two paintings, and a result."""
    (tmp_path / "art").mkdir()
    for seed, name in enumerate(("a.png", "b.png", "art/wave.png", "art/sea.png", "mask.png")):
        save_image(tmp_path / name, picture(np.random.default_rng(seed), 30, 40))
    return tmp_path


def done(result):
    assert result.returncode == 0, result.stderr
    return result


def same(folder, one, other):
    return (folder / one).read_bytes() == (folder / other).read_bytes()


WAYS = {
    "strength": [*STYLE, "--strength", 0.6, "--strokes", 64, "--colors", "content"],
    "size": [*STYLE, "--size", 60],
    "blend": [*STYLE, "--style-image", "art/sea.png", "--weight", 3, "--weight", 1],
    "masks": [*STYLE, "--mask", "mask.png"],
    "names": ["--style", "scream_munch", "--style", "udnie_picabia"],
    "both kinds": [*STYLE, "--style", "scream_munch"],
    "bands": [*STYLE, "--max-memory", "1MB", "--size", 200],
    "gatys": [
        *STYLE,
        "--method",
        "gatys",
        "--iterations",
        2,
        "--style-layers",
        "relu1_1",
        "--init",
        "noise",
        "--seed",
        5,
    ],
}


@pytest.mark.parametrize("way", WAYS)
def test_a_result_repeats_itself_to_the_byte(folder, way):
    done(run("stylize", "a.png", *WAYS[way], "-o", "one.png", cwd=folder))
    done(run("stylize", "--from", "one.png", "-o", "two.png", cwd=folder))
    assert same(folder, "one.png", "two.png")


def test_quality_and_what_is_stripped_are_repeated(folder):
    done(run("stylize", "a.png", *STYLE, "--quality", 40, "--strip", "-o", "one.jpg", cwd=folder))
    done(run("stylize", "--from", "one.jpg", "-o", "two.jpg", cwd=folder))
    assert same(folder, "one.jpg", "two.jpg")


def test_the_same_to_another_photo(folder):
    done(run("stylize", "a.png", *STYLE, "--strength", 0.6, "-o", "one.webp", cwd=folder))
    result = done(run("stylize", "--from", "one.webp", "b.png", cwd=folder))
    assert "another" not in result.stderr
    recipe = read_recipe(folder / "b_wave.webp")
    assert (recipe["photo"], recipe["strength"], recipe["styles"]) == ("b.png", 0.6, ["art/wave.png"])
    done(run("stylize", "b.png", *STYLE, "--strength", 0.6, "-o", "two.webp", cwd=folder))
    assert same(folder, "b_wave.webp", "two.webp")


def test_options_given_go_before_the_recipes(folder):
    done(run("stylize", "a.png", *STYLE, "--strength", 0.6, "--strokes", 64, "-o", "one.png", cwd=folder))
    args = ("--strength", 0.2, "--style-image", "art/sea.png")
    result = done(run("stylize", "--from", "one.png", *args, "-o", "two.png", cwd=folder))
    assert "the painting is another than that of one.png" in result.stderr
    recipe = read_recipe(folder / "two.png")
    assert (recipe["strength"], recipe["strokes"], recipe["styles"]) == (0.2, 64, ["art/sea.png"])


def test_files_that_moved_are_asked_for_and_the_bytes_are_the_same(folder):
    done(run("stylize", "a.png", *STYLE, "-o", "one.png", cwd=folder))
    (folder / "elsewhere").mkdir()
    shutil.move(folder / "art" / "wave.png", folder / "elsewhere" / "renamed.png")
    again = ("stylize", "--from", "one.png", "-o", "two.png")
    failed(
        run(*again, cwd=folder), "the painting of one.png is not here any more", "art/wave.png", "--style-image FILE"
    )
    shutil.move(folder / "a.png", folder / "elsewhere" / "b.png")
    given = ("--style-image", "elsewhere/renamed.png")
    failed(
        run(*again, *given, cwd=folder), "the photo of one.png is not here", "nanostyle stylize --from one.png PHOTO"
    )
    done(run(*again, *given, "elsewhere/b.png", cwd=folder))
    assert same(folder, "one.png", "two.png")


def test_a_result_and_its_files_in_another_folder(folder, tmp_path_factory):
    """The files lie beside the result, not where the recipe has them."""
    done(run("stylize", "a.png", *STYLE, "-o", "one.png", cwd=folder))
    there = tmp_path_factory.mktemp("there")
    for name in ("a.png", "art/wave.png", "one.png"):
        shutil.copy(folder / name, there)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    done(run("stylize", "--from", there / "one.png", "-o", "two.png", cwd=elsewhere))
    assert (elsewhere / "two.png").read_bytes() == (folder / "one.png").read_bytes()


@pytest.mark.parametrize(("file", "what"), [("art/wave.png", "painting"), ("a.png", "photo"), ("mask.png", "mask")])
def test_a_file_with_other_contents_is_told(folder, file, what):
    done(run("stylize", "a.png", *STYLE, "--mask", "mask.png", "-o", "one.png", cwd=folder))
    shutil.copy(folder / "b.png", folder / file)
    failed(
        run("stylize", "--from", "one.png", "-o", "two.png", cwd=folder),
        f"{file} is another {what} than that of one.png",
    )
    assert not (folder / "two.png").exists()


def edited(folder, **changes):
    """A result whose recipe was changed."""
    done(run("stylize", "a.png", *STYLE, "-o", "one.png", cwd=folder))
    found = load_image(folder / "one.png")
    recipe = {key: value for key, value in (read_recipe(folder / "one.png") | changes).items() if value is not ...}
    save_image(folder / "edited.png", found.pixels, recipe=json.loads(json.dumps(recipe)))
    return run("stylize", "--from", "edited.png", "-o", "two.png", cwd=folder)


def test_another_model_is_told(folder):
    failed(edited(folder, model_sha256="0" * 64), "another model than that of edited.png", "--model FILE")


def test_another_version_and_device_are_told(folder):
    result = done(edited(folder, nanostyle="0.0.1", device="cuda"))
    assert "edited.png was made with nanostyle 0.0.1" in result.stderr and "device cuda, this is" in result.stderr


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"strength": 7}, ["--strength"]),
        ({"strength": {"a": 1}}, ["its recipe is damaged (strength"]),
        ({"strength": "much"}, ["--strength"]),
        ({"weights": [[1]]}, ["its recipe is damaged (weights"]),
        ({"styles": [3]}, ["its recipe is damaged (styles"]),
        ({"styles": ["\0.png"]}, ["its recipe is damaged (styles"]),
        ({"styles": []}, ["style: this model"]),
        ({"method": ["gatys"]}, ["has no recipe"]),
        ({"method": "magic"}, ["--method"]),
        ({"photo": "/etc/passwd"}, ["the photo of edited.png is not here"]),
        ({"photo": "../../a.png", "photo_sha256": ...}, []),
        ({"output": "owned.png", "overwrite": True, "debug": True, "threads": 1, "save_style": "owned.h5"}, []),
    ],
)
def test_a_recipe_that_was_tampered_with(folder, changes, words):
    result = edited(folder, **changes)
    if words:
        failed(result, *words)
    else:
        done(result)
        assert sorted(path.name for path in folder.glob("*wned*")) == []


def test_a_picture_without_a_recipe(folder):
    failed(run("stylize", "--from", "a.png", cwd=folder), "a.png has no recipe")
    failed(run("stylize", "--from", "nowhere.png", cwd=folder), "nowhere.png")
    failed(run("stylize", "--style", "scream_munch", cwd=folder), "expected a photo")


def test_a_preview_becomes_the_whole(folder, monkeypatch):
    monkeypatch.setattr("nanostyle.methods.preview.SIDE", 32)
    done(run("stylize", "a.png", *STYLE, "--preview", "-o", "small.png", cwd=folder))
    done(run("stylize", "--from", "small.png", "--no-preview", "-o", "whole.png", cwd=folder))
    done(run("stylize", "a.png", *STYLE, "-o", "direct.png", cwd=folder))
    assert load_image(folder / "small.png").pixels.shape == (24, 32, 3)
    assert same(folder, "whole.png", "direct.png")
