"""The measure of flicker sees what flickers, and `--stability on` is calm by it."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from nanostyle.cli import command
from nanostyle.methods.flicker import made_clips, measured, painted, smoothed
from nanostyle.methods.stylizer import Stylizer
from tests.support.clips import PHOTO


@pytest.fixture(scope="module")
def clips():
    photo = np.asarray(Image.open(PHOTO).convert("RGB"), np.float32) / 255
    return made_clips(photo, photo[::-1, ::-1])


def paint_itself(pixels, shift):
    return pixels


@pytest.mark.parametrize("name", ["pan 1", "pan 3", "diagonal", "zoom", "roll", "object"])
def test_what_moves_with_the_picture_does_not_flicker(clips, name):
    clip = clips[name]
    row = measured(name, clip, clip.frames, clip.frames)
    # Resampling alone leaves a little.
    assert row.flicker < 2 and row.sharpness == 1 and row.ghost == 0
    rng = np.random.default_rng(0)
    noisy = [np.clip(frame + rng.normal(0, 10, frame.shape), 0, 255).astype(np.uint8) for frame in clip.frames]
    assert measured(name, clip, noisy, clip.frames).flicker > 9


def test_smoothing_leaves_ghosts(clips):
    row = measured("cut", clips["cut"], smoothed(clips["cut"].frames), clips["cut"].frames)
    assert row.ghost > 10
    row = measured("object", clips["object"], smoothed(clips["object"].frames), clips["object"].frames)
    assert row.ghost > 10


@pytest.mark.parametrize("name, least", [("pan 1", 15), ("noise", 2.5)])
def test_stability_on_is_calm(clips, name, least):
    pytest.importorskip("av", reason="PyAV is not installed")
    stylizer, clip = Stylizer("scream_munch"), clips[name]
    clip.frames, clip.maps = clip.frames[:5], clip.maps[:5]

    def paint(pixels, shift):
        return stylizer.render(pixels, shift=shift)

    alone = painted(clip, paint, "off")
    off, on = (measured(name, clip, made, alone) for made in (alone, painted(clip, paint, "on")))
    assert off.flicker > least * on.flicker, (off, on)
    assert on.sharpness > 0.8


def test_the_command_prints_a_table(tmp_path, monkeypatch, clips):
    monkeypatch.setattr("nanostyle.cli.flicker._WAYS", ("on",))
    few = {name: clip for name, clip in clips.items() if name in ("noise", "cut")}
    monkeypatch.setattr("nanostyle.cli.flicker.made_clips", lambda photo, other: few)
    monkeypatch.setattr("nanostyle.methods.stylizer.Stylizer.render", lambda self, pixels, **_: pixels)
    for name in ("a", "b"):
        Image.open(PHOTO).save(tmp_path / f"{name}.png")
    words = ["bench", "flicker", "--photos", tmp_path, "--style", "scream_munch", "--json", tmp_path / "rows.json"]
    result = CliRunner().invoke(command, list(map(str, words)))
    assert result.exit_code == 0, result.output
    assert "noise" in result.output and "calmer" in result.output
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert {row["way"] for row in rows} == {"off", "smooth", "on"} and len(rows) == 6


@pytest.mark.parametrize("name, most", [("object", 3.5), ("cut", 0.0), ("light", 5.5)])
def test_stability_on_leaves_nothing_behind(clips, name, most):
    pytest.importorskip("av", reason="PyAV is not installed")
    clip = clips[name]
    assert measured(name, clip, painted(clip, paint_itself, "on"), clip.frames).ghost <= most
