"""A moving picture in one call of Python: what it gives, that it is what the command line does, and what it refuses."""

import numpy as np
import pytest
from PIL import Image

import nanostyle
from nanostyle.io.video.read import open_clip
from tests.support.clips import frames_of, packets_of, panned, stamps_of, write_video
from tests.support.command import called

STYLE = "scream_munch"


@pytest.fixture
def gif(tmp_path):
    frames = [Image.fromarray(frame) for frame in panned(4, 24, 40, 2)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=[40, 80, 120, 160], loop=3)
    return tmp_path / "a.gif"


def test_it_is_what_the_command_line_does(tmp_path):
    pytest.importorskip("av", reason="PyAV is not installed")
    source = write_video(tmp_path / "a.mp4", panned(6), sound="aac")
    seen = []
    report = nanostyle.stylize_video(
        source, str(tmp_path / "one.mp4"), STYLE, strength=0.7, start=0.04, frames=4, progress=seen.append
    )
    options = ["--style", STYLE, "--strength", "0.7", "--start", "0.04", "--frames", "4", "--quiet"]
    assert called("video", source, "-o", "other.mp4", *options, cwd=tmp_path).returncode == 0
    assert (report["frames"], report["cuts"], report["notes"]) == (4, 0, [])
    assert [step.done for step in seen] == [1, 2, 3, 4]
    one, other = tmp_path / "one.mp4", tmp_path / "other.mp4"
    assert stamps_of(one) == stamps_of(other) and packets_of(one) == packets_of(other)
    for a, b in zip(frames_of(one), frames_of(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_animations_need_no_extra_and_options_may_be_an_object(gif):
    options = nanostyle.VideoOptions(stability="off", size=32)
    report = nanostyle.stylize_video(gif, gif.with_name("b.webp"), [STYLE, "udnie_picabia"], options=options)
    clip = open_clip(gif.with_name("b.webp"))
    assert (report["frames"], clip.size, clip.loop) == (4, (19, 32), 3)
    assert [frame.duration for frame in clip.frames()] == [40, 80, 120, 160]


def test_masks_are_pictures_or_move(gif):
    half = np.zeros((24, 40), np.float32)
    half[:, :20] = 1
    moving = [Image.fromarray(np.full((24, 40), 255 * (i % 2), np.uint8)) for i in range(4)]
    moving[0].save(gif.with_name("m.gif"), save_all=True, append_images=moving[1:], duration=40)
    Image.fromarray((255 * half).astype(np.uint8)).save(gif.with_name("m.jpg"))
    for mask in (half, gif.with_name("m.jpg"), gif.with_name("m.gif")):
        target = gif.with_name("b.png")
        nanostyle.stylize_video(gif, target, STYLE, masks=[mask], stability="off", overwrite=True)
        before, after = (list(open_clip(path).frames()) for path in (gif, target))
        same = np.abs(before[0].pixels[:, 26:].astype(int) - after[0].pixels[:, 26:]).mean()
        assert same < 2, mask


def test_what_progress_raises_ends_it_and_it_goes_on(gif):
    def stop(step):
        if step.done == 2:
            raise RuntimeError("enough")

    target = gif.with_name("b.gif")
    with pytest.raises(RuntimeError, match="enough"):
        nanostyle.stylize_video(gif, target, STYLE, progress=stop)
    assert not target.exists()
    with pytest.raises(nanostyle.NanostyleError, match="not finished"):
        nanostyle.stylize_video(gif, target, STYLE)
    seen = []
    report = nanostyle.stylize_video(gif, target, STYLE, resume=True, progress=seen.append)
    assert report["frames"] == 4 and [step.done for step in seen] == [3, 4]
    assert not gif.with_name("b.gif.parts").exists()


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"stability": "calm"}, ValueError, "stability: expected off, lock, on or high, got 'calm'"),
        ({"quality": 101}, ValueError, "quality: expected 0 to 100, got 101"),
        ({"frames": 0}, ValueError, "frames: expected 1 or more, got 0"),
        ({"rate": float("nan")}, ValueError, "rate: expected"),
        ({"start": 3, "end": 2}, ValueError, "end: expected a time after the start"),
        ({"strenght": 1}, TypeError, "did you mean 'strength'"),
        ({"method": "gatys"}, nanostyle.NanostyleError, "gatys is not"),
        ({"masks": [np.ones((9, 9), np.float32)]}, nanostyle.NanostyleError, "proportions"),
    ],
)
def test_what_is_refused(gif, changes, error, words):
    with pytest.raises(error, match=words):
        nanostyle.stylize_video(gif, gif.with_name("b.gif"), changes.pop("style", STYLE), **changes)
    assert [path.name for path in gif.parent.iterdir() if path.name != "a.gif"] == []


def test_an_output_that_is_there_is_kept(gif):
    target = gif.with_name("b.gif")
    target.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="exists"):
        nanostyle.stylize_video(gif, target, STYLE)
    assert target.read_bytes() == b"mine"
    with pytest.raises(ValueError, match="is the source"):
        nanostyle.stylize_video(gif, gif, STYLE, overwrite=True)
