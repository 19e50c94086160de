"""A folder of photos by the whole command, against a plain loop around a runtime: `python -m bench.speed.folder`.

The loop is what people write: Pillow reads a photo, ONNX Runtime or OpenVINO puts it through the same network on all
processors, Pillow writes the result. All are whole processes, with their imports and the reading of the model.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from bench.folders import RESULTS, ROOT
from bench.speed import runtimes

OURS = "nanostyle"
STYLE = "scream_munch"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed.folder", description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=64)
    parser.add_argument("--size", type=int, default=512, help="long side of the photos")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS / "folder-cpu.json")
    parser.add_argument("--loop", nargs=4, metavar=("RUNTIME", "MODEL", "IN", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.loop:
        _loop(options.loop[0], *map(Path, options.loop[1:]))
        return
    with tempfile.TemporaryDirectory() as folder:
        report = _race(Path(folder), options.photos, options.size, options.rounds)
    options.output.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report["seconds"]), json.dumps(report["ratios"]))


def _loop(runtime: str, model: Path, photos: Path, results: Path) -> None:
    from nanostyle.backend.threads import thread_count

    run = runtimes.loaded(runtime, model.read_bytes(), thread_count())
    for path in sorted(photos.iterdir()):
        with Image.open(path) as photo:
            pixels = np.asarray(photo.convert("RGB"), np.float32) / 255
        picture = run(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))[0].transpose(1, 2, 0)
        Image.fromarray((picture * 255 + 0.5).astype(np.uint8)).save(results / path.name, quality=95)


def _installed() -> dict[str, str]:
    """The environment, but that modules keep their bytecode: those of an installed program have it."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _race(folder: Path, count: int, size: int, rounds: int) -> dict[str, Any]:
    from bench.speed.onnx_nets import graph_of
    from bench.speed.pairing import machine
    from nanostyle.models.multistyle import load_multistyle
    from nanostyle.models.registry import TRAINED, find

    photos, model = folder / "photos", folder / "model.onnx"
    photos.mkdir()
    with Image.open(ROOT / "docs" / "pictures" / "photo.jpg") as file:
        photo = file.convert("RGB")
    height, width = size * 3 // 4 // 4 * 4, size // 4 * 4
    for i in range(count):
        left, top = 3 * i % 97, 2 * i % 53  # no two alike
        part = photo.crop((left, top, photo.width - 96 + left, photo.height - 52 + top))
        part.resize((width, height)).save(photos / f"{i:03}.jpg", quality=92)
    network = load_multistyle(find("styles", TRAINED))
    rows = network.net.blend({network.row(STYLE): 1.0}, np.zeros((1, height, width, 3), np.float32))
    model.write_bytes(graph_of(network.net, height, width, rows))

    out = folder / "out"
    commands = {OURS: ["-m", "nanostyle", "stylize", photos, "--style", STYLE, "-o", out, "--quiet"]}
    for name in runtimes.installed():
        commands[name] = ["-m", "bench.speed.folder", "--loop", name, model, photos, out]
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            for old in out.iterdir() if out.exists() else ():
                old.unlink()
            out.mkdir(exist_ok=True)
            start = time.perf_counter()
            subprocess.run([sys.executable, *map(str, command)], check=True, cwd=ROOT, env=_installed())
            seconds[name].append(time.perf_counter() - start)
            if len(list(out.iterdir())) != count:
                sys.exit(f"{name}: expected {count} results, got {len(list(out.iterdir()))}")
    pairs = {name: zip(seconds[OURS], seconds[name], strict=True) for name in commands if name != OURS}
    return {
        "machine": machine(),
        "photos": f"{count} of {width}x{height}",
        "seconds": {name: round(median(values), 2) for name, values in seconds.items()},
        "all_seconds": {name: [round(value, 2) for value in values] for name, values in seconds.items()},
        "ratios": {name: round(median(b / a for a, b in pair), 3) for name, pair in pairs.items()},
    }


if __name__ == "__main__":
    main()
