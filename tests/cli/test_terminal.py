"""What the progress line says."""

import pytest

from nanostyle.cli import terminal


@pytest.mark.parametrize("begun", [0, 500])
def test_the_time_left_counts_the_steps_of_this_run_alone(monkeypatch, capsys, begun):
    clock = iter(range(0, 1000, 2))  # two seconds a step
    monkeypatch.setattr(terminal.time, "monotonic", lambda: float(next(clock)))
    progress = terminal.Progress("model.h5")
    for step in range(begun + 1, begun + 101):
        progress.show(step, begun + 1000)
    last = capsys.readouterr().err.splitlines()[-1]
    expected = {0: "100/1000 30:00 left", 500: "600/1500 30:00 left"}[begun]
    assert expected in last
