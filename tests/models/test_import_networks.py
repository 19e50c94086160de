"""Style networks of other programs: each gives what its own program gives, computed independently."""

import io
import json

import numpy as np
import pytest

from nanostyle.backend.rows import ArrayRows
from nanostyle.errors import NanostyleError
from nanostyle.models.importers.networks import foreign_model
from nanostyle.models.load import load_model
from nanostyle.models.multistyle import save_model
from nanostyle.nets.banded import BandedTransformer
from tests.support.command import failed, listing, run
from tests.support.foreign_files import safetensors, torch_legacy, torch_zip
from tests.support.foreign_networks import (
    by_lengstrom,
    by_magenta,
    by_pytorch,
    graphdef_bytes,
    lengstrom_arrays,
    magenta_arrays,
    onnx_bytes,
    pytorch_arrays,
    pytorch_module,
    pytorch_nodes,
    raw_folder,
)
from tests.support.paths import DATA, ROOT

PEERS = DATA / "peer-models"
ANDROID = PEERS / "dumoulin-android" / "stylize_quantized.pb"
needs_peers = pytest.mark.skipif(not PEERS.is_dir(), reason=f"no folder {PEERS}: set NANOSTYLE_DATA")

PHOTO = np.random.default_rng(7).random((12, 16, 3), np.float32)
BLOCKS = 2
NAMED = pytorch_arrays(blocks=BLOCKS)


def onnx_of(arrays):
    return onnx_bytes(arrays, pytorch_nodes(BLOCKS))


PYTORCH = {"pth": torch_zip, "old.pth": torch_legacy, "model": torch_zip, "safetensors": safetensors, "onnx": onnx_of}


def convert(tmp_path, source, **options):
    """Through the file, as a user has it."""
    save_model(tmp_path / "out.h5", foreign_model(source, **options))
    return load_model(tmp_path / "out.h5")


def mirrored(photo):
    return np.pad(photo, ((0, -photo.shape[0] % 4), (0, -photo.shape[1] % 4), (0, 0)), "reflect")


# --- PyTorch's examples -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", PYTORCH)
def test_pytorchs_network_in_every_format(tmp_path, suffix):
    pytest.importorskip("torch")
    (tmp_path / f"candy.{suffix}").write_bytes(PYTORCH[suffix](NAMED))
    model = convert(tmp_path, tmp_path / f"candy.{suffix}")
    np.testing.assert_allclose(model.render(PHOTO), by_pytorch(NAMED, PHOTO), atol=0.01 / 255)
    assert model.kind == "feedforward" and model.styles == [f"candy.{suffix}".rpartition(".")[0]]
    assert "pytorch/examples" in model.source and "SHA-256" in model.source and "BSD-3" in model.license


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_files_that_pytorch_itself_writes_at_full_size(tmp_path, new):
    torch = pytest.importorskip("torch")
    arrays = pytorch_arrays((32, 64, 128), blocks=5)
    state = pytorch_module(arrays).state_dict()
    # What old releases kept beside a norm, and a network that was trained on several GPUs.
    state = {f"module.{name}": value for name, value in state.items()} | {"module.in1.running_mean": torch.zeros(32)}
    torch.save(state, tmp_path / "mosaic.pth", _use_new_zipfile_serialization=new)
    model = convert(tmp_path, tmp_path / "mosaic.pth")
    photo = np.random.default_rng(0).random((30, 45, 3), np.float32)
    want = by_pytorch(arrays, mirrored(photo))[:30, :45]
    np.testing.assert_allclose(model.render(photo), want, atol=0.01 / 255)
    assert set(model.net.config) == {"arch", "norm", "upsample", "width", "styles", "identity", "output"}


@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_an_onnx_file_that_pytorch_itself_writes(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript", reason="torch.onnx.export needs onnxscript")
    photo = torch.zeros(1, 3, 16, 16)
    torch.onnx.export(pytorch_module(NAMED), (photo,), str(tmp_path / "a.onnx"), external_data=False)
    model = convert(tmp_path, tmp_path / "a.onnx")
    np.testing.assert_allclose(model.render(PHOTO), by_pytorch(NAMED, PHOTO), atol=0.01 / 255)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda a: a.pop("in3.weight"), "'in3.weight' is missing"),
        (lambda a: a.update({"in9.weight": a["in3.weight"]}), "holds what the network has not: 'in9.weight'"),
        (lambda a: a.update({"in3.weight": a["in2.weight"]}), "'conv3/norm/gamma' has the shape (6,), expected (8,)"),
        (lambda a: a.update({"in3.weight": a["in3.weight"][None]}), "expected 1 sides of floats"),
        (lambda a: a.update({"conv2.conv2d.weight": a["in2.weight"]}), "expected 4 sides of floats"),
    ],
)
def test_a_network_that_is_not_whole(tmp_path, change, words):
    arrays = dict(NAMED)
    change(arrays)
    (tmp_path / "candy.pth").write_bytes(torch_zip(arrays))
    with pytest.raises(ValueError, match="cannot read") as caught:
        foreign_model(tmp_path / "candy.pth")
    assert words in str(caught.value)


def test_numbers_that_are_not_finite_are_not_written(tmp_path):
    (tmp_path / "candy.pth").write_bytes(torch_zip({**NAMED, "in3.weight": NAMED["in3.weight"] * np.inf}))
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        save_model(tmp_path / "out.h5", foreign_model(tmp_path / "candy.pth"))
    assert listing(tmp_path) == ["candy.pth"]


# --- lengstrom --------------------------------------------------------------------------------------------------


def test_lengstroms_network(tmp_path):
    arrays = lengstrom_arrays()
    folder = raw_folder(tmp_path / "wave", arrays)
    model = convert(tmp_path, folder)
    np.testing.assert_allclose(model.render(PHOTO), by_lengstrom(arrays, PHOTO), atol=1e-4)
    assert model.styles == ["wave"] and "commercial" in model.license
    by_manifest = foreign_model(folder / "manifest.json")
    assert by_manifest.styles == ["wave"]
    photo = PHOTO[:11, :13]
    np.testing.assert_allclose(model.render(photo), by_lengstrom(arrays, mirrored(photo))[:11, :13], atol=1e-4)


def test_lengstroms_network_in_bands(tmp_path):
    model = convert(tmp_path, raw_folder(tmp_path / "wave", lengstrom_arrays()))
    photo = np.random.default_rng(0).random((150, 37, 3), np.float32)
    rows = BandedTransformer(model.net, memory=1 << 20)(ArrayRows(photo), {}).read(0, 150)
    np.testing.assert_allclose(rows, model.net(photo[None]).data[0], atol=1e-5)


@needs_peers
@pytest.mark.parametrize("name", ["wave", "udnie", "la_muse"])
def test_lengstroms_trained_networks(name):
    folder = PEERS / "johnson-lengstrom" / name
    manifest = json.loads((folder / "manifest.json").read_text())
    arrays = {key: np.fromfile(folder / key, "<f4").reshape(fields["shape"]) for key, fields in manifest.items()}
    np.testing.assert_allclose(foreign_model(folder).render(PHOTO), by_lengstrom(arrays, PHOTO), atol=1e-4)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda m: m["Variable"].update(filename="../secret"), "has no file beside the manifest, but '../secret'"),
        (lambda m: m["Variable"].update(filename="/etc/passwd"), "has no file beside the manifest"),
        (lambda m: m["Variable"].update(filename="a\\b"), "has no file beside the manifest"),
        (lambda m: m["Variable"].update(shape=[9, 9, 3, 5]), "has not the size that its shape asks for"),
        (lambda m: m["Variable"].update(shape=[-9, 9, 3, 4]), "is not in whole numbers"),
        (lambda m: m["Variable"].update(filename="none"), "No such file"),
        (lambda m: m.update(weightsManifest={}), "it is a TensorFlow.js model, which is not read"),
        (lambda m: m.update(Variable=1), "it is no list of arrays"),
    ],
)
def test_manifests_that_are_refused(tmp_path, change, words):
    folder = raw_folder(tmp_path / "wave", lengstrom_arrays())
    (tmp_path / "secret").write_bytes((folder / "Variable").read_bytes())
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises((ValueError, OSError), match="cannot read") as caught:
        foreign_model(folder)
    assert words in str(caught.value)


def test_a_link_in_the_folder_is_not_followed(tmp_path):
    folder = raw_folder(tmp_path / "wave", lengstrom_arrays())
    (folder / "Variable").rename(tmp_path / "elsewhere")
    (folder / "Variable").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="or is a link"):
        foreign_model(folder)


# --- Magenta ----------------------------------------------------------------------------------------------------


def test_magentas_network(tmp_path):
    arrays = magenta_arrays()
    (tmp_path / "stylize.pb").write_bytes(graphdef_bytes(arrays))
    model = convert(tmp_path, tmp_path / "stylize.pb")
    assert model.kind == "cin" and model.styles == ["style0", "style1", "style2"] and "Apache" in model.license
    for i, name in enumerate(model.styles):
        np.testing.assert_allclose(model.render(PHOTO, name), by_magenta(arrays, PHOTO, i), atol=1e-4)
    assert model.net.config["channels"] == [5, 6, 7, 4, 3] and model.net.config["blocks"] == 2


@needs_peers
def test_the_network_of_android(tmp_path):
    from nanostyle.io.foreign.arrays import open_arrays

    with open_arrays(ANDROID) as entries:
        kept = ("quint8_const", "_min", "_max", "gamma", "beta")
        arrays = {name: entry.read() for name, entry in entries.items() if name.endswith(kept)}
    model = convert(tmp_path, ANDROID)
    assert len(model.styles) == 26
    for i in (0, 11, 25):
        np.testing.assert_allclose(model.render(PHOTO, f"style{i}"), by_magenta(arrays, PHOTO, i), atol=1e-4)


def test_kernels_that_are_no_kernels(tmp_path):
    name = "transformer/contract/conv2/weights"
    for change, words in (
        ({f"{name}_min": np.float32(9)}, "is not a kernel of 8 bits between two numbers"),
        ({f"{name}_quint8_const": np.zeros((3, 3, 5), np.uint8)}, "is not a kernel of 8 bits"),
        ({"transformer/contract/conv2/InstanceNorm/beta": np.zeros((2, 6), np.float32)}, "expected (3, 6)"),
    ):
        (tmp_path / "stylize.pb").write_bytes(graphdef_bytes(magenta_arrays() | change))
        with pytest.raises(ValueError, match="cannot read") as caught:
            foreign_model(tmp_path / "stylize.pb")
        assert words in str(caught.value)


# --- names, thumbnails, and what is done with the model ---------------------------------------------------------


def test_names_and_a_thumbnail(tmp_path):
    (tmp_path / "a.pth").write_bytes(torch_zip(NAMED))
    painting = ROOT / "docs" / "pictures" / "painting.jpg"
    model = foreign_model(tmp_path / "a.pth", names=["candy"], painting=painting)
    assert model.styles == ["candy"] and model.thumbnails["candy"].startswith(b"\xff\xd8")
    (tmp_path / "a.pb").write_bytes(graphdef_bytes(magenta_arrays()))
    assert foreign_model(tmp_path / "a.pb", names=["x", "y", "z"]).styles == ["x", "y", "z"]
    for names in (["x"], ["x", "y", "y"]):
        with pytest.raises(NanostyleError, match="expected 3 that differ, one for each style"):
            foreign_model(tmp_path / "a.pb", names=names)
    with pytest.raises(ValueError, match="the network has 3 styles"):
        foreign_model(tmp_path / "a.pb", painting=painting)


def test_the_command(tmp_path):
    (tmp_path / "candy.pth").write_bytes(torch_zip(NAMED))
    result = run("weights", "convert", "candy.pth", "candy.h5", "--storage", "float16", cwd=tmp_path)
    assert result.returncode == 0 and result.stdout.strip() == "candy.h5: 1 style: candy"
    photo = ROOT / "docs" / "pictures" / "photo.jpg"
    assert run("stylize", photo, "--model", "candy.h5", "--size", 64, "-o", "x.png", cwd=tmp_path).returncode == 0
    words = "weights", "convert", "candy.pth", "x.h5"
    failed(run(*words, "--pooling", "avg", cwd=tmp_path), "SOURCE is a style network; leave --pooling out")
    failed(run(*words, "--painting", "none.jpg", cwd=tmp_path), "none.jpg")
    failed(run("weights", "convert", "candy.pth", "candy.h5", cwd=tmp_path), "exists already")
    (tmp_path / "x.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(30))
    failed(run("weights", "convert", "x.tflite", "x.h5", cwd=tmp_path), "cannot read x.tflite")
    assert "x.h5" not in listing(tmp_path)


def test_a_converted_network_is_trained_further(tmp_path):
    """The new styles of `add-style` come after its own, whose pictures stay the same."""
    (tmp_path / "a.pb").write_bytes(graphdef_bytes(magenta_arrays()))
    before = convert(tmp_path, tmp_path / "a.pb")
    pictures = ROOT / "docs" / "pictures"
    options = ("--steps", 1, "--size", 32, "--batch", 1, "--content", pictures, "--quiet", "-o", "more.h5")
    result = run("add-style", "out.h5", pictures / "painting.jpg", *options, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    after = load_model(tmp_path / "more.h5")
    assert after.styles == [*before.styles, "painting"] and not after.grain
    assert np.array_equal(after.render(PHOTO, "style1"), before.render(PHOTO, "style1"))


def test_nothing_of_a_pickle_is_run(tmp_path):
    import os
    import pickle

    class Call:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'marker'}",)

    out = io.BytesIO()
    pickle.dump({"conv1.conv2d.weight": Call()}, out, 2)
    (tmp_path / "x.pth").write_bytes(torch_zip({}, out.getvalue()))
    with pytest.raises(ValueError, match="which is no part of a tensor"):
        foreign_model(tmp_path / "x.pth")
    assert not (tmp_path / "marker").exists()


def test_what_is_left_of_pytorchs_network_is_told_as_such(tmp_path):
    kept = {name: array for name, array in NAMED.items() if name.startswith(("conv1.", "in1."))}
    (tmp_path / "candy.safetensors").write_bytes(safetensors(kept))
    failed(run("weights", "convert", "candy.safetensors", "a.h5", cwd=tmp_path), "conv2.conv2d.weight", "is missing")
