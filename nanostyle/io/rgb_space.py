"""RGB color spaces of three primaries and a curve for each, and the way from them to sRGB.

Sources: ICC.1:2022 (profiles: sections 10.6 curveType, 10.18 parametricCurveType), IEC 61966-2-1 (sRGB), the PNG
specification of 2025 (gAMA, cHRM, cICP), ITU-T H.273 (the numbers in cICP), SMPTE ST 2084 and ITU-R BT.2100 (PQ, HLG).
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nanostyle.backend.types import Pixels

Floats = npt.NDArray[np.float64]
Curve = Callable[[Floats], Floats]
"""From a stored value to linear light, both in 0..1."""

Point = tuple[float, float]
"""A chromaticity (x, y)."""

D65: Point = (0.3127, 0.3290)
BT709: tuple[Point, Point, Point] = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))

_D50 = np.array([0.9642, 1.0, 0.8249])  # the white of ICC's connection space
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
# A space that moves no color by more than this is sRGB as its makers rounded it.
_SAME = 2 / 255


@dataclass(frozen=True, eq=False)
class RGBSpace:
    """A color space: a curve for red, green and blue, and the matrix from linear RGB to XYZ of D50.

    Attributes
    ----------
    curves : three functions
        Stored value to linear light.
    to_xyz : (3, 3)
        A column for each primary.
    """

    curves: tuple[Curve, Curve, Curve]
    to_xyz: Floats

    @cached_property
    def is_srgb(self) -> bool:
        """Whether the colors of this space are those of sRGB, to 2 of 255."""
        return float(np.abs(self._convert(_PROBE) - _PROBE).max()) <= _SAME

    @property
    def is_finite(self) -> bool:
        """Whether every color of 8 bits has a place in sRGB: a damaged curve may have none for some."""
        with np.errstate(all="ignore"):
            return bool(np.isfinite(self._convert(_PROBE)).all())

    def to_srgb(self, pixels: Pixels) -> Pixels:
        """`pixels` (H, W, 3) of this space as sRGB, clipped to its gamut; those of sRGB itself are left as they are."""
        if self.is_srgb:
            return pixels
        converted = np.empty(pixels.shape, np.float32)
        for begin in range(0, len(pixels), 256):  # what is in float64 at one time stays small
            converted[begin : begin + 256] = self._convert(pixels[begin : begin + 256])
        return converted

    def _convert(self, pixels: Pixels) -> Pixels:
        values = np.clip(pixels.astype(np.float64), 0, 1)
        linear = np.stack([curve(values[..., i]) for i, curve in enumerate(self.curves)], axis=-1)
        matrix = np.linalg.inv(SRGB.to_xyz) @ self.to_xyz
        return encoded(linear @ matrix.T).astype(np.float32)


def _probe() -> Pixels:
    """Colors from everywhere, and all grays of 8 bits."""
    side = np.linspace(0, 1, 9)
    cube = np.stack(np.meshgrid(side, side, side), axis=-1).reshape(-1, 3)
    grays = np.repeat(np.linspace(0, 1, 256)[:, None], 3, axis=1)
    return np.concatenate([cube, grays]).astype(np.float32)


_PROBE = _probe()


def encoded(linear: Floats) -> Floats:
    """Linear light as sRGB stores it, clipped to 0..1."""
    linear = np.clip(linear, 0, 1)
    small: Floats = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return small


def _srgb_curve(value: Floats) -> Floats:
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


# --- spaces told by numbers


def from_primaries(primaries: Sequence[Point], white: Point, curve: Curve) -> RGBSpace:
    """The space of three `primaries` whose sum is `white`, with one curve for all; white is adapted to D50 (Bradford).

    Raises
    ------
    ValueError
        The primaries lie on a line, or the white has no brightness.
    """
    points = np.array([*primaries, white], np.float64)
    if not np.isfinite(points).all() or (points[:, 1] <= 0).any():
        raise ValueError("a color space has a primary without brightness")
    columns = np.stack([points[:, 0], points[:, 1], 1 - points.sum(axis=1)]) / points[:, 1]
    if abs(np.linalg.det(columns[:, :3])) < 1e-9:
        raise ValueError("the primaries of a color space lie on a line")
    shares = np.linalg.solve(columns[:, :3], columns[:, 3])
    adapt = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50) / (_BRADFORD @ columns[:, 3])) @ _BRADFORD
    return RGBSpace((curve, curve, curve), adapt @ (columns[:, :3] * shares))


SRGB = from_primaries(BT709, D65, _srgb_curve)


def power(exponent: float) -> Curve:
    """The curve value^exponent."""
    return lambda value: value**exponent


ADOBE_RGB = from_primaries(((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), D65, power(563 / 256))
"""What the Exif interoperability index R03 stands for."""


def from_gamma(gamma: float, primaries: Sequence[Point] = BT709, white: Point = D65) -> RGBSpace:
    """The space of PNG's gAMA (stored = light^gamma) and cHRM. 0.45455 is how programs write sRGB's own curve."""
    if not 0.05 < gamma < 20:
        raise ValueError(f"a gamma of {gamma} is no picture's")
    srgb = abs(gamma - 1 / 2.2) < 0.001
    return from_primaries(primaries, white, _srgb_curve if srgb else power(1 / gamma))


def _bt709_curve(value: Floats) -> Floats:
    return np.where(value < 0.081, value / 4.5, ((value + 0.099) / 1.099) ** (1 / 0.45))


def _pq_curve(value: Floats) -> Floats:
    """SMPTE ST 2084 up to its reference white of 203 cd/m2; brighter light is clipped."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = value ** (1 / m2)
    light = (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    return np.minimum(light * 10000 / 203, 1)


def _hlg_curve(value: Floats) -> Floats:
    """BT.2100's hybrid log-gamma, with 0.75 as white; brighter light is clipped."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    light = np.where(value <= 0.5, value**2 / 3, (np.exp((value - c) / a) + b) / 12)
    return np.asarray(np.minimum(light / ((np.exp((0.75 - c) / a) + b) / 12), 1))


_NTSC: tuple[Point, Point, Point] = ((0.63, 0.34), (0.31, 0.595), (0.155, 0.07))
# The numbers of H.273: 1 BT.709, 5 PAL, 6 and 7 NTSC, 9 BT.2020, 11 and 12 P3 (cinema's and D65).
_PRIMARIES: dict[int, tuple[tuple[Point, Point, Point], Point]] = {
    1: (BT709, D65),
    5: (((0.64, 0.33), (0.29, 0.60), (0.15, 0.06)), D65),
    6: (_NTSC, D65),
    7: (_NTSC, D65),
    9: (((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)), D65),
    11: (((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), (0.314, 0.351)),
    12: (((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), D65),
}
_TRANSFER: dict[int, Curve] = {
    1: _bt709_curve,
    4: power(2.2),
    5: power(2.8),
    6: _bt709_curve,
    8: lambda value: value,
    13: _srgb_curve,
    14: _bt709_curve,
    15: _bt709_curve,
    16: _pq_curve,
    18: _hlg_curve,
}


def from_code_points(primaries: int, transfer: int) -> RGBSpace | None:
    """The space of PNG's cICP by the numbers of H.273; None for one that is not known."""
    if primaries not in _PRIMARIES or transfer not in _TRANSFER:
        return None
    return from_primaries(*_PRIMARIES[primaries], _TRANSFER[transfer])


# --- ICC profiles


def from_profile(data: bytes) -> RGBSpace | None:
    """The space of an ICC profile made of curves and primaries, else None: profiles of tables are the engine's.

    Raises
    ------
    ValueError, LookupError, ArithmeticError, struct.error
        The profile is damaged.
    """
    tags = _tags(data)
    if data[16:20] != b"RGB " or data[20:24] != b"XYZ " or b"A2B0" in tags or b"rXYZ" not in tags:
        return None
    columns = [_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    red, green, blue = (_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC"))
    return RGBSpace((red, green, blue), np.stack(columns, axis=1))


def gray_curve(data: bytes) -> Curve | None:
    """The curve of an ICC profile for grays, None for other profiles. Raises as `from_profile` does."""
    tags = _tags(data)
    return _curve(tags[b"kTRC"]) if data[16:20] == b"GRAY" and b"kTRC" in tags else None


def _tags(data: bytes) -> dict[bytes, bytes]:
    """Signature -> contents of each tag of a profile."""
    (count,) = struct.unpack(">I", data[128:132])
    if count > 200 or data[36:40] != b"acsp":
        raise ValueError("the color profile is damaged")
    entries = [struct.unpack(">4sII", data[132 + 12 * i : 144 + 12 * i]) for i in range(count)]
    return {name: data[begin : begin + size] for name, begin, size in entries}


def _xyz(tag: bytes) -> Floats:
    return np.array(struct.unpack(">3i", tag[8:20])) / 65536


def _curve(tag: bytes) -> Curve:
    if tag[:4] == b"curv":
        (count,) = struct.unpack(">I", tag[8:12])
        if count == 0:
            return lambda value: value
        if count == 1:
            return power(struct.unpack(">H", tag[12:14])[0] / 256)
        table = np.frombuffer(tag, ">u2", count, 12) / 65535
        return lambda value: np.interp(value, np.linspace(0, 1, count), table)
    if tag[:4] == b"para":
        return _parametric(tag)
    raise ValueError("the color profile has a curve of an unknown kind")


def _parametric(tag: bytes) -> Curve:
    """ICC's parametric curves: (a·x + b)^g + e above d, c·x + f below, with fewer numbers in kinds 0 to 3."""
    (kind,) = struct.unpack(">H", tag[8:10])
    count = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}[kind]
    numbers = [n / 65536 for n in struct.unpack(f">{count}i", tag[12 : 12 + 4 * count])]
    g, a, b, c, d, e, f = numbers + [0.0] * (7 - count)
    if kind == 0:
        return power(g)
    if kind in (1, 2):  # zero (or the constant c) below -b/a
        d, e, f, c = -b / a, c, c, 0.0
    return lambda value: np.where(value >= d, np.maximum(a * value + b, 0) ** g + e, c * value + f)
