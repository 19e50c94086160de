"""Photos dealt out to several ranks: the bytes of one process, each photo once, also after a death."""

import os
import signal
import time

import pytest

from tests.support import tiny
from tests.support.ranks import ended, mpiexec, ours, pid_of, run, start

STYLE = ["--style", "scream_munch", "--threads", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    mpiexec()
    folder = tmp_path_factory.mktemp("stylize")
    tiny.write_pictures(folder / "photos", 12, size=(160, 200))
    status, lines, _ = run(0, "stylize", "photos", *STYLE, "-o", "one", "--quiet", cwd=folder)
    assert (status, lines) == (0, [])
    return folder


def results(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_ranks_write_the_bytes_of_one_process_and_rank_0_tells(folder):
    status, lines, _ = run(3, "stylize", "photos", *STYLE, "-o", "three", cwd=folder)
    assert status == 0, lines
    assert results(folder / "three") == results(folder / "one")
    assert sum("method cin" in line for line in lines) == 1
    assert sum(line.startswith("three/") for line in lines) == 12


def test_a_bad_photo_is_told_and_the_others_go_on(folder):
    broken = folder / "photos" / "broken.png"
    broken.write_bytes((folder / "photos" / "00.png").read_bytes()[:500])
    status, lines, _ = run(2, "stylize", "photos", *STYLE, "-o", "two", "--quiet", cwd=folder)
    broken.unlink()
    assert status == 1
    assert lines[0] == "Error: 1 of 13 photos could not be stylized:" and "broken.png" in lines[1] and len(lines) == 2
    assert results(folder / "two") == results(folder / "one")


def test_after_a_death_fewer_ranks_do_the_rest(folder):
    process = start(3, "stylize", "photos", *STYLE, "-o", "killed", "--quiet", cwd=folder)
    end = time.monotonic() + 60
    while not (folder / "killed").exists() or not [p for p in (folder / "killed").iterdir() if p.suffix == ".png"]:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    os.kill(pid_of(process, 1), signal.SIGKILL)
    status, _, seconds = ended(process)
    assert status != 0 and seconds < 3
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "killed").iterdir() if path.name[0] != "."}
    words = ["stylize", "photos", *STYLE, "-o", "killed", "--skip-existing"]
    status, lines, _ = run(2, *words, cwd=folder)
    assert status == 0, lines
    assert {n: b for n, b in results(folder / "killed").items() if n[0] != "."} == results(folder / "one")
    assert sum(line.startswith("killed/") for line in lines) == 12 - len(before)
    assert {name: (folder / "killed" / name).stat().st_mtime_ns for name in before} == before


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["nothing", *STYLE, "-o", "x"], "nothing"),
        (["photos", "--style", "unknown", "-o", "x"], "unknown"),
        (["photos", *STYLE, "-o", "one"], "exists already"),
    ],
)
def test_bad_input_is_one_line(folder, words, line):
    status, lines, _ = run(2, "stylize", *words, "--quiet", cwd=folder)
    assert status == 2 and len(lines) == 1, lines
    assert ours(lines) == lines and line in lines[0]
