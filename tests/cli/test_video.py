"""`nanostyle video` as a user meets it."""

import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from nanostyle.cli import command
from nanostyle.io.recipe import read_recipe
from nanostyle.methods.stylizer import Stylizer
from tests.support.clips import VARYING, frames_of, packets_of, panned, stamps_of, write_video
from tests.support.command import environment, failed, listing, run

pytest.importorskip("av", reason="PyAV is not installed")

STYLE = ["--style", "scream_munch"]


def video(folder, *args, status=0):
    """The command in this process; what it printed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = CliRunner().invoke(command, ["video", *map(str, args)])
    assert result.exit_code == status, (result.output, result.exception)
    return result.output


def test_times_sound_and_tags_are_kept(tmp_path):
    tags = {"title": "A cat", "location": "+52.0+013.0/"}
    write_video(tmp_path / "a.mp4", panned(12), stamps=VARYING, sound="aac", tags=tags, options={"bf": "2"})
    video(tmp_path, "a.mp4", *STYLE, "-o", "out.mp4", "--json", "report.json")
    assert stamps_of(tmp_path / "out.mp4") == stamps_of(tmp_path / "a.mp4")
    assert packets_of(tmp_path / "out.mp4") == packets_of(tmp_path / "a.mp4")
    import av

    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.metadata["title"] == "A cat" and "location" not in container.metadata
        assert json.loads(container.metadata["comment"].removeprefix("nanostyle "))["stability"] == "on"
        assert container.streams.audio[0].language == "deu"
        picture = next(container.decode(video=0))
        assert (picture.format.name, int(picture.colorspace), int(picture.color_trc)) == ("yuv420p", 1, 1)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["frames"] == 12 and report["skipped"] == 0 and report["cuts"] == 0
    assert listing(tmp_path) == ["a.mp4", "out.mp4", "report.json"]


def test_off_is_stylize_of_each_frame(tmp_path):
    for i, frame in enumerate(panned(3)):
        Image.fromarray(frame).save(tmp_path / f"f{i:03d}.png")
    video(tmp_path, "f%03d.png", *STYLE, "-o", "g%d.png", "--stability", "off")
    stylizer = Stylizer("scream_munch")
    for i in range(3):
        wanted = np.asarray(stylizer.stylize(tmp_path / f"f{i:03d}.png").image)
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / f"g{i + 1}.png")), wanted)


@pytest.mark.parametrize(
    "suffix, codec", [(".mp4", "hevc"), (".mkv", "ffv1"), (".webm", None), (".mov", None), (".mp4", "av1")]
)
def test_codecs_and_odd_sides(tmp_path, suffix, codec):
    write_video(tmp_path / "a.mkv", panned(4, 47, 63))
    video(tmp_path, "a.mkv", *STYLE, "-o", f"out{suffix}", *(["--codec", codec] if codec else []))
    assert stamps_of(tmp_path / f"out{suffix}") == stamps_of(tmp_path / "a.mkv")
    frames = frames_of(tmp_path / f"out{suffix}")
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 4
    (tmp_path / "plain").mkdir()
    video(tmp_path, "a.mkv", *STYLE, "-o", "plain", "--overwrite")
    wanted = np.asarray(Image.open(tmp_path / "plain" / "000001.png")).astype(int)
    # The colors are those that were painted: a wrong matrix would be 10 off and more.
    assert np.abs(frames[0][:47, :63].mean((0, 1)) - wanted.mean((0, 1))).max() < 4


def test_sound_that_the_container_does_not_take(tmp_path):
    write_video(tmp_path / "a.mkv", panned(4), sound="pcm_s16le")
    said = video(tmp_path, "a.mkv", *STYLE, "-o", "out.mp4")
    assert "sound is written anew as aac" in said
    assert len(packets_of(tmp_path / "out.mp4")) > 3
    video(tmp_path, "a.mkv", *STYLE, "-o", "silent.mp4", "--audio", "none")
    with pytest.raises(StopIteration):
        packets_of(tmp_path / "silent.mp4")


@pytest.mark.parametrize("source", ["a.gif", "a.webp", "a.png"])
@pytest.mark.parametrize("target", ["b.gif", "b.webp", "b.png"])
def test_animations_keep_durations_loop_and_alpha(tmp_path, source, target):
    durations, frames = [40, 80, 120], []
    for i, pixels in enumerate(panned(3, 32, 40, 3)):
        image = Image.fromarray(pixels)
        alpha = Image.new("L", image.size, 255)
        alpha.paste(0, (4 * i, 4, 4 * i + 12, 16))
        image.putalpha(alpha)
        frames.append(image)
    frames[0].save(tmp_path / source, save_all=True, append_images=frames[1:], duration=durations, loop=3, disposal=2)
    video(tmp_path, source, *STYLE, "-o", target)
    with Image.open(tmp_path / target) as image:
        assert (image.n_frames, image.info["loop"]) == (3, 3)
        found = []
        for i in range(3):
            image.seek(i)
            alpha = np.asarray(image.convert("RGBA"))[..., 3]
            found.append(image.info["duration"])
            assert alpha[10, 4 * i + 6] == 0 and alpha[25, 30] == 255
    assert found == durations
    assert read_recipe(tmp_path / target)["styles"] == ["scream_munch"]


def test_a_part_and_fewer_frames(tmp_path):
    write_video(tmp_path / "a.mp4", panned(20), sound="aac")
    video(tmp_path, "a.mp4", *STYLE, "-o", "out.mp4", "--start", "0:00:00.2", "--end", "0.6", "--rate", "12.5")
    assert [float(stamp) for stamp in stamps_of(tmp_path / "out.mp4")] == [0, 0.08, 0.16, 0.24, 0.32]
    sound = packets_of(tmp_path / "out.mp4")
    assert 0 <= sound[0][0] < 0.03 and sound[-1][0] < 0.4
    video(tmp_path, "a.mp4", *STYLE, "-o", "few.mp4", "--frames", "3", "--size", "32", "--output-size", "source")
    assert [frame.shape for frame in frames_of(tmp_path / "few.mp4")] == [(48, 64, 3)] * 3


@pytest.mark.parametrize(
    ("options", "painted"),
    [
        ([], 3),
        (["--stability", "high"], 9),
        (["--stability", "off"], 9),
        (["--mask", "m%d.png"], 9),
        (["--mask", "m1.png"], 3),
    ],
    ids=["by default", "high", "off", "a mask for each frame", "one mask"],
)
def test_frames_that_show_nothing_new_are_not_painted(tmp_path, options, painted):
    write_video(tmp_path / "a.mp4", panned(9, 96, 256))
    for i in range(9):
        mask = np.where(np.arange(256) < 8 * i + 8, 255, 0).astype(np.uint8)
        Image.fromarray(np.tile(mask, (96, 1))).save(tmp_path / f"m{i}.png")
    video(tmp_path, "a.mp4", *STYLE, *options, "-o", "out.mp4", "--json", "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["frames"], report["painted"]) == (9, painted)
    assert stamps_of(tmp_path / "out.mp4") == stamps_of(tmp_path / "a.mp4")


def test_each_letter_that_is_typed_is_seen(tmp_path):
    page = np.full((96, 128, 3), 230, np.uint8)
    frames = []
    for k in range(6):
        page[40:52, 12 + 14 * k : 20 + 14 * k] = 30
        frames.append(Image.fromarray(page.copy()))
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=40)
    video(tmp_path, "a.gif", *STYLE, "-o", "out.png", "--json", "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["painted"] == 6


def test_masks_may_move(tmp_path):
    write_video(tmp_path / "a.mp4", panned(4))
    for i in range(4):
        mask = np.zeros((48, 64), np.uint8)
        mask[:, 16 * i : 16 * i + 16] = 255
        Image.fromarray(mask).save(tmp_path / f"m{i}.png")
    video(tmp_path, "a.mp4", *STYLE, "--mask", "m%d.png", "-o", "o%d.png", "--stability", "off", "--strokes", "64")
    video(tmp_path, "a.mp4", "--style", "photo", "--strength", "0", "-o", "p%d.png", "--stability", "off")
    for i in range(4):
        made, plain = (np.asarray(Image.open(tmp_path / f"{kind}{i + 1}.png")).astype(int) for kind in "op")
        changed = np.abs(made - plain).mean((0, 2)) > 3
        assert changed[16 * i + 2 : 16 * i + 14].all() and not np.delete(changed, np.s_[16 * i : 16 * i + 16]).any()


def test_masks_that_do_not_fit(tmp_path):
    write_video(tmp_path / "a.mp4", panned(4))
    write_video(tmp_path / "short.mp4", panned(2))
    write_video(tmp_path / "wide.mp4", panned(4, 48, 128))
    for mask, words in (("short.mp4", "ends before"), ("wide.mp4", "proportions")):
        failed(run("video", "a.mp4", *STYLE, "--mask", mask, "-o", f"{mask}.out.mp4", cwd=tmp_path), words)


@pytest.mark.parametrize(
    "args, words",
    [
        (["none.mp4", "-o", "o.mp4"], ["there is no file none.mp4"]),
        (["https://example.com/a.mp4", "-o", "o.mp4"], ["is an address"]),
        (["text.mp4", "-o", "o.mp4"], ["text.mp4 is not a video"]),
        (["list.mp4", "-o", "o.mp4"], ["list.mp4 is not a video"]),
        (["empty.mp4", "-o", "o.mp4"], ["empty.mp4 is empty"]),
        (["nothing", "-o", "o.mp4"], ["no pictures in nothing"]),
        (["f%d.png", "-o", "o.gif"], ["f3.png is missing"]),
        (["mixed", "-o", "o.gif"], ["2.png is 20 x 30", "16 x 24"]),
        (["a.mp4", "-o", "a.mp4"], ["is the source"]),
        (["a.mp4", "-o", "there.mp4"], ["there.mp4 exists already", "--overwrite"]),
        (["a.mp4", "-o", "no/o.mp4"], ["there is no folder no"]),
        (["a.mp4", "-o", "o.avi"], [".avi", "expected one of .mp4"]),
        (["a.mp4", "-o", "o.webm", "--codec", "h264"], ["codec: .webm takes vp9", "got h264"]),
        (["a.mp4", "-o", "o.mp4", "--start", "100"], ["no frame from 100 s"]),
        (["a.mp4", "-o", "o.mp4", "--start", "2", "--end", "1"], ["expected a time after the start"]),
        (["a.mp4", "-o", "o.mp4", "--end", "1:x"], ["expected seconds or h:mm:ss"]),
        (["a.mp4", "-o", "o.mp4", "--method", "gatys"], ["method gatys is not for video"]),
    ],
)
def test_bad_input_is_one_line(tmp_path, args, words):
    write_video(tmp_path / "a.mp4", panned(3))
    (tmp_path / "there.mp4").write_text("mine")
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile a.mp4\n")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "nothing").mkdir()
    (tmp_path / "mixed").mkdir()
    for i, size in enumerate(((16, 24), (20, 30)), 1):
        Image.new("RGB", size).save(tmp_path / "mixed" / f"{i}.png")
    for i in (1, 2, 4):
        Image.new("RGB", (16, 24)).save(tmp_path / f"f{i}.png")
    before = listing(tmp_path)
    failed(run("video", *args, *STYLE, cwd=tmp_path), *words)
    left = [name for name in listing(tmp_path) if name not in (*before, "cache") and not name.endswith(".parts")]
    assert left == [] and (tmp_path / "there.mp4").read_text() == "mine"


def test_without_pyav_animations_work(tmp_path):
    frames = [Image.fromarray(frame) for frame in panned(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=50)
    write_video(tmp_path / "a.mp4", panned(2))
    program = "import sys; sys.modules['av'] = None; from nanostyle.__main__ import main; main()"
    for source, target in (("a.gif", "o.webp"), ("a.mp4", "o.gif"), ("a.gif", "o.mp4"), ("none.mp4", "o.mp4")):
        words = [sys.executable, "-c", program, "video", source, *STYLE, "-o", target]
        result = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120)
        if ".mp4" in source + target:
            failed(result, 'video: needs PyAV; pip install "nanostyle[video]"')
        else:
            assert result.returncode == 0, result.stderr
