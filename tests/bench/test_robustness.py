"""The programs that try the robustness, with little work."""

import pytest

from bench.robustness import bands, kill_writing, server, two_workers


def test_two_processes_do_each_photo_once(capsys):
    assert two_workers.compare(12, 1) == []
    assert "12 photos" in capsys.readouterr().out


def test_a_kill_while_writing_leaves_a_whole_file(tmp_path, capfd):
    assert kill_writing.killed(tmp_path, 3, 0) == []
    assert "3 kills" in capfd.readouterr().out


def test_a_server_outlives_load_broken_input_and_a_crowd(capsys):
    pytest.importorskip("uvicorn")
    assert server.tried(8, 64, 60, 40, 66, 0.2, 0, kill=False, within=30) == []
    assert "Ctrl-C: exit status 0" in capsys.readouterr().out


def test_bands_are_the_picture_in_one_piece(tmp_path, capsys):
    with pytest.raises(SystemExit, match="False"):
        bands.main(["--side", "130", "--memory", "2MB", "--output", str(tmp_path / "bands.json")])
    assert capsys.readouterr().out.count("\n") == 9
