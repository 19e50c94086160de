"""Picture files of kinds that Pillow does not write, made byte by byte."""

import struct
import zlib

import numpy as np
from PIL import ImageCms

HEIGHT, WIDTH = 24, 40
ONE_STEP = 1 / 255 + 1e-6
LOSSY = 8 / 255

SEEN = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}
"""By Exif's orientation: from the upright picture to what the sensor saw."""

SRGB_COLUMNS = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
P3_COLUMNS = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
"""XYZ of the primaries of sRGB and of Display P3, adapted to D50, as profiles hold them."""


def png(values, color_type, *, chunks=()):
    """A PNG of 16 bits a sample; `values` (H, W, samples), `chunks` (name, data) come before the pixels."""
    height, width = values.shape[:2]

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = values.astype(">u2").reshape(height, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    body = [
        chunk(b"IHDR", head),
        *(chunk(*c) for c in chunks),
        chunk(b"IDAT", zlib.compress(data)),
        chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def chunks(data):
    """The chunks of a PNG: (name, contents) of each, in order."""
    found, at = [], 8
    while at < len(data):
        size, name = struct.unpack(">I4s", data[at : at + 8])
        found.append((name, data[at + 8 : at + 8 + size]))
        at += size + 12
    return found


def tiff(values, photometric, *, extra=(), order="<", planar=False, tags=(), then=0):
    """An uncompressed TIFF of one strip (a plane each, if `planar`); `values` (H, W, samples) of any dtype.

    `extra` are the kinds of the samples beyond color (1, 2: alpha), `tags` further (tag, type, values): 2 is text, 3
    short, 4 long, 7 bytes. `then` is the offset of the next page.
    """
    height, width, count = values.shape
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    planes = [values[..., i] for i in range(count)] if planar else [values]
    strips = [np.ascontiguousarray(p).astype(values.dtype.newbyteorder(order)).tobytes() for p in planes]
    starts = np.cumsum([8, *map(len, strips)]).tolist()
    entries = [
        (256, 4, [width]),
        (257, 4, [height]),
        (258, 3, [8 * values.dtype.itemsize] * count),
        (259, 3, [1]),
        (262, 3, [photometric]),
        (273, 4, starts[:-1]),
        (277, 3, [count]),
        (278, 4, [height]),
        (279, 4, [len(strip) for strip in strips]),
        (284, 3, [2 if planar else 1]),
        (339, 3, [kind] * count),
        *([(338, 3, list(extra))] if extra else []),
        *tags,
    ]
    body = b"".join(strips)
    body += b"\0" * (len(body) % 2)
    begin = 8 + len(body)
    after = begin + 2 + 12 * len(entries) + 4
    directory, values_after = struct.pack(order + "H", len(entries)), b""
    for tag, kind, value in sorted(entries):
        data = value if isinstance(value, bytes) else struct.pack(f"{order}{len(value)}{'?BsHIxxB'[kind]}", *value)
        place = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(order + "I", after + len(values_after))
        directory += struct.pack(order + "HHI", tag, kind, len(value)) + place
        values_after += (data + b"\0" * (len(data) % 2)) if len(data) > 4 else b""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", begin)
    return head + body + directory + struct.pack(order + "I", then) + values_after


def profile(columns, curve, *, space=b"RGB ", name="a test"):
    """An ICC profile of primaries, whose XYZ are `columns`, and the tag `curve` for red, green and blue; or of gray."""
    text = name.encode("utf-16-be")
    texts = b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(text), 28) + text
    tags = {b"desc": texts, b"cprt": texts, b"wtpt": _xyz((0.9642, 1.0, 0.8249))}
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        tags |= {key: _xyz(column) for key, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)}
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    at = 132 + 12 * len(tags)
    table, data = struct.pack(">I", len(tags)), b""
    for key, value in tags.items():
        table += struct.pack(">4sII", key, at + len(data), len(value))
        data += value.ljust(-(-len(value) // 4) * 4, b"\0")
    head = struct.pack(">I4sI4s4s4s", at + len(data), b"lcms", 0x04300000, b"mntr", space, b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", *_fixed((0.9642, 1.0, 0.8249)))
    return head.ljust(128, b"\0") + table + data


def gamma_curve(exponent):
    """The tag of a curve x^exponent."""
    return b"para" + bytes(4) + struct.pack(">HHi", 0, 0, round(exponent * 65536))


def srgb_curve():
    """The tag of sRGB's own curve."""
    return b"para" + bytes(4) + struct.pack(">HH5i", 3, 0, *_fixed((2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)))


def table_curve(values):
    """The tag of a curve through `values` in 0..1."""
    return b"curv" + bytes(4) + struct.pack(f">I{len(values)}H", len(values), *(round(v * 65535) for v in values))


def _fixed(values):
    return [round(value * 65536) for value in values]


def _xyz(values):
    return b"XYZ " + bytes(4) + struct.pack(">3i", *_fixed(values))


def floats(array):
    """Bytes as float32 in 0..1."""
    return array.astype(np.float32) / 255


def swapped_profile():
    """An RGB profile whose red is sRGB's green and the other way round: read, it shows at once whether it was used."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", data[128:132])[0]
    entries = {bytes(data[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    red, green = entries[b"rXYZ"], entries[b"gXYZ"]
    data[red : red + 4], data[green : green + 4] = data[green : green + 4], data[red : red + 4]
    return bytes(data).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
