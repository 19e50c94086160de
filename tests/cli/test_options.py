"""Options from a dataclass, and where results go."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import click
import pytest
from click.testing import CliRunner

from nanostyle.cli import command as main_command
from nanostyle.cli.options import options_of, take
from nanostyle.cli.targets import Photo, photos_in, targets_for


@dataclass(frozen=True)
class Options:
    """One field of each kind."""

    rate: float = 0.5
    words: tuple[str, ...] = field(default=(), metadata={"flag": "word"})
    colors: Literal["style", "content"] = "style"
    pooling: Literal["max", "avg"] | None = None
    size: int | None = field(default=None, metadata={"range": (1, 9)})
    quick: bool = False
    files: tuple[object, ...] = field(default=(), metadata={"flag": "file", "type": Path})


def parsed(*words):
    found = []

    @click.command()
    @options_of(Options, leave_out=("quick",))
    def command(**values):
        found.append(take(Options, values))
        assert not values

    return CliRunner().invoke(command, words), found


def test_a_field_becomes_an_option_with_its_default():
    result, found = parsed()
    assert (result.exit_code, found) == (0, [Options()])
    words = ["--rate", "2", "--word", "a", "--word", "b", "--colors", "content", "--pooling", "avg", "--size", "9"]
    result, found = parsed(*words, "--file", "x.png")
    assert result.exit_code == 0, result.output
    assert found == [Options(2.0, ("a", "b"), "content", "avg", 9, False, (Path("x.png"),))]


@pytest.mark.parametrize(
    "words", [["--colors", "red"], ["--size", "10"], ["--size", "x"], ["--quick"], ["--words", "a"]]
)
def test_what_the_field_does_not_take_is_refused(words):
    result, found = parsed(*words)
    assert result.exit_code == 2 and not found
    assert words[0] in result.output


@pytest.mark.parametrize(
    "words",
    [
        ["stylize", ""],
        ["stylize", "a.png", "--style-image", ""],
        ["stylize", "a.png", "--mask", ""],
        ["train", "--mode", "cin", "--content", "", "-o", "a.h5"],
        ["video", "", "-o", "a.mp4"],
        ["weights", "convert", "", "a.h5"],
        ["styles", ""],
    ],
)
def test_an_empty_name_is_not_the_current_folder(words):
    result = CliRunner().invoke(main_command, words)
    assert result.exit_code == 2 and "got an empty one" in result.output


def test_results_go_into_a_folder_by_photo_and_style(tmp_path):
    photos = [Photo(Path("a/x.jpg")), Photo(Path("b/y.ppm"))]
    made = tmp_path / "new" / "folder"
    assert targets_for(photos, ["wave", "scream"], made) == [made / "x_wave_scream.jpg", made / "y_wave_scream.png"]
    assert made.is_dir()
    assert targets_for(photos[:1], ["wave"], Path("out.webp")) == [Path("out.webp")]
    with pytest.raises(ValueError, match="2 photos need a folder"):
        targets_for(photos, ["wave"], Path("out.webp"))
    with pytest.raises(ValueError, match="would both become"):
        targets_for([Photo(Path("a/x.jpg")), Photo(Path("b/x.jpg"))], ["wave"], tmp_path)


def test_photos_are_those_named_and_those_in_folders(tmp_path):
    for name in ("b.png", "a.jpg", "notes.txt"):
        (tmp_path / name).touch()
    named = Path("nowhere.png")  # reading it is what says that it is not there
    found = photos_in([named, tmp_path])
    assert [photo.path for photo in found.photos] == [named, tmp_path / "a.jpg", tmp_path / "b.png"]
