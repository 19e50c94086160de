"""Kill a training 20 times at random moments, resume each time, and compare the end with an undisturbed run.

    python -m bench.robustness.kill_nine [KILLS] [SEED]

A kill may come at any moment from the start of the process on: while Python starts, between two steps, within a
checkpoint. The training is a small one of the tests: two styles, pictures of 32 pixels, a checkpoint every other
step.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py

from bench.folders import ROOT
from tests.support import tiny

STEPS = 60


def start(data: list[Path], output: Path) -> "subprocess.Popen[bytes]":
    """Start the training in its own process."""
    command = [
        sys.executable,
        str(ROOT / "tests" / "support" / "train_tiny.py"),
        *map(str, data),
        str(output),
        str(STEPS),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)


def contents(output: Path) -> dict[str, bytes]:
    """Every number in the model and in the checkpoint, by file and name."""
    found: dict[str, bytes] = {}
    for what, path in (("model", output), ("checkpoint", output.with_suffix(".training") / "checkpoint.h5")):
        with h5py.File(path, "r") as file:

            def keep(name: str, item: object, what: str = what) -> None:
                if isinstance(item, h5py.Dataset):
                    found[f"{what}/{name}"] = item[()].tobytes()

            file.visititems(keep)
    return found


def reached(output: Path) -> int:
    """The step of the checkpoint; -1 where there is none yet."""
    path = output.with_suffix(".training") / "checkpoint.h5"
    if not path.exists():
        return -1

    with h5py.File(path, "r") as file:
        return int(json.loads(file.attrs["config"])["step"])


def main() -> None:
    """Kill, resume and compare; exit status 1 where the ends differ."""
    kills, seed = (int(sys.argv[i]) if len(sys.argv) > i else default for i, default in ((1, 20), (2, 0)))
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        data = [Path(folder) / "photos", Path(folder) / "styles"]
        tiny.write_pictures(data[0], 6)
        tiny.write_pictures(data[1], 2, size=(36, 44), seed=1)

        whole, broken = Path(folder) / "whole.h5", Path(folder) / "broken.h5"
        begun = time.monotonic()
        process = start(data, whole)
        if process.stdout:
            process.stdout.readline()  # the first step
        startup = time.monotonic() - begun
        process.communicate()
        duration = time.monotonic() - begun
        # So that all the kills together do not outlast the training: each costs another start.
        longest = 2 * (startup + 0.7 * (duration - startup) / kills)
        for kill in range(1, kills + 1):
            process = start(data, broken)
            moment = rng.uniform(0, longest)
            try:
                process.communicate(timeout=moment)
            except subprocess.TimeoutExpired:
                process.kill()
            process.communicate()
            print(f"kill {kill:2} after {moment:5.2f} s: checkpoint at step {reached(broken)} of {STEPS}")
        start(data, broken).communicate()
        a, b = contents(whole), contents(broken)
        same = a.keys() == b.keys() and all(a[name] == b[name] for name in a)
        print(
            f"{len(a)} arrays, {sum(map(len, a.values())):,} bytes: {'equal, byte for byte' if same else 'DIFFERENT'}"
        )
        sys.exit(not same)


if __name__ == "__main__":
    main()
