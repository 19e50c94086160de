"""Magenta's network for any painting: two TensorFlow Lite models become one of ours."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nanostyle.errors import NanostyleError
from nanostyle.export.onnx import export_onnx
from nanostyle.export.restore import restored_model
from nanostyle.io.foreign.arrays import open_arrays
from nanostyle.models.importers.networks import foreign_model
from nanostyle.models.load import load_model
from nanostyle.models.predictor import save_predictor
from nanostyle.nn.module import state
from tests.models.test_import_networks import PEERS, PHOTO, needs_peers
from tests.support.command import failed, listing, run
from tests.support.tflite_files import by_predict, by_transfer, ghiasi_models, tflite_bytes

FILES = PEERS / "ghiasi-tflite"
PREDICT = FILES / "style_predict_quantized_256.tflite"
PAINTING = np.random.default_rng(3).random((32, 44, 3), np.float32)
BLOCKS = 2


@pytest.fixture(scope="module")
def models():
    return ghiasi_models(BLOCKS)


@pytest.fixture
def folder(tmp_path, models):
    for name, model in zip(("style_transfer", "style_predict"), models, strict=True):
        (tmp_path / f"{name}.tflite").write_bytes(tflite_bytes(*model))
    return tmp_path


def computed(model, photo, painting):
    embedding = model.net.predictor.embed(painting[None]).data
    return embedding, model.net(photo[None], embedding).data[0]


def test_it_gives_what_the_two_models_give(folder, models):
    (transfer, predict), model = models, foreign_model(folder / "style_transfer.tflite")
    save_predictor(folder / "any.h5", model)
    model = load_model(folder / "any.h5")
    embedding, picture = computed(model, PHOTO, PAINTING)
    want = by_predict(*predict, PAINTING)
    np.testing.assert_allclose(embedding, want, atol=1e-4 * np.abs(want).max())
    np.testing.assert_allclose(picture, by_transfer(*transfer, PHOTO, want), atol=1e-4)
    assert model.kind == "predict" and not model.grain and "Apache" in model.license
    assert model.style_size == 256 and model.source.count("SHA-256") == 2
    assert model.net.transformer.config["channels"] == [8, 16, 32, 16, 8]
    np.testing.assert_array_equal(model.render(PHOTO, PAINTING), model.render(PHOTO, model.style(PAINTING)))


@needs_peers
@pytest.mark.parametrize("name", ["f16_384", "quantized_384", "quantized_dynamic"])
def test_magentas_own_files(name):
    path = FILES / f"style_transfer_{name}.tflite"
    model, files = foreign_model(path), []
    for file in (path, PREDICT):
        with open_arrays(file) as entries:
            arrays = {key.removesuffix("/read"): entry.read() for key, entry in entries.items()}
            works = [[key.removesuffix("_dequantize").removesuffix("/read") for key in i] for i in entries.inputs]
            files.append((arrays, works))
    embedding, picture = computed(model, PHOTO, PAINTING)
    want = by_predict(*files[1], PAINTING)
    np.testing.assert_allclose(embedding, want, atol=1e-4 * np.abs(want).max())
    np.testing.assert_allclose(picture, by_transfer(*files[0], PHOTO, want), atol=1e-4)


@needs_peers
def test_what_tensorflow_lite_itself_computes():
    """The model of float16 to 1e-4; those of 8 bits round between the layers."""
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    running = litert.Interpreter(str(FILES / "style_transfer_f16_384.tflite"))
    running.allocate_tensors()
    rng = np.random.default_rng(0)
    photo = rng.random((384, 384, 3), np.float32)
    embedding = rng.standard_normal((1, 100)).astype(np.float32)
    for details in running.get_input_details():
        running.set_tensor(details["index"], photo[None] if "content" in details["name"] else embedding[:, None, None])
    running.invoke()
    theirs = running.get_tensor(running.get_output_details()[0]["index"])[0]
    model = foreign_model(FILES / "style_transfer_f16_384.tflite")
    np.testing.assert_allclose(model.net(photo[None], embedding).data[0], theirs, atol=1e-4)


def test_it_is_exported_and_comes_back(folder):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    save_predictor(folder / "any.h5", foreign_model(folder / "style_transfer.tflite"))
    first, second = export_onnx(folder / "any.h5", folder / "any.onnx")
    model = load_model(folder / "any.h5")
    session = runtime.InferenceSession(str(second), providers=["CPUExecutionProvider"])
    for painting in (PAINTING, PAINTING[:31, :33]):
        embedding = session.run(None, {"painting": painting[None]})[0]
        want = model.net.predictor.embed(painting[None]).data
        np.testing.assert_allclose(embedding, want, atol=1e-4 * np.abs(want).max())
    made = restored_model(first)
    assert made.fingerprint == model.fingerprint and not made.grain
    for name, value in state(made.net).items():
        np.testing.assert_array_equal(value, state(model.net)[name], err_msg=name)


# --- which files ------------------------------------------------------------------------------------------------


def test_the_second_file_is_found_or_named(folder):
    (folder / "style_predict.tflite").rename(folder / "b.tflite")
    assert "b.tflite" in foreign_model(folder / "style_transfer.tflite").source
    (folder / "c.tflite").write_bytes((folder / "b.tflite").read_bytes())
    with pytest.raises(NanostyleError, match="and 2 files beside it are the second"):
        foreign_model(folder / "style_transfer.tflite")
    by_name = foreign_model(folder / "style_transfer.tflite", style_network=folder / "c.tflite")
    assert "c.tflite" in by_name.source


def test_the_command(folder):
    words = "weights", "convert", "style_transfer.tflite", "any.h5"
    failed(run(*words, "--name", "a", cwd=folder), "it takes any painting; leave --name and --painting out")
    failed(run("weights", "convert", "style_predict.tflite", "x.h5", cwd=folder), "give style_transfer")
    failed(run(*words, "--style-network", "style_transfer.tflite", cwd=folder), "MobilenetV2/Conv/weights' is missing")
    (folder / "style_predict.tflite").unlink()
    failed(run(*words, cwd=folder), "name it with --style-network")
    assert listing(folder) == ["style_transfer.tflite"]


def test_a_kernel_that_is_missing(folder, models):
    arrays, works = models[0]
    few = {name: array for name, array in arrays.items() if name != "transformer/contract/conv2/weights"}
    (folder / "style_transfer.tflite").write_bytes(tflite_bytes(few, works))
    with pytest.raises(ValueError, match=r"'transformer/contract/conv2/weights' is missing"):
        foreign_model(folder / "style_transfer.tflite")


# --- the format -------------------------------------------------------------------------------------------------

SMALL = {
    "w": np.arange(-6, 6, dtype=np.int8).reshape(3, 2, 2),
    "one": np.arange(4, dtype=np.int8),
    "half": np.float16([0.5, 2]),
}
SCALES = {"w": ([1.0, 2.0, 3.0], 0), "one": ([0.25], 0)}
on_files = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_numbers_of_8_bits_have_a_scale_or_one_for_each_channel(tmp_path):
    (tmp_path / "x.tflite").write_bytes(tflite_bytes(SMALL, [("x", "w", "half")], SCALES))
    with open_arrays(tmp_path / "x.tflite") as found:
        np.testing.assert_array_equal(found["w"].read(), SMALL["w"] * np.float32([[[1]], [[2]], [[3]]]))
        np.testing.assert_array_equal(found["one"].read(), [0, 0.25, 0.5, 0.75])
        np.testing.assert_array_equal(found["half"].read(), SMALL["half"])
        assert found.inputs == [("x", "w", "half")]


def test_scales_that_fit_no_axis(tmp_path):
    (tmp_path / "x.tflite").write_bytes(tflite_bytes(SMALL, scales={"w": ([1.0, 2.0], 0)}))
    with pytest.raises(ValueError, match="'w' needs one scale, or one for each channel"):
        foreign_model(tmp_path / "x.tflite")


@on_files
@given(data=st.data())
def test_cut_anywhere_and_changed_anywhere(tmp_path, data):
    """One line, or what other bytes mean."""
    whole = tflite_bytes(SMALL, [("x", "w", "half")], SCALES)
    changed = bytearray(whole[: data.draw(st.integers(9, len(whole)))])
    for _ in range(data.draw(st.integers(0, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "x.tflite").write_bytes(changed)
    try:
        foreign_model(tmp_path / "x.tflite")
    except (ValueError, OSError) as error:
        assert "\n" not in str(error) and len(str(error)) < 1000
