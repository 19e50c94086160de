"""A folder of small photos by two processes at once: each result once, with the bytes that one process gives.

    python -m bench.robustness.two_workers [--photos 1000] [--threads 1]

The photos lie in a tree of folders. Both processes run with `--skip-existing` on the same output; what each of them
says tells who did which photo.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from bench.folders import ROOT

SIDE = 64


def make(folder: Path, count: int) -> None:
    """Write the photos: parts of one picture, in ten folders."""
    picture = np.asarray(Image.open(ROOT / "docs" / "pictures" / "photo.jpg"))
    rng = np.random.default_rng(0)
    for number in range(count):
        y, x = (int(rng.integers(0, side - SIDE)) for side in picture.shape[:2])
        path = folder / f"day{number % 10}" / f"{number:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture[y : y + SIDE, x : x + SIDE]).save(path)


def start(photos: Path, output: Path, threads: int) -> "subprocess.Popen[str]":
    """A process that stylizes the folder."""
    words = ["stylize", str(photos), "--style", "scream_munch", "--skip-existing", "-o", str(output)]
    command = [sys.executable, "-m", "nanostyle", *words, "--threads", str(threads)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def done_by(process: "subprocess.Popen[str]") -> set[str]:
    """The results that a process says it wrote."""
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(said)
    return set(re.findall(r"^(\S+)  \(\d+x\d+\)$", said, re.MULTILINE))


def compare(count: int, threads: int) -> list[str]:
    """The faults, in words. Prints a line of figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder / "photos", count)
        begun = time.monotonic()
        one = done_by(start(folder / "photos", folder / "one", threads))
        alone = time.monotonic() - begun
        begun = time.monotonic()
        processes = [start(folder / "photos", folder / "two", threads) for _ in range(2)]
        both = [done_by(process) for process in processes]
        together = time.monotonic() - begun
        first, second = (
            {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
            for root in (folder / "one", folder / "two")
        )
    faults = []
    if len(first) != count or len(one) != count:
        faults.append(f"one process: {len(first)} files, {len(one)} told, of {count}")
    if first != second:
        faults.append(f"{sum(first.get(k) != second.get(k) for k in {*first, *second})} files differ")
    if both[0] & both[1] or len(both[0] | both[1]) != count:
        faults.append(f"{len(both[0] & both[1])} photos were done twice, {count - len(both[0] | both[1])} by none")
    print(f"{count} photos: {alone:.0f} s by one process; {together:.0f} s by two, {len(both[0])} and {len(both[1])}")
    return faults


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.robustness.two_workers", description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    options = parser.parse_args()
    faults = compare(options.photos, options.threads)
    print("\n".join(faults) or "no fault")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
