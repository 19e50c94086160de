"""The rows of `nanostyle bench networks`, and the judge of the comparisons with PyTorch."""

import json
import subprocess
import sys

import numpy as np
import pytest

from nanostyle import load_model
from nanostyle.autograd.tensor import no_grad
from nanostyle.backend.threads import set_threads, thread_count
from nanostyle.diagnostics.speed import (
    gatys_objective,
    gemm_peak,
    networks,
    picture,
    stylize,
    transformer,
    vgg19,
)
from nanostyle.nets.cost import transformer_flops
from tests.support.paths import ROOT


@pytest.fixture(autouse=True)
def same_threads_afterwards():
    before = thread_count()
    yield
    set_threads(before)


def test_rows_are_yielded_without_printing(monkeypatch, capsys):
    monkeypatch.setattr(
        "nanostyle.diagnostics.speed.SIZES", dict.fromkeys(("256x256", "512x512", "1920x1080"), (16, 16))
    )
    monkeypatch.setattr("nanostyle.diagnostics.speed.gemm_peak", lambda: 50.0)
    rows = list(networks(rounds=1))
    assert [row.name for row in rows] == [
        "transformer 256x256",
        "transformer 512x512",
        "transformer 1920x1080",
        "VGG-19 gradient 256x256",
        "VGG-19 gradient 512x512",
    ]
    for row in rows:
        assert row.milliseconds > 0
        assert row.share == pytest.approx(row.gflops / 50)
    flops = transformer_flops(transformer(), 16, 16)
    assert rows[0].gflops == pytest.approx(flops / rows[0].milliseconds / 1e6)
    assert capsys.readouterr().out == ""


def test_gemm_peak_is_a_speed():
    assert 0.01 < gemm_peak(side=64, rounds=1) < 1e5


def test_the_gradient_of_the_loss_points_down():
    objective = gatys_objective(vgg19(), picture(1, 16, 16, seed=1), picture(1, 16, 16, seed=2))
    x = picture(1, 16, 16)
    values, gradient = objective(x)
    ahead, _ = objective(x - np.float32(1e-2) * gradient / np.abs(gradient).max())
    assert ahead[-1] < values[-1]


# --- against PyTorch --------------------------------------------------------------------------------------


@pytest.fixture
def pairing():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from bench.speed import pairing

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield pairing
    torch.set_num_threads(before)


def work_of(pairing, *, off, name="sum"):
    results = {"nanostyle": {"x": np.array([3.0, 4.0 + off])}, "eager": {"x": np.array([3.0, 4.0])}}
    results["channels_last"] = results["eager"]
    return pairing.Work(name, lambda contestant: lambda: results[contestant], 1e6, {"x": 1e-3}, rounds=3)


def test_equal_results_are_timed_and_written(pairing, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(pairing, "gemm_peak", lambda: 50.0)
    monkeypatch.setattr(pairing, "_peak_of", lambda *_: 10.0)
    output = tmp_path / "result.json"
    pairing.main(
        "networks", lambda quick: [work_of(pairing, off=1e-3)], ["--threads", "1", "2", "--output", str(output)]
    )
    report = json.loads(output.read_text())
    assert [row["threads"] for row in report["works"]] == [1, 2]
    row = report["works"][1]
    assert row["errors"]["nanostyle"]["x"] == pytest.approx(1e-3 / 5)
    assert set(row["ms"]) == {"nanostyle", "eager", "channels_last"}
    assert len(row["all_ms"]["eager"]) == 3 and row["ratio"] > 0
    assert row["peak_mb"]["nanostyle"] == 10
    assert report["machine"]["versions"]["numpy"] == np.__version__
    assert "ratio" in capsys.readouterr().out


def test_different_results_are_not_timed(pairing, tmp_path):
    output = tmp_path / "result.json"
    with pytest.raises(SystemExit, match=r"sum: x of nanostyle differs from PyTorch's by 2\.0e-02"):
        pairing.main("networks", lambda quick: [work_of(pairing, off=0.1)], ["--output", str(output)])
    assert not output.exists()


def test_a_runtime_whose_result_differs_is_named_and_left_out(pairing, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(pairing, "gemm_peak", lambda: 50.0)
    monkeypatch.setattr(pairing, "_peak_of", lambda *_: 10.0)
    monkeypatch.setattr(pairing.runtimes, "installed", lambda: ("OpenVINO", "ONNX Runtime"))
    monkeypatch.setattr(pairing.runtimes, "versions", dict)
    off = {"OpenVINO": 0.1, "ONNX Runtime": 1e-4}

    def build(contestant):
        return lambda: {"x": np.array([3.0, 4.0 + off.get(contestant, 0)])}

    work = pairing.Work("sum", build, 1e6, {"x": 1e-3}, rounds=3, peers=tuple(off))
    output = tmp_path / "result.json"
    pairing.main("networks", lambda quick: [work], ["--threads", "1", "--output", str(output)])
    (row,) = json.loads(output.read_text())["works"]
    assert row["left_out"] == ["OpenVINO"] and set(row["ratios"]) == {"eager", "channels_last", "ONNX Runtime"}
    assert set(row["peak_mb"]) == {"nanostyle", "eager", "channels_last", "ONNX Runtime"}
    assert "sum: x of OpenVINO differs from PyTorch's by 2.0e-02, more than 1e-03: left out" in capsys.readouterr().out


def test_results_that_are_not_numbers_are_not_timed(pairing, tmp_path):
    with pytest.raises(SystemExit, match="differs"):
        pairing.main("networks", lambda quick: [work_of(pairing, off=np.nan)], ["--output", str(tmp_path / "r")])


def test_an_unknown_work_is_named(pairing):
    with pytest.raises(SystemExit, match="no work is called 'nothing': sum"):
        pairing.main("networks", lambda quick: [work_of(pairing, off=0)], ["--only", "nothing"])


PEAK = """
import numpy as np
from bench.speed import pairing
work = pairing.Work("large", lambda contestant: lambda: {"x": np.ones(80 << 20, np.uint8)}, 1, {})
print(pairing._own_peak(work, "nanostyle"))
"""


def test_peak_memory_is_that_of_the_work(pairing):
    # In a process of its own, as the bench does: what other tests have held here is the most that there was.
    told = subprocess.run([sys.executable, "-c", PEAK], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 60 < float(told.stdout) < 400


@pytest.mark.parametrize("upsample", ["nearest", "fractional"])
def test_the_transformer_in_torch_is_the_same(pairing, upsample):
    from bench.speed.torch_nets import Transformer, pictures, tensor

    net, photo = transformer(upsample), picture(2, 24, 20)
    theirs = pictures(Transformer(net)(tensor(photo)))
    np.testing.assert_allclose(stylize(net, photo), theirs, atol=1e-4)


@pytest.mark.parametrize("name", ["ONNX Runtime", "OpenVINO", "OpenVINO bf16"])
@pytest.mark.parametrize("upsample", ["nearest", "fractional"])
def test_the_transformer_in_the_runtimes_is_the_same(name, upsample):
    from bench.speed import runtimes
    from bench.speed.onnx_nets import graph_of

    if name not in runtimes.installed():
        pytest.skip(f"{name} is not installed")
    net, photo = transformer(upsample), picture(1, 24, 20)
    run = runtimes.loaded(name, graph_of(net, 24, 20), threads=1)
    theirs = run(np.ascontiguousarray(photo.transpose(0, 3, 1, 2))).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(stylize(net, photo), theirs, atol=0.2 if name == runtimes.BF16 else 1e-4)


def test_a_network_of_many_styles_in_onnx_runtime_is_the_same():
    from bench.speed import runtimes
    from bench.speed.onnx_nets import graph_of

    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    pytest.importorskip("onnx", reason="onnx is not installed")
    net = load_model("styles", device="cpu").net
    photo = picture(1, 24, 20)
    rows = net.blend({3: 1.0}, photo)
    run = runtimes.loaded(runtimes.ONNX_RUNTIME, graph_of(net, 24, 20, rows), threads=1)
    theirs = run(np.ascontiguousarray(photo.transpose(0, 3, 1, 2))).transpose(0, 2, 3, 1)
    with no_grad():
        np.testing.assert_allclose(net(photo, rows).data, theirs, atol=1e-4)


def test_a_result_in_bfloat16_is_not_held_to_the_tolerance(pairing):
    work = work_of(pairing, off=0)
    runs = {"eager": work.build("eager"), "OpenVINO bf16": lambda: {"x": np.array([3.3, 4.0])}}
    found = pairing._compare(work, runs)["OpenVINO bf16"]
    assert found["x"] == pytest.approx(0.06)
    assert pairing._differs(work, "OpenVINO bf16", found) == ""
    assert "x of OpenVINO differs" in pairing._differs(work, "OpenVINO", found)


@pytest.mark.parametrize("script", ["training", "gatys"])
def test_first_results_agree(pairing, script):
    import importlib

    module = importlib.import_module(f"bench.speed.{script}")
    run = {"training": lambda c: module._step(c, 2, 32), "gatys": lambda c: module._optimize(c, 32, 2)}[script]
    ours, theirs = run("nanostyle")(), run("channels_last")()
    tolerance = 1e-4 if script == "training" else 0.2
    assert ours["loss"] == pytest.approx(theirs["loss"], rel=tolerance)
    if script == "training":
        assert pairing._error(ours["gradient"], [g.numpy() for g in theirs["gradient"]]) < 2e-2


def test_the_gradient_in_float32_is_that_of_float64(tmp_path, monkeypatch, capsys):
    """End to end; a decision near a tie that falls otherwise is no error of the arithmetic."""
    from bench.robustness import accuracy

    monkeypatch.setattr(accuracy.conv, "TILE", accuracy.conv.TILE)  # put back afterwards
    report = accuracy.main(["--size", "32", "--seeds", "3", "--output", str(tmp_path / "accuracy.json")])
    assert report["Winograd, tiles of 4"]["median"] < 3e-3
    for way in ("Winograd, tiles of 2", "im2col"):
        assert report[way]["largest without a flip"] < 1e-5
    assert "median" in capsys.readouterr().out
