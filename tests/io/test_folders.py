"""Folders as people have them: trees, links, results, files of all kinds."""

import os
import sys

import numpy as np
import pytest
from PIL import Image

from nanostyle.io import folders
from nanostyle.io.folders import look_through
from nanostyle.io.image_write import save_image
from nanostyle.io.pictures import find_pictures


def picture(path, color="teal"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), color).save(path)
    return path


def names(found, folder):
    return [path.relative_to(folder).as_posix() for path in found.pictures]


@pytest.fixture
def tree(tmp_path):
    """Two days of photos."""
    for name in ("day1/IMG_1.png", "day2/IMG_1.png", "cover.jpg"):
        picture(tmp_path / "photos" / name)
    return tmp_path / "photos"


def test_a_tree_is_walked_in_order(tree):
    found = look_through(tree)
    assert names(found, tree) == ["cover.jpg", "day1/IMG_1.png", "day2/IMG_1.png"]
    assert found.told == ""


def test_links_are_followed_once_each(tree, tmp_path):
    picture(tmp_path / "elsewhere" / "sea.png")
    (tree / "linked").symlink_to(tmp_path / "elsewhere")
    (tree / "linked again").symlink_to(tmp_path / "elsewhere")
    (tree / "up").symlink_to(tree)
    (tree / "day1" / "round").symlink_to("..")
    (tree / "copy.png").symlink_to(tree / "day1" / "IMG_1.png")
    (tree / "single.png").symlink_to(picture(tmp_path / "single.png"))
    (tree / "broken.png").symlink_to(tmp_path / "nothing.png")
    found = look_through(tree)
    assert [name.split("/")[-1] for name in names(found, tree)] == [
        "cover.jpg",
        "IMG_1.png",
        "IMG_1.png",
        "sea.png",
        "single.png",
    ]
    assert "day1/IMG_1.png" in names(found, tree)  # the file at its own place, not the link
    assert found.told == "1 links that lead nowhere, pipes and devices, 1 links to pictures that are there"


def test_a_folder_that_cannot_be_read_is_told(tree, monkeypatch):
    def scandir(path):
        if path.name == "day2":
            raise PermissionError(13, "Permission denied", str(path))
        return iter(list(listed(path)))

    listed = os.scandir
    monkeypatch.setattr(folders.os, "scandir", scandir)
    found = look_through(tree)
    assert names(found, tree) == ["cover.jpg", "day1/IMG_1.png"]
    assert found.told == "1 folders that cannot be read"


def test_what_is_not_read_is_counted_by_kind(tree, monkeypatch):
    for name in ("a.nef", "day1/b.NEF", "c.cr2", "d.jxl", "e.heic", "notes.txt", "Makefile"):
        (tree / name).touch()
    monkeypatch.setattr(folders, "READABLE", folders.READABLE - folders.HEIF)
    told = look_through(tree).told
    assert "2 raw files of cameras (.nef)" in told and "1 raw files of cameras (.cr2)" in told
    assert "1 of an unread kind (.jxl)" in told
    assert "1 HEIC (.heic; pip install 'nanostyle[heif]')" in told
    assert ".txt" not in told and "Makefile" not in told


@pytest.mark.skipif(sys.platform == "win32", reason="it has no pipes with names")
def test_links_that_lead_nowhere_and_pipes_are_told(tmp_path):
    Image.new("RGB", (6, 4)).save(tmp_path / "photo.png")
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "gone").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.jpg")
    found = look_through(tmp_path)
    assert [path.name for path in found.pictures] == ["photo.png"]
    assert found.told == "2 links that lead nowhere, pipes and devices"


def test_results_are_left_out_where_that_is_asked(tree):
    for suffix in ("png", "jpg", "webp", "tif", "avif", "gif"):
        save_image(tree / f"result.{suffix}", np.zeros((4, 4, 3), np.float32), recipe={"seed": 1})
    assert len(look_through(tree).pictures) == 9
    found = look_through(tree, results=False)
    assert names(found, tree) == ["cover.jpg", "day1/IMG_1.png", "day2/IMG_1.png"]
    assert found.told == "6 results of nanostyle"


def test_a_damaged_picture_is_no_result(tree):
    (tree / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    assert "damaged.png" in names(look_through(tree, results=False), tree)


def test_files_and_folders_in_use_are_left_out(tree, tmp_path):
    painting = picture(tree / "art.png")
    output = tree / "results"
    picture(output / "old.png")
    (tmp_path / "link.png").symlink_to(painting)
    found = look_through(tree, without=[tmp_path / "link.png", output, tmp_path / "nothing"])
    assert names(found, tree) == ["cover.jpg", "day1/IMG_1.png", "day2/IMG_1.png"]
    assert found.told == "1 used as painting, mask or output"


def test_hidden_files_and_folders_are_passed_over(tree):
    picture(tree / ".hidden.png")
    picture(tree / ".thumbnails" / "a.png")
    assert len(look_through(tree).pictures) == 3


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="every folder can be read here")
def test_a_folder_that_may_not_be_read_is_passed_over(tree):
    (tree / "day1").chmod(0)
    try:
        assert len(look_through(tree).pictures) == 2
    finally:
        (tree / "day1").chmod(0o755)


def test_a_folder_with_nothing_to_read_says_what_it_holds(tmp_path):
    (tmp_path / "a.nef").touch()
    with pytest.raises(FileNotFoundError, match=r"no pictures in .*; left out: 1 raw files of cameras \(\.nef\)"):
        find_pictures(tmp_path)
