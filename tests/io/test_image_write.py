"""Writing pictures: what is written is read again, or refused before the work."""

import errno
import io
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from nanostyle.io import atomic
from nanostyle.io import image_write as image_write_module
from nanostyle.io.image_read import decode_image, load_image
from nanostyle.io.image_write import check_writable, encode_image, save_image, thumbnail_jpeg
from nanostyle.io.recipe import read_recipe
from nanostyle.io.resample import resize
from tests.support.picture_files import HEIGHT, LOSSY, WIDTH, floats

WRITABLE = [".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".PNG"]
RECIPE = {"command": "nanostyle stylize 'Zürich → 夜.jpg'", "seed": 7, "losses": {"style": 0.25}, "styles": ["a", None]}


@pytest.mark.parametrize("suffix", WRITABLE)
def test_round_trip(tmp_path, colors, suffix):
    path = tmp_path / f"result{suffix}"
    save_image(path, floats(colors), recipe=RECIPE)
    lossy = suffix in (".jpg", ".jpeg", ".webp")
    np.testing.assert_allclose(load_image(path).pixels, floats(colors), atol=2 * LOSSY if lossy else 0)
    assert read_recipe(path) == (None if suffix == ".bmp" else RECIPE)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_alpha_round_trip(tmp_path, colors, suffix):
    alpha = np.linspace(0, 1, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
    save_image(tmp_path / f"a{suffix}", floats(colors), alpha=alpha, recipe=RECIPE)
    np.testing.assert_allclose(load_image(tmp_path / f"a{suffix}").alpha, alpha, atol=0.5 / 255 + 1e-6)
    assert read_recipe(tmp_path / f"a{suffix}") == RECIPE


@pytest.mark.parametrize("suffix", [".jpg", ".bmp"])
def test_formats_without_alpha_show_the_picture_on_white(tmp_path, suffix):
    alpha = np.repeat(np.float32([[0, 1]]), 8, 1).repeat(16, 0)
    save_image(tmp_path / f"a{suffix}", np.zeros((16, 16, 3), np.float32), alpha=alpha)
    pixels = load_image(tmp_path / f"a{suffix}").pixels
    np.testing.assert_allclose(pixels[:, :8], 1, atol=0.01)
    np.testing.assert_allclose(pixels[:, 8:], 0, atol=0.01)


@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.floats(-2, 3, width=32))
)
def test_values_are_clipped_and_rounded_to_the_nearest_step(values):
    path = io.BytesIO(thumbnail_jpeg(np.repeat(values[..., None], 3, 2)))  # any picture encodes
    assert Image.open(path).size == values.shape[::-1]
    steps = image_write_module._steps(values, 255)
    np.testing.assert_allclose(steps / 255, np.clip(values, 0, 1), atol=0.5 / 255 + 1e-6)


def test_every_step_survives_a_round_trip(tmp_path):
    steps = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    for _ in range(2):
        save_image(tmp_path / "steps.png", floats(steps))
        np.testing.assert_array_equal(load_image(tmp_path / "steps.png").pixels, floats(steps))
    save_image(tmp_path / "half.png", np.full((1, 1, 3), 100.5 / 255 + 1e-6))
    np.testing.assert_array_equal(load_image(tmp_path / "half.png").pixels, np.float32(101) / np.float32(255))


def test_quality_matters(tmp_path):
    noise = np.random.default_rng(0).random((64, 64, 3), dtype=np.float32)
    for suffix in (".jpg", ".webp"):
        for quality in (20, 95):
            save_image(tmp_path / f"{quality}{suffix}", noise, quality=quality)
        assert (tmp_path / f"20{suffix}").stat().st_size < 0.7 * (tmp_path / f"95{suffix}").stat().st_size


def test_jpeg_keeps_full_color_resolution(tmp_path):
    save_image(tmp_path / "a.jpg", np.zeros((16, 16, 3), np.float32))
    with Image.open(tmp_path / "a.jpg") as written:
        assert [layer[1:3] for layer in written.layer] == [(1, 1)] * 3


@pytest.mark.parametrize(
    ("name", "reason"),
    [("a.psd", r"ends in \.psd"), ("a", "has no suffix"), ("a.png.part", r"ends in \.part")],
)
def test_unknown_suffix_lists_the_known_ones(tmp_path, name, reason):
    for attempt in (lambda p: save_image(p, np.zeros((2, 2, 3))), check_writable):
        with pytest.raises(
            ValueError, match=rf"cannot write .*{re.escape(name)}: its name {reason}.*\.png \.jpg .*\.tif"
        ):
            attempt(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("pixels", "alpha", "message"),
    [
        (np.full((2, 2, 3), np.nan), None, "holds NaN"),
        (np.zeros((2, 2, 3)), np.full((2, 2), np.nan), "holds NaN"),
        (np.zeros((2, 2, 3)), np.zeros((3, 2)), r"alpha of shape \(3, 2\) does not fit .*\(2, 2\)"),
        (np.zeros((2, 2)), None, r"expected pixels of shape \(height, width, 3\), got \(2, 2\)"),
        (np.zeros((1, 2, 2, 3)), None, "expected pixels of shape"),
        (np.zeros((0, 2, 3)), None, "expected pixels of shape"),
    ],
)
def test_refuses_what_is_no_picture(tmp_path, pixels, alpha, message):
    with pytest.raises(ValueError, match=message):
        save_image(tmp_path / "result.png", pixels, alpha=alpha)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, error):
    path = tmp_path / "result.png"
    path.write_bytes(b"the old one")

    def fail(file, data):
        with file.open("wb") as half:
            half.write(bytes(data)[:10])
        raise OSError(error, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match=r"cannot write .*result\.png: No space left on device; choose another output"):
        save_image(path, np.zeros((4, 4, 3)))
    assert path.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_format_cannot_hold(tmp_path):
    with pytest.raises(
        ValueError, match=r"wide\.webp: 17000 x 1 pixels and the recipe are too much for WEBP .*choose \.png"
    ):
        save_image(tmp_path / "wide.webp", np.zeros((1, 17000, 3), np.float32))
    with pytest.raises(ValueError, match=r"long\.jpg: .*recipe are too much for JPEG .*choose \.png"):
        save_image(tmp_path / "long.jpg", np.zeros((1, 1, 3)), recipe={"text": "x" * 70_000})
    assert list(tmp_path.iterdir()) == []


# --- check_writable


def test_check_writable_leaves_no_trace(tmp_path):
    check_writable(tmp_path / "new.png")
    assert list(tmp_path.iterdir()) == []
    old = tmp_path / "old.png"
    old.write_bytes(b"old")
    check_writable(old, overwrite=True)
    assert list(tmp_path.iterdir()) == [old]
    assert old.read_bytes() == b"old"


def test_check_writable_refuses(tmp_path):
    file = tmp_path / "file.png"
    file.write_bytes(b"old")
    with pytest.raises(FileExistsError, match=r"file\.png exists already$") as caught:
        check_writable(file)
    assert caught.value.hint == "choose another name or pass {overwrite}"
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*missing; make it first"):
        check_writable(tmp_path / "missing" / "a.png")
    with pytest.raises(NotADirectoryError, match=r"file\.png is a file, not a folder"):
        check_writable(file / "a.png", overwrite=True)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        check_writable(tmp_path / "folder.png", overwrite=True)
    with pytest.raises(OSError, match="cannot write"):
        check_writable(tmp_path / ("n" * 300 + ".png"))
    check_writable(tmp_path / ("n" * 250 + ".png"))


def test_check_writable_notices_a_folder_that_takes_no_files(tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(atomic.tempfile, "mkstemp", refuse)
    with pytest.raises(OSError, match=r"cannot write .*a\.png: Read-only file system"):
        check_writable(tmp_path / "a.png")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="this system has no /proc")
def test_check_writable_on_a_real_read_only_folder():
    with pytest.raises(OSError, match=r"cannot write /proc/self/a\.png"):
        check_writable("/proc/self/a.png")


def test_thumbnail(colors):
    large = resize(floats(colors), (200, 300))
    data = thumbnail_jpeg(large, 60)
    assert data.startswith(b"\xff\xd8")
    assert len(data) < 5000
    thumbnail = decode_image(data)
    assert thumbnail.shape == (40, 60, 3)
    np.testing.assert_allclose(thumbnail, resize(large, (40, 60)), atol=2 * LOSSY)
    assert len(thumbnail_jpeg(large, 60, quality=20)) < len(data)
    assert decode_image(thumbnail_jpeg(floats(colors), 60)).shape == colors.shape  # never enlarged


@pytest.mark.parametrize("with_alpha", [False, True])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_round_trip(tmp_path, suffix, with_alpha):
    values = np.random.default_rng(0).integers(0, 65536, (37, 41, 4)) / 65535
    pixels, alpha = values[..., :3].astype(np.float32), values[..., 3].astype(np.float32) if with_alpha else None
    save_image(tmp_path / f"deep{suffix}", pixels, alpha=alpha, bits=16, recipe=RECIPE)
    picture = load_image(tmp_path / f"deep{suffix}")
    assert picture.bits == 16
    np.testing.assert_allclose(picture.pixels, pixels, atol=1e-7)
    if with_alpha:
        np.testing.assert_allclose(picture.alpha, alpha, atol=1e-7)
    assert read_recipe(tmp_path / f"deep{suffix}") == RECIPE
    with Image.open(tmp_path / f"deep{suffix}") as seen:  # other programs read it as well
        shown = np.asarray(seen.convert("RGB"))
    np.testing.assert_allclose(shown / 255, pixels, atol=1 / 255)


@pytest.mark.parametrize(("suffix", "bound"), [(".avif", 0.1), (".gif", 0.25)])
def test_avif_and_gif_round_trip(tmp_path, colors, suffix, bound):
    save_image(tmp_path / f"a{suffix}", floats(colors), recipe=RECIPE, bits=16)
    picture = load_image(tmp_path / f"a{suffix}")
    assert picture.bits == 8
    np.testing.assert_allclose(picture.pixels, floats(colors), atol=bound)
    assert read_recipe(tmp_path / f"a{suffix}") == RECIPE


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_deep_results_that_are_no_picture(kind):
    with pytest.raises(ValueError, match="holds NaN"):
        encode_image(kind, np.full((2, 2, 3), np.nan), bits=16)
