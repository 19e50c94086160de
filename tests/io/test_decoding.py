"""Reading bad files: each gives a picture or one clear line."""

import errno
import io
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nanostyle.io.decoding import decoding
from nanostyle.io.image_read import decode_image, load_image, read_file
from tests.support.picture_files import swapped_profile


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no picture .*nothing\.jpg; check the name"):
        load_image(tmp_path / "nothing.jpg")
    with pytest.raises(IsADirectoryError, match="is a folder; give the name of a picture"):
        load_image(tmp_path)


def test_unreadable_file(tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OSError, match=r"cannot read .*private\.png: Permission denied; check the file's permissions"):
        load_image(tmp_path / "private.png")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"just some text, as an error page has", "not a picture, or not in a format that can be read"),
        (b"\xff\xd8\xff", "not a picture|damaged"),
        (b"\x89PNG\r\n\x1a\n", "not a picture|damaged"),
        (b"GIF89a", "not a picture|damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture that can be read: it is PostScript"),
        (bytes(100), "not a picture"),
    ],
)
def test_no_picture_inside(tmp_path, content, message):
    path = tmp_path / "picture.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"picture\.jpg.*({message})") as caught:
        load_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "bmp", "ppm"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated(tmp_path, capfd, suffix, share):
    path = tmp_path / f"cut.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, **({"compression": "tiff_lzw"} if suffix == "tif" else {}))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"cut\..*(damaged or cut short|not a picture)") as caught:
        load_image(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@settings(max_examples=500)
@given(data=st.data())
def test_damaged_bytes_give_a_picture_or_a_clear_error(data):
    suffix = data.draw(st.sampled_from(sorted(DAMAGED)))
    content = bytearray(DAMAGED[suffix])
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        pixels = read_file(io.BytesIO(content), "photo.jpg", max_pixels=10_000).pixels
    except ValueError as error:
        assert "photo.jpg" in str(error)
        assert "\n" not in str(error)
    else:
        assert pixels.shape[2] == 3
        assert pixels.min() >= 0
        assert pixels.max() <= 1


def _small_files():
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.linear_gradient("L").resize((16, 12)).convert("RGB")
    made = {}
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM"):
        data = io.BytesIO()
        picture.save(data, kind, exif=exif, icc_profile=swapped_profile() if kind != "GIF" else None)
        made[kind] = data.getvalue()
    return made


DAMAGED = _small_files()


def png_header(width, height):
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    idat = b"IDAT" + zlib.compress(b"")
    parts = [struct.pack(">I", len(p) - 4) + p + struct.pack(">I", zlib.crc32(p)) for p in (head, idat)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_huge_pictures_are_refused_before_decoding(tmp_path):
    """The files end after their headers: decoding them would say "cut short"."""
    path = tmp_path / "huge.png"
    path.write_bytes(png_header(16000, 10000))
    with pytest.raises(
        ValueError, match=r"huge\.png is too large: 16000 x 10000 pixels, the limit is 150000000"
    ) as caught:
        load_image(path, size=100)
    assert "{size} comes too late" in caught.value.hint
    path.write_bytes(png_header(100_000, 100_000))
    with pytest.raises(ValueError, match=r"huge\.png is too large: .*10000000000.*limit") as caught:
        load_image(path)
    assert "{size} comes too late" in caught.value.hint
    path.write_bytes(png_header(30, 20))
    with pytest.raises(ValueError, match=r"30 x 20 pixels, the limit is 500"):
        load_image(path, max_pixels=500)


def test_a_large_picture_within_the_limit_gives_no_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)
    Image.new("RGB", (10, 10)).save(tmp_path / "largish.png")
    assert load_image(tmp_path / "largish.png").original == (10, 10)


def test_sizes_out_of_bounds(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"long side in pixels, 1 or more; got 0"):
        load_image(tmp_path / "a.png", size=0)
    with pytest.raises(ValueError, match=r"a\.png at size 300000 would be 300000 x 200000 pixels.*smaller size"):
        load_image(tmp_path / "a.png", size=300_000)


def test_threads_share_the_silence_and_leave_the_warning_filters_alone():
    before = list(warnings.filters)
    failures = []

    def work():
        for _ in range(30):
            try:
                decode_image(DAMAGED["JPEG"])
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert warnings.filters == before


def test_decode_names_what_is_broken():
    with pytest.raises(ValueError, match=r"the thumbnail of candy is not a picture"):
        decode_image(b"nothing of the kind", name="the thumbnail of candy")
    with pytest.raises(ValueError, match=r"picture in memory is empty"):
        decode_image(b"")


def test_too_little_memory_is_not_told_as_damage():
    with pytest.raises(MemoryError, match=r"not enough memory to decode large\.jpg") as told, decoding("large.jpg"):
        raise MemoryError
    assert "shrink it" in told.value.hint
