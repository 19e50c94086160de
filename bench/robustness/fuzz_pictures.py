"""Thousands of broken pictures: each gives a picture or one clear line, in bounded time and memory.

    python -m bench.robustness.fuzz_pictures [--formats PNG TIFF] [--count 2000] [--seed 0]

For each format small pictures are written, and mutated: bits are flipped, ends cut off, numbers made huge, parts
doubled, removed, exchanged with parts of other formats. A child process reads the results one after another; where it
ends or takes longer than 20 s, that is told, and another goes on behind it. The exit status is 1 after any fault.
"""

import argparse
import io
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import numpy as np
from PIL import Image

from nanostyle.errors import NanostyleError
from nanostyle.io.formats import HEIF
from nanostyle.io.heif import is_installed
from nanostyle.io.image_read import read_file
from nanostyle.io.image_write import encode_image
from nanostyle.io.metadata import Metadata
from nanostyle.io.picture_rows import read_rows

LONGEST = 20.0  # seconds
MOST_PIXELS = 4_000_000
MOST_MEMORY = 2 << 30  # bytes

Mutation = Callable[[np.random.Generator, bytes, bytes], bytes]


def seeds() -> dict[str, list[bytes]]:
    """Format -> small valid files of several kinds."""
    y, x = np.mgrid[0:24, 0:32]
    pixels = np.stack([x / 31, y / 23, (x + y) / 54], axis=-1).astype(np.float32)
    alpha = ((x + y) / 54).astype(np.float32)
    told = Metadata(tags={271: "Camera", 274: 1}, exif={36867: "2020:01:01 00:00:00"}, gps={1: "N"}, xmp=b"<x/>")
    kinds = ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", *(["HEIF"] if is_installed() and HEIF else [])]
    files = {kind: [encode_image(kind, pixels, metadata=told, recipe={"seed": 1})] for kind in kinds}
    for kind in ("PNG", "TIFF"):
        files[kind] += [encode_image(kind, pixels, alpha=alpha, bits=16, metadata=told), encode_image(kind, pixels)]
    files["JPEG"].append(_saved("JPEG", pixels, progressive=True))
    files["TIFF"].append(_saved("TIFF", pixels, compression="tiff_lzw"))
    files["GIF"].append(_saved("GIF", pixels, save_all=True, append_images=[Image.new("RGB", (32, 24))]))
    files["PPM"] = [_saved("PPM", pixels)]
    files["JPEG2000"] = [_saved("JPEG2000", pixels)]
    return files


def _saved(kind: str, pixels: np.ndarray, **options: object) -> bytes:
    data = io.BytesIO()
    Image.fromarray((pixels * 255).astype(np.uint8)).save(data, kind, **options)
    return data.getvalue()


# --- mutations


def _flipped(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """Some bits are turned over, most of them near the start, where the headers are."""
    values = np.frombuffer(data, np.uint8).copy()
    reach = len(values) if rng.random() < 0.5 else min(len(values), 200)
    at = rng.integers(0, reach, rng.integers(1, 12))
    values[at] ^= (1 << rng.integers(0, 8, len(at))).astype(np.uint8)
    return bytes(values)


def _cut(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    return data[: rng.integers(1, len(data))]


def _huge(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """A field of two or four bytes holds a number at a limit."""
    size = int(rng.choice([2, 4]))
    at = int(rng.integers(0, max(1, min(len(data) - size, 400))))
    number = int(rng.choice([0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), 2 ** (8 * size - 1) - 1, 65535]))
    order = "little" if rng.random() < 0.5 else "big"
    return data[:at] + number.to_bytes(size, order) + data[at + size :]  # type: ignore[arg-type]


def _spliced(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """The start of one file and the rest of another."""
    return data[: rng.integers(4, len(data))] + other[rng.integers(0, len(other)) :]


def _moved(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """A part is doubled, removed or put elsewhere."""
    begin, end = sorted(int(at) for at in rng.integers(0, len(data), 2))
    part, where = data[begin:end], int(rng.integers(0, len(data)))
    rest = data if rng.random() < 0.5 else data[:begin] + data[end:]
    return rest[:where] + part * int(rng.integers(0, 4)) + rest[where:]


def _blank(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    begin, end = sorted(int(at) for at in rng.integers(0, len(data), 2))
    return data[:begin] + bytes([int(rng.choice([0, 255]))]) * (end - begin) + data[end:]


MUTATIONS: tuple[Mutation, ...] = (_flipped, _flipped, _cut, _huge, _huge, _spliced, _moved, _blank)


def mutated(seed: int, index: int, kind: str, files: dict[str, list[bytes]]) -> bytes:
    """The broken file number `index` of a format: a function of the seed, the number and the format alone."""
    rng = np.random.default_rng([seed, index, *kind.encode()])
    data = files[kind][rng.integers(0, len(files[kind]))]
    kinds = sorted(files)
    for _ in range(rng.integers(1, 4)):
        if len(data) < 8:
            break
        other = files[kinds[rng.integers(0, len(kinds))]][0]
        data = MUTATIONS[int(rng.integers(0, len(MUTATIONS)))](rng, data, other) or b"\0"
    return data


def verdict(data: bytes, *, in_rows: bool = False) -> str:
    """Read a file, in one piece or in rows: `picture` or `refused`; anything else is a fault, in words."""
    file = io.BytesIO(data)
    try:
        if in_rows:
            picture = read_rows(file, "broken.png", MOST_PIXELS).whole()
        else:
            picture = read_file(file, "broken.png", max_pixels=MOST_PIXELS)
    except (ValueError, NanostyleError) as error:
        text = str(error)
        return "refused" if text.startswith("broken.png ") and "\n" not in text else f"an unclear line: {text!r}"
    except BaseException as error:  # whatever comes is what this looks for
        return f"{type(error).__name__}: {error}"
    good = picture.pixels.size and picture.pixels.min() >= 0 and picture.pixels.max() <= 1
    return "picture" if good else "pixels outside of 0..1"


# --- the run


def _work(pipe: Connection, kind: str, seed: int, first: int, count: int) -> None:
    files = seeds()
    for index in range(first, count):
        pipe.send(("begun", index, 0))
        said = verdict(mutated(seed, index, kind, files))
        pipe.send((said, index, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
    pipe.send(("end", count, 0))


def run(kind: str, seed: int, count: int) -> list[str]:
    """Read `count` broken files of a format in child processes; the faults, in words. Prints a line of figures."""
    faults: list[str] = []
    told = {"picture": 0, "refused": 0}
    index, longest, memory = 0, 0.0, 0
    while index < count:
        ours, theirs = multiprocessing.Pipe()
        child = multiprocessing.Process(target=_work, args=(theirs, kind, seed, index, count), daemon=True)
        child.start()
        theirs.close()
        begun = time.monotonic()
        said = "begun"
        while said != "end":
            try:
                said, index, peak = ours.recv() if ours.poll(LONGEST) else ("hangs", index, 0)
            except EOFError:
                said = "the process ended"
            memory = max(memory, peak * 1024)
            if said == "begun":
                begun = time.monotonic()
                continue
            longest = max(longest, time.monotonic() - begun)
            if said in told:
                told[said] += 1
            elif said != "end":
                faults.append(f"{kind} {index}: {said}")
                if said in ("hangs", "the process ended"):
                    index += 1
                    break
        child.kill()
        child.join()
    if memory > MOST_MEMORY:
        faults.append(f"{kind}: {memory >> 20} MB of memory")
    print(
        f"{kind:<10}{count:>6} files: {told['picture']} pictures, {told['refused']} refused, {len(faults)} faults,"
        f" longest {longest:.2f} s, peak {memory >> 20} MB",
        flush=True,
    )
    return faults


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.robustness.fuzz_pictures", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--formats", nargs="+", choices=sorted(seeds()), default=sorted(seeds()))
    parser.add_argument("--count", type=int, default=2000, help="files for each format")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    faults = [fault for kind in options.formats for fault in run(kind, options.seed, options.count)]
    print("\n".join(faults) or "no fault")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
