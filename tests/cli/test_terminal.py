"""What the progress line says."""

import pytest

from nanostyle.cli import terminal


@pytest.mark.parametrize("begun", [0, 500])
def test_the_time_left_counts_the_steps_of_this_run_alone(monkeypatch, capsys, begun):
    clock = iter(range(0, 1000, 2))  # two seconds a step
    monkeypatch.setattr(terminal.time, "monotonic", lambda: float(next(clock)))
    progress = terminal.ProgressBar("model.h5")
    for step in range(begun + 1, begun + 101):
        progress.show(step, begun + 1000)
    last = capsys.readouterr().err.splitlines()[-1]
    expected = {0: "100/1000 30:00 left", 500: "600/1500 30:00 left"}[begun]
    assert expected in last


def test_a_photo_counts_in_parts(monkeypatch, capsys):
    """Two of four photos and half of the third are done after 50 s: 30 s are left."""
    clock = iter([0.0, 0.0, 50.0])
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(clock))
    progress = terminal.ProgressBar("4 photos")
    progress.show(0, 4)
    progress.show(2.5, 4, "c.jpg")
    assert capsys.readouterr().err.splitlines()[-1] == f"4 photos [{'#' * 15}{'-' * 9}] 2/4 0:30 left  c.jpg"


def test_a_line_stands_above_the_bar(monkeypatch, capsys):
    monkeypatch.setattr(terminal.sys.stderr, "isatty", lambda: True, raising=False)
    progress = terminal.ProgressBar("4 photos")
    progress.show(1, 4)
    bar = capsys.readouterr().err
    progress.say("a.png  (6x4)")
    said = capsys.readouterr().err
    assert said == "\r" + " " * (len(bar) - 1) + "\r" + "a.png  (6x4)\n"


def test_an_unknown_error_is_one_line():
    assert terminal.explained(RuntimeError("a\nb")) == "internal fault: RuntimeError: a b"
    assert terminal.explained(MemoryError("numpy")) == "not enough memory for this picture; use a smaller --size"


NAME = "a\nb\x1b[31m\u2028 é 写\u3000真.jpg"
SHOWN = "a\\nb\\x1b[31m\\u2028 é 写\u3000真.jpg"


def test_names_cannot_command_the_terminal(monkeypatch, capsys):
    progress = terminal.ProgressBar(NAME)
    progress.show(1, 1, NAME)
    progress.say(NAME)
    line, said = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{SHOWN} [") and line.endswith(SHOWN) and said == SHOWN
    assert terminal.explained(FileNotFoundError(2, "not there", NAME.replace("\n", ""))).startswith("ab\\x1b[31m")
    assert terminal.printable("caf\udce9.jpg") == "caf\udce9.jpg"
