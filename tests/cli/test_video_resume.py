"""A run that was killed goes on, to the same frames, times and sound as one in one go."""

import shutil
import signal
import time

import numpy as np
import pytest

from tests.support.clips import frames_of, packets_of, panned, stamps_of, write_video
from tests.support.command import failed, listing, run
from tests.support.killed import LATE, PART, finish, killed, start

pytest.importorskip("av", reason="PyAV is not installed")

ARGS = ["a.mp4", "--style", "scream_munch", "-o", "out.mp4", "--quiet"]


@pytest.fixture
def folder(tmp_path):
    frames = panned(9, 72, 96) + [frame[::-1].copy() for frame in panned(9, 72, 96, 2)]
    write_video(tmp_path / "a.mp4", frames, sound="aac")
    return tmp_path


def parts(folder):
    return listing(folder / "out.mp4.parts")


def started_until(folder, count):
    """A run that has finished `count` parts, and is not done."""
    process = start(folder, *ARGS, program=LATE)
    deadline = time.monotonic() + 60
    while not (folder / "out.mp4.parts" / f"{count - 1:06d}.npz").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    return process


def killed_with_parts(folder, count):
    """Kill a run as soon as it has finished `count` parts."""
    process = started_until(folder, count)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)


def test_killed_runs_go_on_to_the_same_result(folder):
    finish(start(folder, *ARGS))
    shutil.move(folder / "out.mp4", folder / "whole.mp4")
    for count in (1, 2):
        killed_with_parts(folder, count)
        failed(run("video", *ARGS, cwd=folder), "holds the parts of a run that was not finished", "--resume")
        finish(start(folder, *ARGS, "--resume"))
        assert stamps_of(folder / "out.mp4") == stamps_of(folder / "whole.mp4") == stamps_of(folder / "a.mp4")
        assert packets_of(folder / "out.mp4") == packets_of(folder / "a.mp4")
        for one, other in zip(frames_of(folder / "out.mp4"), frames_of(folder / "whole.mp4"), strict=True):
            np.testing.assert_array_equal(one, other)
        (folder / "out.mp4").unlink()
    assert not (folder / "out.mp4.parts").exists()


def test_another_plan_is_refused(folder):
    killed_with_parts(folder, 1)
    before = parts(folder)
    said = run("video", *ARGS, "--resume", "--strength", "0.5", cwd=folder)
    failed(said, "was begun otherwise", "strength was 1.0, is 0.5")
    write_video(folder / "a.mp4", panned(18, 72, 96))
    failed(run("video", *ARGS, "--resume", cwd=folder), "source was")
    assert parts(folder) == before


def test_ctrl_c_keeps_what_is_done(folder):
    process = started_until(folder, 1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "--resume goes on" in said, said
    assert not (folder / "out.mp4").exists()
    finish(start(folder, *ARGS, "--resume"))
    assert stamps_of(folder / "out.mp4") == stamps_of(folder / "a.mp4")


def test_threads_do_not_change_the_bytes(folder):
    results = []
    for threads in (1, 2, 3):
        finish(start(folder, *ARGS, "--threads", threads))
        results.append((folder / "out.mp4").read_bytes())
        (folder / "out.mp4").unlink()
    assert results[0] == results[1] == results[2]


def test_the_parts_of_a_folder_that_is_not_ours_are_left_alone(folder):
    (folder / "out.mp4.parts").mkdir()
    (folder / "out.mp4.parts" / "mine.txt").write_text("mine")
    failed(run("video", *ARGS, cwd=folder), "is in the way: it holds mine.txt")
    assert (folder / "out.mp4.parts" / "mine.txt").read_text() == "mine"


def test_a_full_disk_leaves_the_old_file_and_whole_parts(folder):
    """The limit on the size of a file stands for a full disk: writing fails in the middle of a part."""
    import resource
    import subprocess
    import sys

    from tests.support.command import environment

    (folder / "out.mp4").write_text("old")

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    words = [sys.executable, "-m", "nanostyle", "video", *ARGS, "--overwrite", "--quality", "100"]
    # Without coverage, whose own file would not fit either.
    env = {name: value for name, value in environment().items() if not name.startswith("COVERAGE")}
    result = subprocess.run(words, cwd=folder, env=env, preexec_fn=limit, capture_output=True, text=True, timeout=100)
    assert result.returncode == 2 and "make room" in result.stderr, result.stderr
    assert result.stderr.count("\n") == 1 and (folder / "out.mp4").read_text() == "old"
    finish(start(folder, *ARGS, "--overwrite", "--quality", "100", "--resume"))
    assert stamps_of(folder / "out.mp4") == stamps_of(folder / "a.mp4")


def test_killed_before_the_first_part(folder):
    assert killed(folder, *ARGS, after=0.05)
    finish(start(folder, *ARGS, "--resume"))
    assert len(stamps_of(folder / "out.mp4")) == 18 and PART < 18


def test_resume_replaces_nothing(folder):
    (folder / "out.mp4").write_text("mine")
    failed(run("video", *ARGS, "--resume", cwd=folder), "out.mp4 exists already")
    assert (folder / "out.mp4").read_text() == "mine" and not (folder / "out.mp4.parts").exists()
