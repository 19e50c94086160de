"""An exported model, converted back, has the same weights to the bit."""

import json

import numpy as np
import pytest

from nanostyle.export.onnx import ExportOptions, export_onnx
from nanostyle.export.restore import restored_model
from nanostyle.models.importers.networks import foreign_model
from nanostyle.models.load import load_model
from nanostyle.models.multistyle import save_model
from nanostyle.nets.predictor import ConvBackbone, VggBackbone
from nanostyle.nn.module import state
from tests.export.test_onnx import SIZES, any_style, many, one_style, ours, photo, session
from tests.support.command import failed, listing, run
from tests.support.foreign_networks import (
    graphdef_bytes,
    lengstrom_arrays,
    magenta_arrays,
    onnx_bytes,
    pytorch_arrays,
    pytorch_nodes,
    raw_folder,
)
from tests.support.networks import vgg_parts

onnx = pytest.importorskip("onnx")


def same(made, model):
    assert type(made) is type(model) and made.styles == model.styles and made.net.config == model.net.config
    assert (made.recipe, made.source, made.license) == (model.recipe, model.source, model.license)
    mine, theirs = state(made.net), state(model.net)
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("upsample", ["nearest", "fractional"])
def test_one_style(tmp_path, norm, upsample):
    path = one_style(tmp_path, norm=norm, upsample=upsample)
    model = load_model(path)
    if norm == "instance":  # its biases make no difference, are zeros in every model, and are not exported
        for name, value in state(model.net).items():
            if name.endswith("/bias") and not name.startswith("output"):
                value = value.copy()
                value[:] = 0
                layer = next(layer for layer in model.net.layers if name == f"{layer.name}/bias")
                layer.convolution.bias.data = value
        save_model(path, model)
    [file] = export_onnx(path, tmp_path / "one.onnx", ExportOptions(layout="nchw"))
    same(restored_model(file), load_model(path))


@pytest.mark.parametrize("style", ["", "b"])
def test_many_styles(tmp_path, style):
    path = many(tmp_path)
    [file] = export_onnx(path, tmp_path / "many.onnx", ExportOptions(style=style))
    same(restored_model(file), load_model(path))


@pytest.mark.parametrize("kind", ["vgg", "conv"])
def test_any_painting(tmp_path, kind):
    backbone = ConvBackbone(np.random.default_rng(3)) if kind == "conv" else VggBackbone(*vgg_parts())
    path = any_style(tmp_path, backbone)
    file, second = export_onnx(path, tmp_path / "any.onnx")
    made, model = restored_model(file), load_model(path)
    same(made, model)
    assert made.fingerprint == model.fingerprint and made.style_size == model.style_size
    with pytest.raises(ValueError, match="the second file of a model for any painting; give the first"):
        restored_model(second)
    second.unlink()
    with pytest.raises(FileNotFoundError, match=r"any\.style\.onnx"):
        restored_model(file)


@pytest.mark.parametrize("name", ["any", "styles"])
def test_the_built_in_models(tmp_path, name):
    file = export_onnx(name, tmp_path / f"{name}.onnx", ExportOptions(check=False))[0]
    same(restored_model(file), load_model(name))


def test_float16(tmp_path):
    [file] = export_onnx(many(tmp_path), tmp_path / "half.onnx", ExportOptions(storage="float16"))
    made = restored_model(file)
    assert made.storage == "float16"
    save_model(tmp_path / "again.h5", made)
    [again] = export_onnx(tmp_path / "again.h5", tmp_path / "again.onnx", ExportOptions(storage="float16"))
    same(restored_model(again), load_model(tmp_path / "again.h5"))


def foreign(tmp_path, program):
    if program == "lengstrom":
        return raw_folder(tmp_path / "wave", lengstrom_arrays())
    content = {
        "pytorch": lambda: onnx_bytes(pytorch_arrays(), pytorch_nodes(2)),
        "magenta": lambda: graphdef_bytes(magenta_arrays()),
    }[program]()
    (tmp_path / f"{program}.onnx").write_bytes(content)
    return tmp_path / f"{program}.onnx"


@pytest.mark.parametrize("program", ["pytorch", "lengstrom", "magenta"])
def test_a_network_of_another_program(tmp_path, program):
    """Imported, exported, equal to ours at every size, and back again."""
    pytest.importorskip("onnxruntime")
    path = tmp_path / "model.h5"
    save_model(path, foreign_model(foreign(tmp_path, program)))
    [file] = export_onnx(path, tmp_path / "out.onnx")
    model, running = load_model(path), session(file)
    for height, width in SIZES:
        x, weights = photo(height, width, 2), np.float32([[0.2, 0.5, 0.3], [0, 0, 1]])
        more = {"weights": weights} if program == "magenta" else {}
        y = running.run(None, {"photo": x, **more})[0]
        want = ours(model.net, x, *more.values()).clip(0, 1)
        np.testing.assert_allclose(y, want, atol=0.1 / 255)
    made = restored_model(file)
    same(made, model)
    assert not made.grain


# --- what is refused --------------------------------------------------------------------------------------


def test_a_graph_that_was_changed(tmp_path):
    [file] = export_onnx(many(tmp_path), tmp_path / "many.onnx")
    model = onnx.load(file)
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type = "Tanh"
    onnx.save(model, file)
    with pytest.raises(ValueError, match="its graph is not the one that nanostyle writes for its weights"):
        restored_model(file)
    failed(run("weights", "convert", file, "x.h5", cwd=tmp_path), "convert it with the version that wrote it, 0.")
    assert listing(tmp_path) == ["many.h5", "many.onnx"]


@pytest.mark.parametrize(
    "change",
    [
        {"config": "{}"},
        {"config": "no JSON"},
        {"layout": "?"},
        {"storage": "float16"},
        {"kind": "features"},
        {"style": "none"},
        {"recipe": "[1]"},
    ],
)
def test_metadata_that_make_no_sense(tmp_path, change):
    [file] = export_onnx(many(tmp_path), tmp_path / "many.onnx")
    model = onnx.load(file)
    for fact in model.metadata_props:
        fact.value = change.get(fact.key, fact.value)
    onnx.save(model, file)
    failed(run("weights", "convert", file, "x.h5", cwd=tmp_path), str(file))
    assert listing(tmp_path) == ["many.h5", "many.onnx"]


def test_an_array_too_few_and_too_many(tmp_path):
    [file] = export_onnx(many(tmp_path), tmp_path / "many.onnx")
    whole = onnx.load(file)
    for change in (lambda g: g.initializer.pop(3), lambda g: g.initializer.add(name="x/y", data_type=1)):
        model = onnx.ModelProto()
        model.CopyFrom(whole)
        change(model.graph)
        onnx.save(model, file)
        with pytest.raises(ValueError, match="cannot read"):
            restored_model(file)


def test_names_and_paintings_are_its_own(tmp_path):
    export_onnx(many(tmp_path), tmp_path / "many.onnx")
    words = "weights", "convert", "many.onnx", "x.h5"
    failed(run(*words, "--name", "a", cwd=tmp_path), "names its styles; leave --name and --painting out")
    result = run(*words, cwd=tmp_path)
    assert result.returncode == 0 and result.stdout.strip() == "x.h5: 4 styles: photo, a, b, c"


def test_metadata_hold_what_the_model_is(tmp_path):
    [file] = export_onnx(many(tmp_path), tmp_path / "many.onnx")
    facts = {fact.key: fact.value for fact in onnx.load(file).metadata_props}
    assert json.loads(facts["config"])["network"]["styles"] == 4
    assert {"license", "recipe", "source", "model_sha256", "styles", "layout", "least_side"} <= facts.keys()
