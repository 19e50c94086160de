"""The scripts for a GPU, as far as they go without one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.speed import gpu_networks, gpu_report
from tests.support.paths import ROOT

SCRIPT = ROOT / "bench" / "speed" / "gpu_day.sh"


def run(*command):
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_gpu_day_says_what_it_would_do(tmp_path):
    plan = run("bash", str(SCRIPT), "--dry-run", "--quick", "--out", str(tmp_path / "new folder"))
    assert plan.returncode == 0, plan.stderr
    lines = plan.stdout.splitlines()
    assert [line.split(" (")[0] for line in lines] == ["tests", "sanitizer", "racecheck", "kernels", "networks"]
    assert f"--quick --precision fp16 tf32 --out {tmp_path / 'new folder'}" in lines[3]
    assert sum(int(line.split("at most ")[1].split(" s")[0]) for line in lines) <= 9 * 60
    for line in lines:
        assert all((ROOT / word).exists() for word in line.split() if word.startswith("tests/"))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("given", [("--fast",), ("--out",)])
def test_gpu_day_refuses_what_it_does_not_know(given):
    refused = run("bash", str(SCRIPT), *given)
    assert refused.returncode != 0
    assert "--out" in refused.stderr


@pytest.mark.parametrize("script", ["kernels", "gpu_networks"])
def test_without_a_gpu_one_line_says_so(script, tmp_path, monkeypatch):
    missing = run(sys.executable, "-m", f"bench.speed.{script}", "--out", str(tmp_path))
    if missing.returncode == 0:
        pytest.skip("there is a GPU")
    assert missing.stderr.splitlines()[-1:] == missing.stderr.splitlines()
    assert missing.stderr.startswith("bench: ")
    assert not any(tmp_path.iterdir())
    assert run(sys.executable, "-m", f"bench.speed.{script}", "--precision", "fp64").returncode == 2


def test_gpu_day_needs_a_gpu(tmp_path):
    missing = run("bash", str(SCRIPT), "--out", str(tmp_path / "results"))
    assert missing.returncode == 2
    assert missing.stderr.startswith("gpu_day.sh: device cuda: ")
    assert not (tmp_path / "results").exists()


def race(ours=0.0, theirs=0.0, **more):
    """With errors of so much."""
    runs = {"nanostyle": list, "eager": list, **more}
    return gpu_networks.Race(
        "it", runs, {"nanostyle": 1 + np.array([ours]), "eager": 1 + np.array([theirs])}, np.ones(1)
    )


@pytest.fixture
def timed(monkeypatch):
    """Whatever is timed takes 2 ms, and the next 4, and so on."""
    monkeypatch.setattr(
        gpu_networks, "milliseconds", lambda torch, works, rounds: [2.0 * i for i in range(1, 4)][: len(works)]
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "passes"),
    [(0.02, 0.0, True), (0.1, 0.09, True), (0.1, 0.05, False), (0.1, np.inf, False), (np.nan, 0.1, False)],
)
def test_ours_may_be_as_far_from_float32_as_pytorch(ours, theirs, passes, timed):
    row = gpu_networks.row(None, race(ours, theirs), "fp16", 1)
    np.testing.assert_allclose([row["error"], row["eager error"]], [ours, theirs], rtol=1e-9)
    assert ("nanostyle ms" in row, row.get("result")) == (passes, None if passes else "differs: not timed")


def test_a_row_is_not_lost_where_it_does_not_compile(timed):
    def fails():
        raise RuntimeError("no compiler")

    row = gpu_networks.row(None, race(compiled=fails), "tf32", 1)
    assert (row["nanostyle ms"], row["eager ms"], row["compiled ms"], row["ratio"]) == (2, 4, "failed: RuntimeError", 2)
    assert gpu_networks.row(None, race(compiled=list), "tf32", 1)["compiled ms"] == 6


def test_the_parts_are_put_together(tmp_path, capsys):
    (tmp_path / "gpu_day.tsv").write_text("tests\tpassed\t12\nkernels\tfailed with status 1\t3\n")
    (tmp_path / "kernels.json").write_text('{"rows": []}')
    (tmp_path / "kernels.md").write_text("a card\n")
    gpu_report.main([str(tmp_path)])
    report = json.loads((tmp_path / "gpu_day.json").read_text())
    assert report["parts"][1] == {"part": "kernels", "result": "failed with status 1", "seconds": 3}
    assert report["kernels"] == {"rows": []}
    text = (tmp_path / "gpu_day.md").read_text()
    assert "| tests | passed | 12 |" in text and "## kernels\n\na card" in text
    with pytest.raises(SystemExit, match="expected the folder"):
        gpu_report.main([str(tmp_path)])
