import itertools
import os
import queue
import threading
from contextlib import closing
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from nanostyle.errors import NanostyleError
from nanostyle.io.pictures import load_short, samples, style_files
from nanostyle.training.batches import Pictures, vary_colors
from tests.support import tiny


@pytest.fixture
def photos(tmp_path):
    return tiny.write_pictures(tmp_path / "photos", 7)


def first(pictures, count, start=0):
    with closing(pictures.batches(itertools.count(start))) as batches:
        return list(islice(batches, count))


def test_batches_are_float32_crops_in_0_1(photos):
    for batch in first(Pictures(photos, batch=3, size=32, seed=0), 4):
        assert batch.shape == (3, 32, 32, 3)
        assert batch.dtype == np.float32
        assert 0 <= batch.min() < batch.max() <= 1


def test_the_seed_and_the_step_alone_say_what_comes(photos):
    whole = first(Pictures(photos, batch=3, size=32, seed=5), 9)
    for start in (1, 4, 7):
        for a, b in zip(
            whole[start:], first(Pictures(photos, batch=3, size=32, seed=5), 9 - start, start), strict=True
        ):
            np.testing.assert_array_equal(a, b)
    slow = first(Pictures(photos, batch=3, size=32, seed=5, workers=1), 9)
    np.testing.assert_array_equal(whole, slow)
    other = first(Pictures(photos, batch=3, size=32, seed=6), 9)
    assert any((a != b).any() for a, b in zip(whole, other, strict=True))


def test_an_epoch_shows_each_picture_once(tmp_path):
    paths = []
    for i in range(6):
        paths.append(tmp_path / f"{i}.png")
        Image.new("RGB", (16, 16), (40 * i, 0, 0)).save(paths[-1])
    crops = np.concatenate(first(Pictures(paths, batch=2, size=16, seed=1), 6))
    seen = (crops[:, 0, 0, 0] * 255 / 40).round().astype(int).tolist()
    assert sorted(seen[:6]) == sorted(seen[6:]) == [0, 1, 2, 3, 4, 5]
    assert seen[:6] != seen[6:]


def test_crops_are_mirrored_and_moved(tmp_path):
    ramp = np.zeros((16, 48, 3), np.uint8)
    ramp[:, :, 0] = np.arange(48) * 5
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    crops = np.concatenate(first(Pictures([tmp_path / "ramp.png"], batch=8, size=16, seed=0), 4))
    slope = crops[:, 8, -1, 0] - crops[:, 8, 0, 0]
    assert (slope > 0).any() and (slope < 0).any()
    assert len(np.unique(crops[:, 8, 8, 0].round(3))) > 5


def test_upright_photos_are_cropped_too(tmp_path):
    paths = tiny.write_pictures(tmp_path, 2, size=(61, 33))
    assert first(Pictures(paths, batch=2, size=32, seed=0), 1)[0].shape == (2, 32, 32, 3)


@pytest.mark.parametrize("size", [(32, 32), (32, 33), (33, 100), (100, 47), (200, 39)])
def test_no_rounding_makes_a_picture_smaller_than_the_crop(tmp_path, size):
    paths = tiny.write_pictures(tmp_path, 1, size=size)
    pictures = Pictures(paths, batch=8, size=32, seed=0)
    first(pictures, 8)
    assert not pictures.skipped


def spoil(photos):
    """Four ways in which a picture is no picture."""
    photos[0].write_bytes(photos[0].read_bytes()[:200])
    photos[1].write_text("a text file by the name of a picture")
    photos[2].write_bytes(b"")
    Image.new("RGB", (500, 8)).save(photos[3])


def test_bad_pictures_are_skipped_and_named_with_the_reason(photos):
    spoil(photos)
    pictures = Pictures(photos, batch=3, size=32, seed=0)
    batches = first(pictures, 6)
    assert len(batches) == 6
    assert set(pictures.skipped) == set(photos[:4])
    assert "too small: 8 pixels, a crop needs 32" in pictures.skipped[photos[3]]
    for path in photos[:3]:
        assert path.name in pictures.skipped[path]


def test_what_is_known_to_be_bad_makes_no_difference_to_what_comes(photos):
    spoil(photos)
    pictures = Pictures(photos, batch=3, size=32, seed=0)
    whole = first(pictures, 6)
    again = first(pictures, 6)
    fresh = first(Pictures(photos, batch=3, size=32, seed=0), 3, start=3)
    np.testing.assert_array_equal(whole, again)
    np.testing.assert_array_equal(whole[3:], fresh)


def test_a_picture_that_vanishes_is_skipped(photos):
    photos[0].unlink()
    pictures = Pictures(photos, batch=7, size=32, seed=0)
    first(pictures, 2)
    assert list(pictures.skipped) == [photos[0]]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_picture_that_may_not_be_read_is_skipped(photos):
    photos[0].chmod(0)
    pictures = Pictures(photos, batch=7, size=32, seed=0)
    first(pictures, 2)
    assert list(pictures.skipped) == [photos[0]]


def test_no_usable_picture_at_all_is_an_error(photos):
    with pytest.raises(
        NanostyleError, match=r"none of the 7 pictures can be used for training; the first: .*too small"
    ):
        first(Pictures(photos, batch=2, size=500, seed=0), 1)


def test_the_threads_end_with_the_iterator(photos):
    before = set(threading.enumerate())  # iterators of other tests may wait for the garbage collector

    def decoding():
        return [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("decode")]

    batches = Pictures(photos, batch=2, size=32, seed=0).batches(itertools.count())
    next(batches)
    assert decoding()
    batches.close()
    assert not decoding()


def test_a_thread_that_decodes_may_close_the_iterator(photos, monkeypatch):
    """As the garbage collector does where it happens to run in such a thread."""
    pictures, given, ends = Pictures(photos, batch=1, size=32, seed=0), threading.Event(), queue.Queue()
    crop = pictures.crop

    def closing_crop(step, i):
        if step == 1:
            given.wait(60)
            try:
                ends.put(batches.close())
            except RuntimeError as error:
                ends.put(error)
        return crop(step, i)

    monkeypatch.setattr(pictures, "crop", closing_crop)
    batches = pictures.batches(itertools.count())
    next(batches)
    given.set()
    assert ends.get(timeout=60) is None


# --- colors ------------------------------------------------------------------------------------------------


def test_varied_colors_keep_gray_gray_and_stay_in_range():
    gray = np.full((4, 4, 3), 0.5, np.float32)
    colors = np.random.default_rng(0).random((4, 4, 3)).astype(np.float32)
    results = []
    for seed in range(20):
        varied = vary_colors(gray, np.random.default_rng(seed))
        assert np.ptp(varied, axis=2).max() < 1e-5
        assert abs(varied[0, 0, 0] - 0.5) <= 0.1 + 1e-6
        results.append(vary_colors(colors, np.random.default_rng(seed)))
        assert results[-1].dtype == np.float32
        assert 0 <= results[-1].min() <= results[-1].max() <= 1
    assert np.std(results, axis=0).min() > 0.001


def test_hue_turns_red_towards_its_neighbors_only():
    red = np.array([[[0.6, 0.2, 0.2]]], np.float32)
    for seed in range(30):
        assert vary_colors(red, np.random.default_rng(seed))[0, 0].argmax() == 0


def test_colors_vary_only_where_asked_for(photos):
    plain = first(Pictures(photos, batch=3, size=32, seed=0), 1)[0]
    varied = first(Pictures(photos, batch=3, size=32, seed=0, colors=True), 1)[0]
    assert np.abs(plain - varied).max() > 0.05


# --- styles -------------------------------------------------------------------------------------------------


def test_styles_are_named_after_their_files(tmp_path):
    a = tiny.write_pictures(tmp_path / "a", 2)
    b = tiny.write_pictures(tmp_path / "b", 1)
    found = style_files([a[1], tmp_path / "a", b[0]], taken=["photo"])
    assert found == {"01": a[1], "00": a[0], "01-2": a[1], "00-2": b[0]}


def test_a_taken_name_is_not_given_again(tmp_path):
    path = tiny.write_pictures(tmp_path, 1)[0].rename(tmp_path / "photo.png")
    assert list(style_files([path], taken=["photo"])) == ["photo-2"]


def test_a_style_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no style picture or folder .*nowhere"):
        style_files([tmp_path / "nowhere"])


def test_load_short(tmp_path):
    path = tiny.write_pictures(tmp_path, 1, size=(40, 60))[0]
    assert load_short(path, 20).shape == (20, 30, 3)


def test_samples_pass_over_what_cannot_be_read(photos):
    spoil(photos)
    assert [p.shape for p in samples(photos, 2, 20)] == [(20, 1250, 3), (20, 24, 3)]
    with pytest.raises(NanostyleError, match=r"none of the photos can be used for a preview: .*01.png"):
        samples(photos[:2], 2, 20)
