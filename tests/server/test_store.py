"""What the server keeps: limited, by identifiers that nobody guesses, and never more than it said."""

import contextlib
import io
import threading

import numpy as np
import pytest
from PIL import Image

from nanostyle.io.image_read import Picture
from nanostyle.server import store
from nanostyle.server.store import NotFound, Result, Store, clean_name


def png(seed=0, size=(8, 6), mode="RGB"):
    data = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], len(mode)), np.uint8)
    Image.fromarray(pixels, mode if mode != "RGB" else None).save(data, "PNG")
    return data.getvalue()


def decode(data, name, size=None):
    return Picture(np.zeros((4, 4, 3), np.float32), None, original=(4, 4))


@pytest.fixture
def kept():
    return Store(100_000, 10_000, decode)


def test_an_upload_is_looked_at_and_not_decoded():
    def never(data, name):
        raise AssertionError

    upload = Store(100_000, 10_000, never).add(png(mode="RGBA"), "cat.png")
    assert (upload.name, upload.width, upload.height, upload.recipe) == ("cat.png", 8, 6, None)
    assert len(upload.id) >= 22


def test_a_photo_on_its_side_is_told_upright(kept):
    data, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 6)).save(data, "JPEG", exif=exif)
    upload = kept.add(data.getvalue(), "phone.jpg")
    assert (upload.width, upload.height) == (6, 8)


def test_the_same_bytes_under_the_same_name_are_the_same_picture(kept):
    first, again, other = kept.add(png(), "a.png"), kept.add(png(), "x/a.png"), kept.add(png(1), "a.png")
    assert first.id == again.id != other.id
    kept.remove(first.id)
    assert kept.add(png(), "a.png").id != first.id


def test_under_another_name_the_same_bytes_are_another_picture(kept):
    first, second = kept.add(png(), "a.png"), kept.add(png(), "b.png")
    assert first.id != second.id
    assert (first.name, second.name) == ("a.png", "b.png")


@pytest.mark.parametrize("data", [b"", b"no picture", b"<svg xmlns='http://www.w3.org/2000/svg'/>", png()[:40]])
def test_what_is_no_picture_is_refused(kept, data):
    with pytest.raises(ValueError):
        kept.add(data, "x.png")
    assert kept.taken() == 0


def test_too_many_pixels_are_refused_before_they_are_decoded(kept):
    with pytest.raises(ValueError, match="too large"):
        kept.add(png(size=(101, 100)), "x.png")


def test_memory_is_kept_within_its_limit(kept):
    ids = [kept.add(png(i, (100, 90)), f"{i}.png").id for i in range(6)]  # 27 KB each
    assert kept.taken() <= 100_000
    assert [id for id in ids if id in kept._uploads] == ids[-3:]
    with pytest.raises(NotFound):
        kept.upload(ids[0])


def test_what_was_used_last_stays(kept):
    ids = [kept.add(png(i, (100, 90)), f"{i}.png").id for i in range(3)]
    kept.upload(ids[0])
    kept.add(png(9, (100, 90)), "9.png")
    assert kept.upload(ids[0]) and ids[1] not in kept._uploads


def test_results_go_before_pictures(kept):
    id = kept.add(png(0, (100, 90)), "a.png").id
    for i in range(5):
        kept.keep(f"job{i}", Result(bytes(40_000), "image/png", "r.png"))
    assert kept.taken() <= 100_000 and kept.upload(id)
    assert kept.result("job4")
    with pytest.raises(NotFound):
        kept.result("job0")


def test_a_picture_larger_than_all_the_memory(kept):
    with pytest.raises(ValueError, match="more than this server keeps in all"):
        kept.add(png() + bytes(100_000), "x.png")


def test_pictures_go_after_an_hour_without_use(kept, monkeypatch):
    old = kept.add(png(), "old.png").id
    monkeypatch.setattr(store, "IDLE", -1.0)
    kept.add(png(1), "new.png")
    with pytest.raises(NotFound):
        kept.upload(old)


def test_there_are_never_more_than_500(monkeypatch):
    monkeypatch.setattr(store, "MOST_PICTURES", 5)
    kept = Store(1 << 20, 10_000, decode)
    for i in range(9):
        kept.add(png(i), f"{i}.png")
    assert len(kept._uploads) == len(kept._known) == 5


def test_decoded_pictures_lie_in_a_cache_with_a_limit(kept, monkeypatch):
    calls = []
    monkeypatch.setattr(kept, "_decode", lambda data, name, size: calls.append(name) or decode(data, name, size))
    monkeypatch.setattr(store, "DECODED_BYTES", 2 * 4 * 4 * 3 * 4)
    ids = [kept.add(png(i), f"{i}.png").id for i in range(3)]
    for id in (ids[0], ids[0], ids[1], ids[2], ids[0]):
        kept.picture(id)
    assert calls == ["0.png", "1.png", "2.png", "0.png"]
    assert len(kept._decoded) == 2


def test_a_link_gives_its_result_once(kept, monkeypatch):
    kept.keep("job", Result(b"x", "image/png", "r.png"))
    word = kept.link("job")
    assert kept.linked(word).data == b"x"
    for gone in (word, "guess", ""):
        with pytest.raises(NotFound):
            kept.linked(gone)
    monkeypatch.setattr(store, "LINK_SECONDS", -1.0)
    with pytest.raises(NotFound):
        kept.linked(kept.link("job"))
    with pytest.raises(NotFound):
        kept.link("no job")


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\cat.jpg", "cat.jpg"),
        ("a\r\nSet-Cookie: x.png", "aSet-Cookie: x.png"),
        ("x" * 4000, "x" * 100),
        ("..", "picture"),
        ("", "picture"),
        ("\x00\u202e", "picture"),
        ("<img onerror=1>.png", "<img onerror=1>.png"),
    ],
)
def test_names(name, clean):
    assert clean_name(name) == clean


def test_many_threads_at_once():
    kept, failures = Store(60_000, 10_000, decode), []

    def work(seed):
        try:
            for i in range(40):
                id = kept.add(png(seed * 100 + i % 7, (60, 50)), "x.png").id
                kept.keep(f"{seed}-{i}", Result(bytes(3000), "image/png", "r"))
                with contextlib.suppress(NotFound):
                    kept.picture(id)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and kept.taken() <= 60_000
