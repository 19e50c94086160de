"""Johnson's table: what is timed, what is computed from it, and its command."""

import numpy as np
import pytest
from click.testing import CliRunner

from nanostyle.cli import command
from nanostyle.io.resample import resize
from nanostyle.methods import speed_up
from nanostyle.methods.gatys import gatys
from nanostyle.methods.gatys_options import GatysOptions
from nanostyle.methods.speed_up import SpeedUp, speed_ups
from tests.support.networks import tiny_vgg
from tests.support.paths import ROOT

PICTURES = ROOT / "docs" / "pictures"
PHOTO, PAINTING = np.random.default_rng(0).random((2, 40, 56, 3), np.float32)


def test_the_middle_of_the_pictures_is_used_at_every_size():
    seen = []
    rows = list(speed_ups(lambda x: seen.append(x.shape) or x, PHOTO, PAINTING, tiny_vgg(), sizes=(16, 32), rounds=2))
    assert [row.size for row in rows] == [16, 32]
    assert seen == [(16, 16, 3)] * 3 + [(32, 32, 3)] * 3
    assert all(row.one_pass > 0 and row.iteration > 0 and row.equal_loss is None for row in rows)


def test_an_iteration_is_timed_without_what_comes_before_the_first(monkeypatch):
    clock = iter([0.0, 0.5, 100.0, 103.0, 106.0])  # a pass, then the start and two iterations
    monkeypatch.setattr(speed_up.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(speed_up, "gatys", lambda *_, **__: iter(range(3)))
    [row] = speed_ups(lambda x: x, PHOTO, PAINTING, tiny_vgg(), sizes=(16,), rounds=1)
    assert (row.one_pass, row.iteration) == (0.5, 3.0)
    assert (row.seconds(100), row.factor(100)) == (300.0, 600.0)


def test_equal_loss():
    """What Gatys' method has after two iterations is as good as it is after two, or three where 0..1 cuts it."""
    painting = resize(PAINTING[:, 8:48], (32, 32))
    options = GatysOptions(iterations=2, init="photo", pyramid=False)

    def as_after_two(photo):
        *_, last = gatys(photo, [painting], tiny_vgg(), options)
        return last.pixels

    [row] = speed_ups(as_after_two, PHOTO, PAINTING, tiny_vgg(), sizes=(32,), rounds=1, limit=10)
    assert row.equal_loss in (2, 3)
    [row] = speed_ups(lambda photo: photo, PHOTO, PAINTING, tiny_vgg(), sizes=(32,), rounds=1, limit=3)
    assert row.equal_loss in (0, 1)  # the method starts at the photo with grain, which the bare photo may beat


def table(*words):
    result = CliRunner().invoke(command, ["bench", "networks", *map(str, words)], standalone_mode=False)
    return result.output.splitlines(), result.exception


def test_the_command(monkeypatch):
    monkeypatch.setattr("nanostyle.cli.bench.speed_ups", lambda *_, **options: iter([SpeedUp(256, 0.25, 0.5, None)]))
    lines, error = table("--paper")
    assert error is None and "random weights" in lines[1]
    assert " ".join(lines[-1].split()) == "256 0.25 s 50.0 s 150.0 s 250.0 s 200 x 600 x 1000 x"


@pytest.mark.parametrize("reached, words", [(40, "as good after 40: 80 x"), (None, "not as good after 100")])
def test_the_command_with_pictures(monkeypatch, reached, words):
    monkeypatch.setattr("nanostyle.cli.bench.speed_ups", lambda *_, **options: iter([SpeedUp(256, 0.25, 0.5, reached)]))
    lines, error = table("--paper", "--photo", PICTURES / "photo.jpg", "--painting", PICTURES / "painting.jpg")
    assert error is None and "one pass: any; Gatys' method: builtin" in lines[1]
    assert words in lines[-1]


@pytest.mark.parametrize(
    "words",
    [
        ["--photo", "a.jpg"],
        ["--paper", "--photo", "a.jpg"],
        ["--paper", "--model", "any"],
        ["--paper", "--loss-net", "x"],
    ],
)
def test_options_that_need_others(words):
    _, error = table(*words)
    assert isinstance(error, ValueError) and "is for a trained model" in str(error)
    assert error.hint == "give {paper}, {photo} and {painting} as well"


def test_a_painting_that_is_missing():
    _, error = table("--paper", "--photo", PICTURES / "photo.jpg", "--painting", "none.jpg")
    assert isinstance(error, FileNotFoundError)
