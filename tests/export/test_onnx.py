"""ONNX files: what ONNX Runtime makes of them is what our own network makes, at any size."""

import json
import sys

import numpy as np
import pytest

from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.errors import NanostyleError
from nanostyle.export import check
from nanostyle.export.onnx import ExportOptions, export_onnx
from nanostyle.models.load import load_model
from nanostyle.models.multistyle import Model, save_model
from nanostyle.models.predictor import Predictor, save_predictor
from nanostyle.models.registry import find
from nanostyle.nets.predictor import ConvBackbone, PredictionNet, VggBackbone
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nets.transformer_config import transformer_config
from nanostyle.nn.module import parameters, state
from tests.support.command import failed, listing, run
from tests.support.networks import vgg_parts

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

SIZES = [(5, 5), (7, 30), (8, 8), (33, 57), (64, 36), (99, 101)]


def session(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def photo(height, width, count=1):
    return np.random.default_rng(height * width).random((count, height, width, 3), np.float32)


def ours(net, *inputs):
    with no_grad():
        return net(*inputs).data


def vary(net):
    """Norms that are not at their start, so that a wrong row shows."""
    rng = np.random.default_rng(5)
    for name, p in parameters(net).items():
        if name.endswith(("/gamma", "/beta", "/bias")):
            p.data = p.data + 0.3 * rng.standard_normal(p.shape).astype(np.float32)
    running = [value for name, value in state(net).items() if "running" in name]
    if running and isinstance(net, TransformerNet):
        with no_grad():
            for i in range(60):  # the averages of photos: with any others the result has one color
                net(photo(48, 48 + i), training=True)
    else:
        for value in running:
            value += rng.random(value.shape).astype(np.float32)
    return net


def one_style(tmp_path, **options):
    config = transformer_config("johnson", width=0.1, **options)
    save_model(tmp_path / "one.h5", Model(vary(TransformerNet(config, np.random.default_rng(0))), ["wave"]))
    return tmp_path / "one.h5"


def many(tmp_path):
    config = transformer_config("dumoulin", width=0.1, styles=4, identity=True)
    net = vary(TransformerNet(config, np.random.default_rng(0)))
    save_model(tmp_path / "many.h5", Model(net, ["photo", "a", "b", "c"]))
    return tmp_path / "many.h5"


def any_style(tmp_path, backbone):
    rng = np.random.default_rng(0)
    net = PredictionNet(TransformerNet(transformer_config("ghiasi", width=0.1), rng), backbone, rng)
    save_predictor(tmp_path / "any.h5", Predictor(vary(net), 32))
    return tmp_path / "any.h5"


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("upsample", ["nearest", "fractional"])
def test_one_style(tmp_path, norm, upsample):
    path = one_style(tmp_path, norm=norm, upsample=upsample)
    [file] = export_onnx(path, tmp_path / "one.onnx")
    running, net = session(file), load_model(path).net
    for height, width in SIZES:
        x = photo(height, width, 2)
        y = running.run(None, {"photo": x})[0]
        np.testing.assert_allclose(y, ours(net, Tensor(x)), atol=0.1 / 255)
        assert y.std() > 1 / 255


def test_many_styles_blends_and_the_photos_own(tmp_path):
    path = many(tmp_path)
    [file] = export_onnx(path, tmp_path / "many.onnx")
    running, net = session(file), load_model(path).net
    weights = np.float32([[1, 0, 0, 0], [0, 0, 1, 0], [0.25, 0.25, 0.1, 0.4]])
    for height, width in SIZES:
        x = photo(height, width, 3)
        y = running.run(None, {"photo": x, "weights": weights})[0]
        np.testing.assert_allclose(y, ours(net, Tensor(x), weights), atol=0.1 / 255)


@pytest.mark.parametrize("style", ["photo", "b"])
def test_a_fixed_style_and_the_other_layout(tmp_path, style):
    path = many(tmp_path)
    [file] = export_onnx(path, tmp_path / "b.onnx", ExportOptions(layout="nchw", style=style))
    running, x = session(file), photo(21, 30)
    assert [i.name for i in running.get_inputs()] == ["photo"]
    y = running.run(None, {"photo": x.transpose(0, 3, 1, 2)})[0].transpose(0, 2, 3, 1)
    model = load_model(path)
    np.testing.assert_allclose(y, ours(model.net, Tensor(x), np.array([model.row(style)])), atol=0.1 / 255)
    assert json.loads(running.get_modelmeta().custom_metadata_map["styles"]) == [style]


@pytest.mark.parametrize("kind", ["vgg", "conv"])
def test_any_painting(tmp_path, kind):
    backbone = ConvBackbone(np.random.default_rng(3)) if kind == "conv" else VggBackbone(*vgg_parts())
    path = any_style(tmp_path, backbone)
    file, style_file = export_onnx(path, tmp_path / "any.onnx")
    assert style_file.name == "any.style.onnx"
    net, painting = load_model(path).net, photo(40, 52, 2)
    embedding = session(style_file).run(None, {"painting": painting})[0]
    np.testing.assert_allclose(embedding, ours(net.predictor.embed, Tensor(painting)), atol=1e-4)
    running = session(file)
    for height, width in SIZES:
        x = photo(height, width, 2)
        y = running.run(None, {"photo": x, "embedding": embedding})[0]
        np.testing.assert_allclose(y, ours(net, Tensor(x), Tensor(embedding)), atol=0.1 / 255)
    assert running.get_modelmeta().custom_metadata_map["least_side"] == "5"


@pytest.mark.parametrize("name", ["any", "styles"])
def test_the_built_in_models(tmp_path, name):
    """Exported with the comparison on; a picture of one color, where norms enlarge rounding, within 4 of 255."""
    file = export_onnx(name, tmp_path / f"{name}.onnx")[0]
    facts = session(file).get_modelmeta().custom_metadata_map
    assert facts["model"] == f"{name}.h5" and "CC BY 4.0" in facts["license"]
    model, x = load_model(name), np.full((1, 40, 40, 3), 0.5, np.float32)
    if name == "any":
        embedding = np.random.default_rng(0).standard_normal((1, 100)).astype(np.float32)
        y, want = session(file).run(None, {"photo": x, "embedding": embedding})[0], ours(model.net, x, embedding)
    else:
        parts = np.eye(len(model.styles), dtype=np.float32)[[5]]
        y, want = session(file).run(None, {"photo": x, "weights": parts})[0], ours(model.net, x, parts)
    np.testing.assert_allclose(y, want, atol=4 / 255)


def test_the_same_model_gives_the_same_bytes_and_half_the_size_in_float16(tmp_path):
    path = one_style(tmp_path)
    first, second, half = (tmp_path / f"{name}.onnx" for name in ("a", "b", "half"))
    export_onnx(path, first)
    export_onnx(path, second)
    assert first.read_bytes() == second.read_bytes()
    export_onnx(path, half, ExportOptions(storage="float16"))
    numbers = sum(p.data.size for p in parameters(load_model(path).net).values())
    assert first.stat().st_size - half.stat().st_size > 1.5 * numbers
    x = photo(20, 20)
    np.testing.assert_allclose(
        session(half).run(None, {"photo": x})[0], session(first).run(None, {"photo": x})[0], atol=2 / 255
    )


# --- what is refused --------------------------------------------------------------------------------------


def test_a_graph_that_is_wrong_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("nanostyle.export.networks.EPS", 0.5)
    with pytest.raises(NanostyleError, match="the file's differs by"):
        export_onnx(one_style(tmp_path), tmp_path / "one.onnx")
    assert listing(tmp_path) == ["one.h5"]


def test_without_onnx(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(NanostyleError, match=r"onnx is not installed; install it with: pip install .nanostyle\[onnx\]"):
        export_onnx(one_style(tmp_path), tmp_path / "one.onnx")
    assert listing(tmp_path) == ["one.h5"]


def test_without_onnx_runtime_nothing_is_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(check.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("nanostyle.export.networks.EPS", 0.5)
    assert export_onnx(one_style(tmp_path), tmp_path / "one.onnx")[0].exists()


def test_bad_requests_are_one_line(tmp_path):
    many(tmp_path)
    failed(run("export", "many.h5", "many.h5.out", cwd=tmp_path), "ends in .onnx")
    failed(run("export", "none.h5", "x.onnx", cwd=tmp_path), "there is no file none.h5")
    failed(run("export", find("builtin"), "x.onnx", cwd=tmp_path), "it is a loss network, expected")
    failed(run("export", "many.h5", "x.onnx", "--style", "d", cwd=tmp_path), "there is no style 'd'")
    failed(run("export", "any", "x.onnx", "--style", "a", cwd=tmp_path), "leave --style out")
    (tmp_path / "x.onnx").write_text("mine")
    failed(run("export", "many.h5", "x.onnx", cwd=tmp_path), "x.onnx exists already")
    assert (tmp_path / "x.onnx").read_text() == "mine"
    assert listing(tmp_path) == ["many.h5", "x.onnx"]


def test_the_command(tmp_path):
    many(tmp_path)
    result = run("export", "many.h5", "a.onnx", "--style", "a", cwd=tmp_path)
    assert result.returncode == 0 and "a.onnx" in result.stderr
    assert {"a.onnx", "many.h5"} <= set(listing(tmp_path))
