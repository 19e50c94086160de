"""Pictures in folders."""

import pytest
from PIL import Image

from nanostyle.io.pictures import find_pictures, sides


def test_find_pictures(tmp_path):
    for name in [
        "b.JPG",
        "a.png",
        "sub/c.TiFf",
        "sub/deep/d.webp",
        ".hidden.png",
        ".cache/e.png",
        "notes.txt",
        "f.jpg/g.txt",
    ]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in find_pictures(tmp_path)]
    assert found == ["a.png", "b.JPG", "sub/c.TiFf", "sub/deep/d.webp"]
    assert len(find_pictures(tmp_path / "sub" / "deep")) == 1


def test_a_hidden_folder_named_by_the_user_is_searched(tmp_path):
    (tmp_path / ".data").mkdir()
    (tmp_path / ".data" / "a.png").touch()
    assert len(find_pictures(tmp_path / ".data")) == 1


def test_find_pictures_refuses(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileNotFoundError, match=r"no pictures in .* or below it; looked for .*\.jpg"):
        find_pictures(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        find_pictures(tmp_path / "missing")
    with pytest.raises(NotADirectoryError, match=r"notes\.txt is a file; give a folder"):
        find_pictures(tmp_path / "notes.txt")


def test_the_sides_of_a_large_picture_are_told_without_a_warning(tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)
    Image.new("RGB", (10, 8)).save(tmp_path / "largish.png")
    assert sides(tmp_path / "largish.png") == (10, 8)
    assert not recwarn.list


def test_the_sides_of_what_is_no_picture(tmp_path):
    (tmp_path / "a.png").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"a\.png is not a picture"):
        sides(tmp_path / "a.png")
