"""Where results go: trees come out as they went in, names stay apart, and no photo is lost."""

import os
from pathlib import Path

import pytest
from PIL import Image

from nanostyle.cli.targets import STANDARD, Photo, label, photos_in, targets_for


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4)).save(path)
    return path


def test_a_tree_comes_out_as_it_went_in(tmp_path):
    for name in ("day1/IMG_0001.png", "day2/IMG_0001.png", "IMG_0001.png"):
        picture(tmp_path / "in" / name)
    found = photos_in([tmp_path / "in"])
    targets = targets_for(found.photos, ["wave"], tmp_path / "out")
    assert [target.relative_to(tmp_path / "out").as_posix() for target in targets] == [
        "IMG_0001_wave.png",
        "day1/IMG_0001_wave.png",
        "day2/IMG_0001_wave.png",
    ]
    assert all(target.parent.is_dir() for target in targets)


def test_of_several_folders_each_has_one_of_its_own(tmp_path):
    for name in ("one/x.png", "two/x.png"):
        picture(tmp_path / name)
    found = photos_in([tmp_path / "one", tmp_path / "two"])
    targets = targets_for(found.photos, ["wave"], tmp_path / "out")
    assert [target.relative_to(tmp_path).as_posix() for target in targets] == [
        "out/one/x_wave.png",
        "out/two/x_wave.png",
    ]


def test_a_photo_in_several_of_the_folders_is_taken_once(tmp_path):
    picture(tmp_path / "one" / "x.png")
    picture(tmp_path / "two" / "y.png")
    (tmp_path / "two" / "up").symlink_to(tmp_path / "one")
    found = photos_in([tmp_path / "one", tmp_path / "two", tmp_path / "one"])
    assert [photo.path.relative_to(tmp_path).as_posix() for photo in found.photos] == ["one/x.png", "two/y.png"]
    assert found.left_out == "2 in several of the folders"


def test_photos_of_one_name_that_are_named_are_not_mixed(tmp_path):
    photos = [Photo(picture(tmp_path / name)) for name in ("one/x.png", "two/x.png")]
    with pytest.raises(ValueError, match="would both become"):
        targets_for(photos, ["wave"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("No.1 Red", "No.1 Red"),
        ("No.2 Blue", "No.2 Blue"),
        ("folder/saved.h5", "saved"),
        ("saved.H5", "saved"),
        ("v1.5", "v1.5"),
        ("sea/storm", "sea_storm"),
    ],
)
def test_only_a_files_suffix_is_taken_off_a_style(style, expected):
    assert label(style) == expected


@pytest.mark.parametrize("name", ["夜" * 83 + ".png", "n" * 251 + ".jpg", "é" * 125 + ".heic"])
def test_the_result_of_a_long_name_fits_too(tmp_path, name):
    (target,) = targets_for([Photo(Path(name))], ["great_wave_hokusai"], tmp_path)
    assert len(os.fsencode(target.name)) <= 255
    target.write_bytes(b"")
    (other,) = targets_for([Photo(Path(name))], ["scream_munch"], tmp_path)
    assert other != target


def test_a_result_never_takes_the_place_of_a_photo(tmp_path):
    photo = picture(tmp_path / "photo.png")
    (tmp_path / "link.png").symlink_to(photo)
    for output in (photo, tmp_path / "link.png", tmp_path / "." / "photo.png"):
        with pytest.raises(ValueError, match="is a file that is read, and would be lost") as caught:
            targets_for([Photo(photo)], ["wave"], output)
        assert caught.value.hint == "choose another {output}"


@pytest.mark.parametrize(
    ("suffix", "expected"), [(".jpg", ".jpg"), (".gif", ".png"), (".ppm", ".png"), (".AVIF", ".avif")]
)
def test_a_result_has_the_photos_format_where_that_holds_its_colors(tmp_path, suffix, expected):
    (target,) = targets_for([Photo(Path(f"a{suffix}"))], ["wave"], tmp_path)
    assert target.name == f"a_wave{expected}"


def test_the_standard_output_takes_one_picture(tmp_path):
    assert targets_for([Photo(STANDARD)], ["wave"], STANDARD) == [STANDARD]
    assert targets_for([Photo(STANDARD)], ["wave"], tmp_path) == [tmp_path / "input_wave.png"]
    with pytest.raises(ValueError, match="2 photos need a folder, got the standard output"):
        targets_for([Photo(Path("a.png")), Photo(Path("b.png"))], ["wave"], STANDARD)
