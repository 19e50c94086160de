"""Photos and frames dealt out to several ranks: the bytes of one process, each photo once, also after a death."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from PIL import Image

from nanostyle.cli import ranks as command
from tests.support import tiny
from tests.support.clips import panned, write_video
from tests.support.killed import LATE, PROGRAM
from tests.support.ranks import SOON, ended, mpiexec, ours, pid_of, run, start_each

STYLE = ["--style", "scream_munch", "--threads", "1"]

LATE_PHOTOS = """
import time
from nanostyle.methods.stylizer import Stylizer

stylize = Stylizer.stylize


def late(*given, **named):
    time.sleep(0.5)
    return stylize(*given, **named)


Stylizer.stylize = late
from nanostyle.__main__ import main
main()"""
"""nanostyle with half a second more for each photo: whoever waits for the first comes before the last."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    mpiexec()
    folder = tmp_path_factory.mktemp("stylize")
    tiny.write_pictures(folder / "photos", 12, size=(160, 200))
    status, lines, _ = run(0, "stylize", "photos", *STYLE, "-o", "one", "--quiet", cwd=folder)
    assert (status, lines) == (0, [])
    return folder


def start_late(ranks, *words, cwd):
    return start_each([(ranks, words)], cwd=cwd, program=("-c", LATE_PHOTOS))


def until(process, is_so, within=60):
    end = time.monotonic() + within
    while not is_so():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


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
    process = start_late(3, "stylize", "photos", *STYLE, "-o", "killed", "--quiet", cwd=folder)
    until(process, lambda: any((folder / "killed").glob("[0-9]*.png")))
    os.kill(pid_of(process, 1), signal.SIGKILL)
    status, _, seconds = ended(process)
    assert status != 0 and seconds < SOON
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


def test_a_rank_that_is_asked_to_end_ends_all_with_one_line(folder):
    process = start_late(3, "stylize", "photos", *STYLE, "-o", "ended", "--quiet", cwd=folder)
    until(process, lambda: any((folder / "ended").glob("[0-9]*.png")))
    os.kill(pid_of(process, 1), signal.SIGTERM)
    status, lines, seconds = ended(process)
    assert (status, seconds < SOON) == (130, True), lines
    assert len(ours(lines)) == 1 and ours(lines)[0].endswith("Interrupted")


def test_what_was_told_is_read_before_an_abort(monkeypatch):
    read, write = os.pipe()
    heard = []

    def reads_late():
        time.sleep(0.3)
        heard.append(os.read(read, 100))

    with os.fdopen(write, "w") as stderr:
        monkeypatch.setattr(command.sys, "stderr", stderr)
        stderr.write("a line\n")
        begun, launcher = time.monotonic(), threading.Thread(target=reads_late)
        launcher.start()
        command._wait_until_read()
        seconds = time.monotonic() - begun
        launcher.join()
    os.close(read)
    assert heard == [b"a line\n"] and seconds > 0.25


# --- frames -------------------------------------------------------------------------------------------------------

FILM = ["video", "film.mp4", *STYLE, "--quiet"]


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    mpiexec()
    pytest.importorskip("av", reason="PyAV is not installed")
    folder = tmp_path_factory.mktemp("films")
    write_video(folder / "film.mp4", panned(20, 72, 96) + panned(20, 72, 96, 2)[::-1], sound="aac")
    for i in range(40):
        edge = np.where(np.arange(96) < 2 * i, 255, 0).astype(np.uint8)
        Image.fromarray(np.tile(edge, (72, 1))).save(folder / f"mask{i:02d}.png")
    status, lines, _ = ended(start_film(0, "-o", "one", cwd=folder))
    assert (status, lines) == (0, [])
    return folder


def start_film(ranks, *words, cwd, program=PROGRAM, **env):
    """Start a film in parts of a few frames."""
    return start_each([(ranks, [*FILM, *words])], cwd=cwd, program=("-c", program), **env)


def has_part(folder, output):
    return lambda: (folder / f"{output}.parts" / "000000.npz").exists()


def test_a_film_has_the_same_bytes_on_any_number_of_ranks(films):
    made = []
    for ranks in (0, 3):
        words = [*FILM, "--mask", "mask%02d.png", "-o", f"{ranks}.mp4", "--json", f"{ranks}.json"]
        status, lines, _ = run(ranks, *words, cwd=films)
        assert (status, lines) == (0, [])
        made.append([(films / f"{ranks}{suffix}").read_bytes() for suffix in (".mp4", ".json")])
    assert made[0] == made[1]


@pytest.mark.parametrize("how", ["killed", "interrupted"])
def test_a_film_that_was_ended_goes_on_to_the_same_bytes(films, how):
    process = start_film(3, "-o", how, cwd=films, program=LATE)
    until(process, has_part(films, how))
    if how == "killed":
        os.kill(pid_of(process, 1), signal.SIGKILL)
    else:
        process.send_signal(signal.SIGINT)
    status, lines, seconds = ended(process)
    assert status != 0 and seconds < SOON
    if how == "interrupted":
        assert status == 130 and len(ours(lines)) == 1, lines
        assert ours(lines)[0].endswith("frames are kept; --resume goes on from there")
    status, lines, _ = ended(start_film(2, "-o", how, "--resume", cwd=films))
    assert (status, lines) == (0, [])
    assert results(films / how) == results(films / "one")


def test_a_film_does_not_wait_for_ever_for_a_rank_that_hangs(films):
    process = start_film(2, "-o", "hangs.mp4", cwd=films, program=LATE, NANOSTYLE_PATIENCE="5")
    until(process, has_part(films, "hangs.mp4"))
    os.kill(pid_of(process, 1), signal.SIGSTOP)
    status, lines, seconds = ended(process)
    assert status == 1 and seconds < SOON
    assert len(ours(lines)) == 1 and "Error: rank 0 of 2 has waited 5 s for the others" in ours(lines)[0]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["none.mp4", *STYLE, "-o", "x.mp4"], "there is no file none.mp4"),
        (["film.mp4", *STYLE, "-o", "x.mp4", "--mask", "mask0%1d.png"], "ends before the video does"),
    ],
)
def test_bad_input_to_a_film_is_one_line(films, words, line):
    status, lines, _ = run(2, "video", *words, "--quiet", cwd=films)
    assert status == 2 and len(lines) == 1 and line in lines[0], lines
    assert ours(lines) == lines
