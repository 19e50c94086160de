"""Kill `nanostyle video` 20 times at random moments, resume each time, and compare the end with an undisturbed run.

    python -m bench.robustness.kill_video [KILLS] [SEED]

The video is made: 60 frames of 96 x 72 with a cut and sound, in parts of 5 frames. Decoded frames, times and packets of
sound have to be equal.
"""

import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.support.clips import frames_of, packets_of, panned, stamps_of, write_video
from tests.support.killed import finish, killed, start

ARGS = ["a.mp4", "--style", "scream_munch", "-o", "out.mp4", "--quiet"]


def main(kills: int, seed: int) -> None:
    """Run it, and print a line for each kill."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frames = panned(30, 72, 96) + [frame[::-1].copy() for frame in panned(30, 72, 96, 2)]
        write_video(folder / "a.mp4", frames, sound="aac")
        begun = time.monotonic()
        finish(start(folder, *ARGS))
        whole = time.monotonic() - begun
        shutil.move(folder / "out.mp4", folder / "whole.mp4")
        done = ends = 0
        while done < kills:
            after = rng.uniform(0.1, 1.1 * whole)
            was_running = killed(folder, *ARGS, "--resume", after=after)
            parts = len(list((folder / "out.mp4.parts").glob("*.npz"))) if was_running else 0
            done += was_running
            print(f"killed after {after:.2f} s, {parts} parts" if was_running else "ended before the kill")
            if not was_running:
                ends += check(folder)
        finish(start(folder, *ARGS, "--resume"))
        ends += check(folder)
        print(f"{done} kills, {ends} results, all equal to the undisturbed one")


def check(folder: Path) -> int:
    """Compare a result with the undisturbed one, and remove it; 1."""
    one, other = folder / "out.mp4", folder / "whole.mp4"
    assert stamps_of(one) == stamps_of(other) == stamps_of(folder / "a.mp4")
    assert packets_of(one) == packets_of(folder / "a.mp4")
    for a, b in zip(frames_of(one), frames_of(other), strict=True):
        assert np.array_equal(a, b)
    one.unlink()
    assert not (folder / "out.mp4.parts").exists()
    return 1


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20, int(sys.argv[2]) if len(sys.argv) > 2 else 0)
