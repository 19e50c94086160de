"""The programs that try the robustness, with little work."""

from bench.robustness import kill_writing, two_workers


def test_two_processes_do_each_photo_once(capsys):
    assert two_workers.compare(12, 1) == []
    assert "12 photos" in capsys.readouterr().out


def test_a_kill_while_writing_leaves_a_whole_file(tmp_path, capfd):
    assert kill_writing.killed(tmp_path, 3, 0) == []
    assert "3 kills" in capfd.readouterr().out
