"""Every mode x format x orientation x bit depth x profile: right side up, right size, right colors.

The picture is made here, stored as a camera or a program would, and read. Expected colors come from Pillow's color
engine, which reading does not use for profiles of curves and primaries.
"""

import io
from functools import partial

import numpy as np
import pytest
from PIL import Image, ImageCms

from nanostyle.io.heif import is_installed, register
from nanostyle.io.image_read import read_file
from tests.support import picture_files

HEIGHT, WIDTH = 12, 20
EXACT, ROUNDED, ENGINE, LOSSY = 1e-6, 0.5 / 255 + 1e-6, 1.5 / 255, 9 / 255

PROFILES = {
    "none": None,
    "linear": picture_files.profile(picture_files.SRGB_COLUMNS, picture_files.gamma_curve(1), name="sRGB linear"),
    "P3": picture_files.profile(picture_files.P3_COLUMNS, picture_files.srgb_curve(), name="Display P3"),
    "gamma 1.8": picture_files.profile(
        picture_files.SRGB_COLUMNS, picture_files.table_curve(np.linspace(0, 1, 1024) ** 1.8)
    ),
}


def upright():
    """A smooth picture without symmetry (HEIGHT, WIDTH, 3), in steps of 1/255 and under 256 colors."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    steps = np.stack([20 + x * 10, 30 + y * 14, 220 - x * 5 - y * 6], axis=-1)
    return steps.astype(np.float64) / 255


def opacity():
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return (60 + 6 * x + 5 * y).astype(np.float64) / 255


def eight(values):
    return (np.ascontiguousarray(values) * 255 + 0.5).astype(np.uint8)


def sixteen(values):
    return (np.ascontiguousarray(values) * 65535 + 0.5).astype(np.uint16)


def by_pillow(kind, mode, values, alpha, orientation, profile, **options):
    image = Image.fromarray(eight(values[..., 0] if mode in ("L", "LA") else values))
    if mode.endswith("A"):
        image.putalpha(Image.fromarray(eight(alpha)))
    if mode == "P":
        image = image.quantize(256)
    if mode == "CMYK":
        image = image.convert("CMYK")
    data = io.BytesIO()
    if orientation != 1:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    if profile:
        options["icc_profile"] = profile
    image.save(data, kind, **options)
    return data.getvalue()


def deep_png(color_type, values, alpha, orientation, profile):
    channels = {0: [0], 2: [0, 1, 2], 4: [0], 6: [0, 1, 2]}[color_type]
    stored = np.concatenate([values[..., channels], *([alpha[..., None]] if color_type > 3 else [])], axis=-1)
    small = by_pillow("PNG", "RGB", values[:1, :1], None, orientation, profile)
    chunks = [c for c in picture_files.chunks(small) if c[0] in (b"eXIf", b"iCCP")]
    return picture_files.png(sixteen(stored), color_type, chunks=chunks)


def by_hand_tiff(photometric, dtype, values, alpha, orientation, profile, *, order="<", planar=False, with_alpha=False):
    if photometric == 5:
        values = np.concatenate([1 - values, np.zeros_like(values[..., :1])], axis=-1)
    if photometric in (0, 1):
        values = values[..., :1] if photometric else 1 - values[..., :1]
    if with_alpha:
        values = np.concatenate([values, alpha[..., None]], axis=-1)
    stored = values.astype(dtype) if dtype[0] == "f" else np.rint(values * np.iinfo(dtype).max).astype(dtype)
    tags = [(274, 3, [orientation]), *([(34675, 7, profile)] if profile else [])]
    extra = (2,) if with_alpha else ()
    return picture_files.tiff(stored, photometric, order=order, planar=planar, extra=extra, tags=tags)


LOSSLESS = {"lossless": True, "exact": True}
JPEG = {"quality": 100, "subsampling": 0}
# name -> (writer, mode: which colors and alpha it keeps, bits, bound without a profile)
KINDS = {
    **{f"PNG {m}": (partial(by_pillow, "PNG", m), m, 8, EXACT) for m in ("L", "LA", "RGB", "RGBA", "P")},
    **{f"PNG {m} 16": (partial(deep_png, t), m, 16, 1e-4) for t, m in ((0, "L"), (4, "LA"), (2, "RGB"), (6, "RGBA"))},
    **{f"TIFF {m}": (partial(by_pillow, "TIFF", m), m, 8, EXACT) for m in ("L", "RGB", "RGBA", "CMYK")},
    "TIFF RGB lzw": (partial(by_pillow, "TIFF", "RGB", compression="tiff_lzw"), "RGB", 8, EXACT),
    "TIFF RGB 16": (partial(by_hand_tiff, 2, "u2"), "RGB", 16, 1e-4),
    "TIFF RGB 16 big-endian": (partial(by_hand_tiff, 2, "u2", order=">"), "RGB", 16, 1e-4),
    "TIFF RGB 16 planar": (partial(by_hand_tiff, 2, "u2", planar=True), "RGB", 16, 1e-4),
    "TIFF RGBA 16": (partial(by_hand_tiff, 2, "u2", with_alpha=True), "RGBA", 16, 1e-4),
    "TIFF LA 16": (partial(by_hand_tiff, 1, "u2", with_alpha=True), "LA", 16, 1e-4),
    "TIFF L 16 white is zero": (partial(by_hand_tiff, 0, "u2"), "L", 16, 1e-4),
    "TIFF RGB 32": (partial(by_hand_tiff, 2, "u4"), "RGB", 16, EXACT),
    "TIFF RGB float": (partial(by_hand_tiff, 2, "f4"), "RGB", 16, EXACT),
    "TIFF RGB half": (partial(by_hand_tiff, 2, "f2"), "RGB", 16, 1e-3),
    "TIFF RGB double": (partial(by_hand_tiff, 2, "f8", order=">"), "RGB", 16, EXACT),
    "TIFF CMYKA": (partial(by_hand_tiff, 5, "u1", with_alpha=True), "CMYKA", 8, ROUNDED),
    "TIFF CMYK 16": (partial(by_hand_tiff, 5, "u2"), "CMYK", 8, 1.5 / 255),
    **{f"WebP {m}": (partial(by_pillow, "WEBP", m, **LOSSLESS), m, 8, EXACT) for m in ("RGB", "RGBA")},
    **{f"JPEG {m}": (partial(by_pillow, "JPEG", m, **JPEG), m, 8, LOSSY) for m in ("L", "RGB", "CMYK")},
    **{
        f"AVIF {m}": (partial(by_pillow, "AVIF", m, quality=100, subsampling="4:4:4"), m, 8, LOSSY)
        for m in ("RGB", "RGBA")
    },
    **{f"HEIC {m}": (partial(by_pillow, "HEIF", m, quality=100, chroma=444), m, 8, LOSSY) for m in ("RGB", "RGBA")},
    "BMP RGB": (partial(by_pillow, "BMP", "RGB"), "RGB", 8, EXACT),
    "GIF P": (partial(by_pillow, "GIF", "P"), "P", 8, EXACT),
}
# These hold no Exif and no profile.
PLAIN = ("BMP RGB", "GIF P")


def needs_extra(kind):
    if kind.startswith("HEIC"):
        if not is_installed():
            pytest.skip("the extra heif is not installed")
        register("the test")


def expected_colors(mode, profile):
    """The upright picture in sRGB, by Pillow's color engine."""
    values = upright()
    if mode in ("L", "LA"):
        values = np.repeat(values[..., :1], 3, axis=-1)
    if profile is None or mode.startswith("CMYK"):
        return values
    engine = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), "RGB", "RGB", 1
    )
    return np.asarray(engine.apply(Image.fromarray(eight(values)))) / 255


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_picture_is_read_right(kind, profile):
    write, mode, bits, bound = KINDS[kind]
    needs_extra(kind)
    if kind in PLAIN and profile != "none":
        pytest.skip("the format holds no profile")
    expected = expected_colors(mode, PROFILES[profile])
    if profile != "none" and not mode.startswith("CMYK"):
        bound = max(bound, ENGINE) if bound < LOSSY else 2 * LOSSY
    # HEIC has its own way to say how a picture is turned, which its library follows; Exif's counts for nothing there.
    for orientation in (1,) if kind in PLAIN or kind.startswith("HEIC") else range(1, 9):
        stored = picture_files.SEEN[orientation](upright()), picture_files.SEEN[orientation](opacity())
        data = write(*stored, orientation, PROFILES[profile])
        picture = read_file(io.BytesIO(data), kind)
        assert picture.pixels.shape == (HEIGHT, WIDTH, 3), orientation
        assert picture.original == (HEIGHT, WIDTH)
        assert picture.pixels.dtype == np.float32 and picture.pixels.flags.c_contiguous
        assert picture.bits == bits
        np.testing.assert_allclose(picture.pixels, expected, atol=bound, err_msg=f"orientation {orientation}")
        if mode.endswith("A"):
            np.testing.assert_allclose(picture.alpha, opacity(), atol=max(KINDS[kind][3], 1e-4))
        else:
            assert picture.alpha is None


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind][1] in ("L", "RGB", "RGBA", "LA")])
def test_sizes_are_right_side_up_too(kind):
    needs_extra(kind)
    for orientation in (1,) if kind.startswith("HEIC") else (1, 6):
        data = KINDS[kind][0](
            picture_files.SEEN[orientation](upright()), picture_files.SEEN[orientation](opacity()), orientation, None
        )
        if kind in PLAIN and orientation != 1:
            continue
        picture = read_file(io.BytesIO(data), kind, size=10)
        assert picture.pixels.shape == (6, 10, 3)
        columns = picture.pixels[3, :, 0]
        assert (np.diff(columns) > 0).all()  # red grows to the right
