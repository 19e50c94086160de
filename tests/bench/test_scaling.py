"""The model of the scaling, and the race over a folder."""

import json
import sys

import pytest

from nanostyle.backend.threads import set_threads, thread_count


@pytest.fixture
def speed():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    before = thread_count()
    yield
    set_threads(before)


def test_a_region_takes_as_long_as_its_jobs_on_free_threads(speed):
    from bench.speed.scaling import Parts, makespan

    assert makespan([3, 2, 2, 1], 1) == 8
    assert makespan([3, 2, 2, 1], 2) == 4
    assert makespan([3, 2, 2, 1], 16) == 3
    parts = Parts(10.0, [[3, 2, 2, 1], [1.0]])
    assert parts.serial == 1
    assert parts.on(2, 0.5, 0) == 1 + 4 + 0.5 + 1
    assert parts.on(16, 0.0, 7.0) == 7


def test_every_region_of_a_pass_is_timed_and_the_parts_make_the_whole(speed, tmp_path, monkeypatch):
    from bench.speed import scaling

    monkeypatch.setattr(scaling, "SIZES", {"256x256": (32, 32)})
    monkeypatch.setattr(scaling, "_memory_speed", lambda every: 1e10)
    scaling.main(["--rounds", "3", "--sizes", "256x256", "--output", str(tmp_path / "scaling.json")])
    (row,) = json.loads((tmp_path / "scaling.json").read_text())["passes"]
    assert row["regions"] > 20  # each layer's convolution and norm
    assert 0 < row["serial_ms"] < row["reckoned_ms"]["1"]
    assert row["reckoned_ms"]["1"] == pytest.approx(row["measured_ms"]["1"], rel=3)
    assert "timed" not in {getattr(m, "parallel", len).__name__ for m in list(sys.modules.values()) if m}


def test_a_folder_is_raced(speed, tmp_path, monkeypatch, capsys):
    from bench.speed import folder, runtimes

    monkeypatch.setattr(runtimes, "installed", lambda: ())
    folder.main(["--photos", "2", "--size", "64", "--rounds", "1", "--output", str(tmp_path / "folder.json")])
    report = json.loads((tmp_path / "folder.json").read_text())
    assert report["photos"] == "2 of 64x48" and report["seconds"]["nanostyle"] > 0


def test_the_loop_makes_a_picture_of_each_photo(speed, tmp_path):
    from PIL import Image

    from bench.speed import folder, runtimes
    from bench.speed.onnx_nets import graph_of
    from nanostyle.diagnostics.speed import transformer

    if runtimes.ONNX_RUNTIME not in runtimes.installed():
        pytest.skip("ONNX Runtime is not installed")
    (tmp_path / "in").mkdir(), (tmp_path / "out").mkdir()
    Image.new("RGB", (32, 24), (200, 100, 50)).save(tmp_path / "in" / "a.jpg")
    (tmp_path / "m.onnx").write_bytes(graph_of(transformer(), 24, 32))
    folder._loop(runtimes.ONNX_RUNTIME, tmp_path / "m.onnx", tmp_path / "in", tmp_path / "out")
    with Image.open(tmp_path / "out" / "a.jpg") as result:
        assert result.size == (32, 24)
