"""Kill `stylize` while it writes, and let it write to a disk that fills up: the old file or the new one, always.

    python -m bench.robustness.kill_writing [--kills 20] [--disk FOLDER]

The result of a photo replaces an older one, again and again; each run is killed (SIGKILL) at a random moment. After
every kill the file must be whole: the older one or the newer one. With `--disk`, a folder on a small
file system (as root: `mount -t tmpfs -o size=300k none FOLDER`), a result that does not fit must leave the older one.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.folders import ROOT
from nanostyle.io.atomic import remove_unfinished

PHOTO = ROOT / "docs" / "pictures" / "photo.jpg"


def command(target: Path, strength: float, size: int) -> list[str]:
    """The command that writes a result."""
    words = ["stylize", str(PHOTO), "--style", "scream_munch", "--size", str(size), "--strength", str(strength)]
    return [sys.executable, "-m", "nanostyle", *words, "-o", str(target), "--overwrite", "--quiet"]


def killed(folder: Path, kills: int, seed: int) -> list[str]:
    """The faults after so many kills, in words. Prints how many runs were killed before and after the file changed."""
    target, faults, told = folder / "result.png", [], {"older": 0, "newer": 0}
    whole = {}
    for strength in (0.25, 0.75):
        subprocess.run(command(target, strength, 200), check=True)
        whole[strength] = target.read_bytes()
    started = time.monotonic()
    subprocess.run(command(target, 0.25, 200), check=True)
    each = time.monotonic() - started
    rng, now = random.Random(seed), 0.25
    for _ in range(kills):
        new = 1 - now
        process = subprocess.Popen(command(target, new, 200))
        time.sleep(each * rng.uniform(0.7, 1.1))  # near its end, where it writes
        process.kill()
        process.wait()
        found = target.read_bytes()
        if found == whole[new]:
            told["newer"] += 1
            now = new
        elif found == whole[now]:
            told["older"] += 1
        else:
            faults.append(f"{len(found)} bytes that are neither result")
        remove_unfinished(folder)
    print(f"{kills} kills: {told['older']} times the older file, {told['newer']} times the newer one")
    return faults


def full(folder: Path) -> list[str]:
    """The faults on a disk that is too small for the second result, in words."""
    target = folder / "result.png"
    subprocess.run(command(target, 0.75, 100), check=True)
    before = target.read_bytes()
    done = subprocess.run(command(target, 0.75, 1000), capture_output=True, text=True)
    print(f"full disk: exit status {done.returncode}, {done.stderr.strip()}")
    faults = []
    if done.returncode != 2 or "No space left" not in done.stderr or done.stderr.count("\n") != 1:
        faults.append("the full disk is not told in one line")
    if target.read_bytes() != before or len(list(folder.iterdir())) != 1:
        faults.append("the older file is not left alone")
    return faults


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.robustness.kill_writing", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--disk", type=Path, help="a folder on a small file system")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        faults = killed(Path(folder), options.kills, options.seed)
    if options.disk:
        faults += full(options.disk)
    print("\n".join(faults) or "no fault")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
