"""Time a frame of `nanostyle video` against one pass of its size, in one process and in turn.

    python -m bench.speed.video VIDEO [--rounds 2] [--output bench/results/video-cpu.json]

VIDEO should be of 640 x 360 pixels and 50 frames or more: the first frames are read before the first is painted.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from nanostyle.backend.threads import thread_count
from nanostyle.io.video.read import open_clip
from nanostyle.methods.stylizer import Stylizer
from nanostyle.methods.temporal import Stability
from nanostyle.methods.video import VideoRun
from nanostyle.methods.video_options import VideoOptions

STYLES = {"styles": "scream_munch", "any": "docs/pictures/painting.jpg"}
STABILITIES: tuple[Stability, ...] = ("off", "on", "high")


def timed(path: Path, rounds: int) -> list[dict[str, object]]:
    """A row for each network: milliseconds of a pass, of a frame in each way, and their ratios."""
    rows = []
    for model, style in STYLES.items():
        stylizer, clip = Stylizer(style, model=model), open_clip(path)
        pixels = next(clip.frames()).pixels / np.float32(255)
        passes: list[float] = []
        frames: dict[Stability, list[float]] = {stability: [] for stability in STABILITIES}
        stylizer.render(pixels)
        for _ in range(rounds):
            for stability in STABILITIES:
                passes += [_seconds_of_a_pass(stylizer, pixels) for _ in range(5)]
                frames[stability].append(_seconds_of_a_frame(stylizer, path, stability))
        one = statistics.median(passes)
        row: dict[str, object] = {"model": model, "size": f"{clip.size[1]}x{clip.size[0]}", "threads": thread_count()}
        row["pass_ms"] = round(1e3 * one, 1)
        for stability, seconds in frames.items():
            row[f"{stability}_ms"] = round(1e3 * min(seconds), 1)
            row[f"{stability}_passes"] = round(min(seconds) / one, 3)
        rows.append(row)
    return rows


def _seconds_of_a_pass(stylizer: Stylizer, pixels: np.ndarray) -> float:
    begun = time.perf_counter()
    stylizer.render(pixels)
    return time.perf_counter() - begun


def _seconds_of_a_frame(stylizer: Stylizer, path: Path, stability: Stability) -> float:
    with tempfile.TemporaryDirectory() as folder:
        options = VideoOptions(stability=stability)
        run = VideoRun(stylizer, open_clip(path), Path(folder) / "out.mp4", options, plan={})
        begun = time.perf_counter()
        count = sum(1 for _ in run.steps())
        return (time.perf_counter() - begun) / count


def main() -> None:
    """Print the rows, and write them where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    rows = timed(given.video, given.rounds)
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    if given.output:
        given.output.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
