"""Large pictures: memory, time and temporary files of the command. `python -m bench.speed.large 8192 --memory 1GB`

A TIFF of that side, made of mirrored copies of a photo, is stylized in a process of its own. Each run is added to the
results. Painted megapixels are what the network was given: seconds for each of them compare sizes.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.folders import RESULTS, ROOT
from nanostyle.methods.strokes import painted_pixels

PICTURES = ROOT / "docs" / "pictures"


def make(path: Path, side: int, tile: int = 1024) -> None:
    """Write a picture with detail everywhere: mirrored copies of a photo."""
    photo = Image.open(PICTURES / "photo.jpg").convert("RGB")
    least = min(photo.size)
    copy = np.asarray(photo.crop((0, 0, least, least)).resize((tile, tile), Image.Resampling.BICUBIC))
    count = -(-side // tile)
    row = np.concatenate([copy if i % 2 == 0 else copy[:, ::-1] for i in range(count)], axis=1)[:, :side]
    whole = np.concatenate([row if i % 2 == 0 else row[::-1] for i in range(count)], axis=0)[:side]
    Image.fromarray(whole).save(path)


def files_of(process: int) -> int:
    """The bytes of the temporary files that a process has open (Linux)."""
    total = 0
    try:
        for path in Path(f"/proc/{process}/fd").iterdir():
            if "(deleted)" in str(path.readlink()):
                total += 512 * path.stat().st_blocks
    except OSError:  # it has ended, or closed the file
        pass
    return total


def peak_of(process: int) -> int:
    """The most bytes of memory that a process had (Linux): its own, and not of the program that started it."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        return max((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), default=0)
    except OSError:
        return 0


def run(photo: Path, side: int, memory: str | None, strokes: int | None) -> dict[str, Any]:
    """Stylize the photo; what it took."""
    words = ["stylize", photo, "--style-image", PICTURES / "painting.jpg", "-o", photo.with_name("result.tif")]
    words += ["--quiet", "--overwrite"]
    words += ["--max-memory", memory] if memory else []
    words += ["--strokes", strokes] if strokes else []
    begin, most, peak = time.perf_counter(), 0, 0
    process = subprocess.Popen([sys.executable, "-m", "nanostyle", *map(str, words)])
    while process.poll() is None:
        most, peak = max(most, files_of(process.pid)), max(peak, peak_of(process.pid))
        time.sleep(0.2)
    if process.returncode:
        raise RuntimeError(f"exit status {process.returncode}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    painted = painted_pixels((side, side), strokes)
    return {
        "side": side,
        "memory": memory,
        "strokes": strokes,
        "seconds": round(time.perf_counter() - begin, 1),
        "processor seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak MB": round((peak or used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)) / 1e6),
        "temporary files GB": round(most / 1e9, 2),
        "painted megapixels": round(painted / 1e6, 1),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed.large", description=__doc__.splitlines()[0])
    parser.add_argument("side", type=int)
    parser.add_argument("--memory")
    parser.add_argument("--strokes", type=int)
    parser.add_argument("--folder", type=Path, help="where the pictures and temporary files lie")
    parser.add_argument("--output", type=Path, default=RESULTS / "large.json")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        photo = Path(folder) / "photo.tif"
        make(photo, options.side)
        found = run(photo, options.side, options.memory, options.strokes)
    found |= {"system": platform.platform(), "processors": os.cpu_count(), "date": time.strftime("%Y-%m-%d")}
    print(json.dumps(found))
    runs = json.loads(options.output.read_text()) if options.output.exists() else []
    options.output.write_text(json.dumps([*runs, found], indent=1) + "\n")


if __name__ == "__main__":
    main()
