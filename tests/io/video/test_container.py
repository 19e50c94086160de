"""Videos are read upright, with square pixels and with their own times; hostile and damaged ones are refused."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from nanostyle.io.video.read import open_clip
from tests.support.clips import VARYING, frames_of, panned, write_video

pytest.importorskip("av", reason="PyAV is not installed")


def test_times_are_those_of_the_file(tmp_path):
    path = write_video(tmp_path / "a.mp4", panned(12), stamps=VARYING, options={"bf": "3", "crf": "1"})
    clip = open_clip(path)
    frames = list(clip.frames())
    assert [frame.stamp * clip.tick for frame in frames] == [Fraction(ms, 1000) for ms in VARYING]
    assert [frame.duration * clip.tick for frame in frames[:-1]] == [
        Fraction(b - a, 1000) for a, b in pairwise(VARYING)
    ]
    assert clip.count == 12 and clip.skipped == 0
    for frame, wanted in zip(frames, panned(12), strict=True):
        assert np.abs(frame.pixels.astype(int) - wanted).mean() < 4


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_frames_are_upright(tmp_path, rotation):
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:24, :32] = 255  # stored at the upper left
    path = write_video(tmp_path / "a.mp4", [frame] * 2, rotation=rotation)
    (first, *_) = open_clip(path).frames()
    # The rotation says by how much the picture has to be turned counterclockwise.
    wanted = np.rot90(frame, rotation // 90)
    assert np.abs(first.pixels.astype(int) - wanted).mean() < 6


@pytest.mark.parametrize("aspect, wanted", [(Fraction(4, 3), (48, 85)), (Fraction(1, 2), (96, 64)), (None, (48, 64))])
def test_pixels_become_square(tmp_path, aspect, wanted):
    path = write_video(tmp_path / "a.mkv", panned(2), aspect=aspect)
    clip = open_clip(path)
    assert clip.original == clip.size == next(clip.frames()).pixels.shape[:2] == wanted


def test_size_and_odd_sides(tmp_path):
    path = write_video(tmp_path / "a.mp4", panned(2, 47, 63))
    assert open_clip(path).size == (47, 63)
    assert open_clip(path, size=32).size == (24, 32)
    assert next(open_clip(path, size=32).frames()).pixels.shape == (24, 32, 3)


def test_colors_of_a_file_that_tells_none(tmp_path):
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:] = (200, 30, 60)
    path = write_video(tmp_path / "a.mp4", [frame] * 2)
    assert np.abs(next(open_clip(path).frames()).pixels.astype(int) - frame).max() <= 3
    np.testing.assert_allclose(frames_of(path)[0].mean((0, 1)), frame[0, 0], atol=4)


def test_a_playlist_opens_no_other_file(tmp_path):
    write_video(tmp_path / "secret.mp4", panned(2))
    for text in ("ffconcat version 1.0\nfile secret.mp4\n", "#EXTM3U\n#EXTINF:1,\nsecret.mp4\n", "hello"):
        (tmp_path / "x.mp4").write_text(text)
        with pytest.raises(ValueError, match="not a video"):
            open_clip(tmp_path / "x.mp4")


def test_what_is_no_video_is_refused(tmp_path):
    write_video(tmp_path / "sound.m4a", panned(2), sound="aac")
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(ValueError, match="empty"):
        open_clip(tmp_path / "empty.mp4")
    with pytest.raises(ValueError, match="is an address"):
        open_clip("https://example.com/a.mp4")
    with pytest.raises(FileNotFoundError, match="no file"):
        open_clip(tmp_path / "none.mp4")
    whole = write_video(tmp_path / "whole.mp4", panned(6)).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cut short"):
        open_clip(tmp_path / "cut.mp4")
    with pytest.raises(ValueError, match="too large"):
        open_clip(tmp_path / "whole.mp4", max_pixels=1000)


def test_sound_without_pictures(tmp_path):
    import av

    with av.open(str(tmp_path / "a.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    (tmp_path / "b.mp4").write_bytes((tmp_path / "a.wav").read_bytes())
    with pytest.raises(ValueError, match="not a video"):
        open_clip(tmp_path / "b.mp4")


def test_what_can_be_read_of_a_cut_file_is_read(tmp_path):
    frames = [np.random.default_rng(i).integers(0, 255, (96, 128, 3), np.uint8) for i in range(30)]
    whole = write_video(tmp_path / "a.mkv", frames, options={"g": "5"}).read_bytes()
    (tmp_path / "a.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    clip = open_clip(tmp_path / "a.mkv")
    read = list(clip.frames())
    assert 10 < len(read) < 30


def test_a_search_finds_what_reading_from_the_beginning_finds(tmp_path):
    frames = [np.full((48, 64, 3), 10 * i, np.uint8) for i in range(24)]
    path = write_video(tmp_path / "a.mp4", frames, options={"g": "6", "bf": "2", "crf": "4"})
    clip = open_clip(path)
    whole = list(clip.frames())
    for i in (0, 1, 7, 12, 23):
        found = list(clip.frames(whole[i].stamp))
        assert found[0].stamp <= whole[i].stamp and len(found) >= 24 - i
        assert len(found) < 24 or i < 7
        for one, other in zip(found, whole[24 - len(found) :], strict=True):
            assert one.stamp == other.stamp
            np.testing.assert_array_equal(one.pixels, other.pixels)
