"""VGG from the files of other programs: what they hold comes through, under every naming and in every format."""

import io
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner

from nanostyle.cli import command
from nanostyle.io.foreign.arrays import open_arrays
from nanostyle.io.foreign.entry import KNOWN
from nanostyle.io.weights import load_weights
from nanostyle.models.importers.vgg import convert
from nanostyle.models.importers.vgg_published import _CAFFE, family_of
from nanostyle.nets.vgg_config import BLOCKS, PREPROCESS, vgg_layers
from tests.support.foreign_files import (
    FORMATS,
    as_keras,
    as_keras_3,
    as_torchvision,
    converted,
    hdf5,
    npz,
    parameters,
    refusal,
    safetensors,
    same,
    text,
    torch_pickle,
    torch_zip,
    whole,
)
from tests.support.paths import DATA

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no folder {DATA}: set NANOSTYLE_DATA")

# --- every format, every naming ---------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", FORMATS)
def test_torchvision_names_in_every_format(write, suffix):
    ours = parameters()
    weights = converted(write(FORMATS[suffix](as_torchvision(ours)), f"vgg.{suffix}"))
    same(weights, ours)
    assert weights.config["preprocess"] == PREPROCESS["torch"]
    assert weights.config["layers"] == ["conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1", "conv2_1", "relu2_1"]
    assert weights.config["padding"] == "zero" and weights.config["pooling"] == "max"
    assert weights.config["architecture"] == "VGG-16 or VGG-19, up to relu2_1"
    assert weights.source.startswith(f"vgg.{suffix}, SHA-256 ")
    assert "BSD" in weights.license


def test_the_suffix_does_not_matter_the_contents_do(write):
    same(converted(write(safetensors(as_torchvision(parameters())), "vgg.bin")), parameters())


@pytest.mark.parametrize(
    "name",
    [
        "{layer}/{layer}_{letter}_1:0",
        "{layer}/{layer}/{part}:0",
        "model_weights/{layer}/{layer}/{part}:0",
        "vgg16/{layer}/{part}:0",
        "{layer}/{part}",
    ],
)
def test_names_of_keras(write, name):
    weights = converted(write(hdf5(as_keras(parameters(), name)), "vgg.h5"))
    same(weights, parameters())
    assert weights.config["preprocess"] == PREPROCESS["caffe"]
    assert weights.config["padding"] == "zero"
    assert "CC BY" in weights.license


@pytest.mark.parametrize("root", ["layers", "_layer_checkpoint_dependencies", "layers/vgg16/layers"])
def test_names_of_keras_3(write, root):
    arrays = as_keras_3(parameters(), root) | {"layers/dense/vars/0": np.ones(3), "optimizer/vars/0": np.ones(1)}
    same(converted(write(hdf5(arrays), "vgg.weights.h5")), parameters())


def test_own_names_do_not_tell_their_preprocessing(write):
    source = write(npz(parameters()), "own.npz")
    assert "give it: torch or caffe" in refusal(source)
    assert converted(source, preprocess="torch").config["preprocess"] == PREPROCESS["torch"]


@pytest.mark.parametrize("network", list(_CAFFE))
@pytest.mark.parametrize("family", ["caffe", "caffe-rgb"])
def test_caffes_numbers_are_known_under_the_names_of_torchvision(write, network, family):
    ours = parameters(network)
    corner = np.asarray(_CAFFE[network])
    ours["conv1_1/weight"][0, 0, :, :3] = 0.3 * (corner if family == "caffe" else corner[::-1])
    weights = converted(write(torch_zip(as_torchvision(ours, network)), "vgg.pth"))
    same(weights, ours)
    assert weights.config["preprocess"] == PREPROCESS[family]
    assert "CC BY" in weights.license


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("vgg19-d01eb7cb.safetensors", "caffe"),
        ("vgg16-00b39a1b-updated.pth", "caffe"),
        ("vgg16_features-amdegroot-88682ab5.pth", "caffe-rgb"),
        ("vgg19-dcbb9e9d.pth", "torch"),
        ("vgg19-0d01eb7cb.pth", "torch"),
        ("vgg19.pth", "torch"),
    ],
)
def test_a_published_file_is_known_by_the_digest_in_its_name(write, name, family):
    weights = converted(write(safetensors(as_torchvision(parameters())), name))
    assert weights.config["preprocess"] == PREPROCESS[family]
    assert ("CC BY" in weights.license) == (family != "torch")


def test_a_published_file_is_known_by_its_own_digest():
    first = np.zeros((3, 3, 3, 64), np.float32)
    assert family_of(first, "renamed.pth", "d01eb7cb" + 56 * "0") == "caffe"
    assert family_of(first, "renamed.pth", 64 * "0") is None


def test_what_was_assumed_is_told(write, tmp_path):
    source = write(safetensors(as_torchvision(parameters())), "vgg19-d01eb7cb.safetensors")
    told = CliRunner().invoke(command, ["weights", "convert", str(source), str(tmp_path / "vgg19.h5")]).output
    assert "preprocessing caffe (BGR in 0..255, less the mean), padding zero, pooling max, license CC BY 4.0" in told


@needs_data
def test_the_real_vgg19_is_known_by_its_numbers(write):
    stored = np.load(DATA / "vgg19" / "vgg19_whole_8bit.npz")
    first = stored["block1_conv1/table"][stored["block1_conv1/index"]]
    assert family_of(first, "x.pth", "") == "caffe"
    assert family_of(first[:, :, ::-1], "x.pth", "") == "caffe-rgb"
    assert family_of(first[::-1], "x.pth", "") is None


def test_rescaled_weights_are_known_by_their_size(write):
    small = {name: array / 100 for name, array in parameters().items()}
    weights = converted(write(npz(as_keras(small, "{layer}/{part}")), "vgg.npz"))
    assert weights.config["padding"] == "reflect"
    assert weights.config["architecture"].endswith("normalized")


def test_what_is_given_goes_before_what_is_told(write):
    source = write(torch_zip(as_torchvision(parameters())))
    options = {"padding": "reflect", "pooling": "avg", "preprocess": "caffe", "source": "here", "license": "mine"}
    weights = converted(source, **options)
    assert [weights.config[key] for key in ("padding", "pooling")] == ["reflect", "avg"]
    assert weights.config["preprocess"] == PREPROCESS["caffe"]
    assert (weights.source, weights.license) == ("here", "mine")
    with pytest.raises(ValueError, match="padding must be zero or reflect"):
        converted(source, padding="edge")


def test_an_npz_in_fortran_order(write):
    arrays = {name: np.asfortranarray(array) for name, array in as_torchvision(parameters()).items()}
    same(converted(write(npz(arrays), "vgg.npz")), parameters())


def test_float16_and_float64_come_as_float32(write):
    for dtype in (np.float16, np.float64):
        arrays = {name: array.astype(dtype) for name, array in as_torchvision(parameters()).items()}
        weights = converted(write(npz(arrays), "vgg.npz"))
        same(weights, {name: array.astype(dtype).astype(np.float32) for name, array in parameters().items()})


def test_a_state_dict_inside_a_checkpoint(write):
    arrays = as_torchvision(parameters())
    inner = torch_pickle(arrays)[2:-1]
    data = b"\x80\x02}(" + text("epoch") + whole(3) + text("model") + inner + b"u."
    same(converted(write(torch_zip(arrays, data))), parameters())


# --- whole networks, at full size -------------------------------------------------------------------------------


@pytest.mark.parametrize("name, convolutions", [("VGG-16", 13), ("VGG-19", 16)])
def test_whole_networks(write, name, convolutions):
    ours = parameters(name, convolutions)
    for content in (torch_zip(as_torchvision(ours, name)), hdf5(as_keras_3(ours))):
        weights = converted(write(content))
        assert weights.config["architecture"] == name
        assert weights.config["layers"] == vgg_layers(BLOCKS[name])
        same(weights, ours)


def test_layers_as_the_paper_has_them():
    assert len(vgg_layers(BLOCKS["VGG-16"])) == 31 and len(vgg_layers(BLOCKS["VGG-19"])) == 37
    assert vgg_layers(BLOCKS["VGG-16"]).index("conv5_3") == 28  # features.28 in torchvision
    assert vgg_layers(BLOCKS["VGG-19"]).index("conv5_4") == 34


def test_files_that_torch_itself_writes(tmp_path):
    torch = pytest.importorskip("torch")
    ours = parameters()
    state = {name: torch.from_numpy(array) for name, array in as_torchvision(ours).items()}
    state["features.0.weight"] = torch.nn.Parameter(state["features.0.weight"])
    # A view, with strides and an offset into a larger storage.
    wide = torch.zeros(64, 64, 3, 5)
    wide[..., 1:4] = state["features.2.weight"]
    state["features.2.weight"] = wide[..., 1:4]
    for zipped in (True, False):
        for content in (state, {"epoch": 3, "lr": 0.1, "model": state}):
            torch.save(content, tmp_path / "t.pth", _use_new_zipfile_serialization=zipped)
            same(converted(tmp_path / "t.pth"), ours)


def test_the_state_dict_of_a_module_with_batch_norm(tmp_path):
    torch = pytest.importorskip("torch")
    net = torch.nn.ModuleDict({"features": torch.nn.Sequential(torch.nn.Conv2d(3, 64, 3), torch.nn.BatchNorm2d(64))})
    torch.save(net.state_dict(), tmp_path / "bn.pth")
    with open_arrays(tmp_path / "bn.pth") as entries:
        assert {name: entry.shape for name, entry in entries.items()} == {
            name: tuple(tensor.shape) for name, tensor in net.state_dict().items()
        }
    assert "batch norm (vgg16_bn, vgg19_bn); convert the one without" in refusal(tmp_path / "bn.pth")


# --- the real files ---------------------------------------------------------------------------------------------


@needs_data
@pytest.mark.parametrize(
    "name, last, kernel",
    [("vgg19_normalised_relu4_1.npz", "relu4_1", "block4_conv1/kernel"), ("vgg_31.h5", "relu3_1", None)],
)
def test_the_normalized_vgg19(tmp_path, name, last, kernel):
    weights = convert(DATA / "vgg19" / name, tmp_path / "vgg19.h5")
    assert weights.config["layers"][-1] == last
    assert weights.config["padding"] == "reflect"
    assert weights.config["preprocess"] == PREPROCESS["caffe"]
    read = load_weights(tmp_path / "vgg19.h5").parameters
    with np.load(DATA / "vgg19" / "vgg19_normalised_relu4_1.npz") as arrays:
        for key in read:
            layer, part = key.replace("conv", "block").replace("_", "_conv").split("/")
            np.testing.assert_array_equal(read[key], arrays[f"{layer}/{'kernel' if part == 'weight' else 'bias'}"])


@needs_data
def test_small_encoders_are_read_but_are_no_vgg(tmp_path):
    torch = pytest.importorskip("torch")
    for path in sorted((DATA / "vgg19-small16x").glob("*.pth")):
        expected = torch.load(path, map_location="cpu", weights_only=True)["model"]
        with open_arrays(path) as entries:
            assert set(entries) == set(expected)
            for name, entry in entries.items():
                np.testing.assert_array_equal(entry.read(), expected[name].numpy())
        with pytest.raises(ValueError, match=r"is named as in VGG-16 or VGG-19.*its first is 'conv"):
            convert(path, tmp_path / "x.h5")


# --- networks that are refused ----------------------------------------------------------------------------------


def test_what_differs_is_listed(write):
    arrays = as_torchvision(parameters())
    without = {name: array for name, array in arrays.items() if name != "features.2.bias"}
    assert "conv1_2/bias is missing" in refusal(write(torch_zip(without)))
    wider = arrays | {"features.2.bias": np.ones(65, np.float32)}
    assert "'features.2.bias' is (65,) float32, must be (64,)" in refusal(write(torch_zip(wider)))
    turned = arrays | {"features.2.weight": np.ones((3, 3, 64, 64), np.float32)}
    assert "must be (64, 64, 3, 3)" in refusal(write(torch_zip(turned)))
    between = arrays | {"features.3.weight": np.ones(64, np.float32)}
    assert "'features.3.weight' is none of its convolutions" in refusal(write(torch_zip(between)))
    whole_numbers = arrays | {"features.0.bias": np.ones(64, np.int64)}
    assert "int64, must be (64,) of floats" in refusal(write(npz(whole_numbers)))


def test_nan_is_refused(write):
    arrays = as_torchvision(parameters())
    arrays["features.0.bias"][3] = np.nan
    source = write(torch_zip(arrays))
    with pytest.raises(ValueError, match="conv1_1/bias holds NaN"):
        convert(source, source.with_name("out.h5"))
    assert not source.with_name("out.h5").exists()


@pytest.mark.parametrize(
    "name, content",
    [
        ("old.t7", b"\x04\0\0\0\x01\0\0\0\x02\0\0\0" + bytes(50)),
        ("note.txt", b"these are not weights"),
        ("empty.pth", b""),
        ("empty.h5", b""),
        ("pictures.zip", None),
    ],
)
def test_unknown_formats_are_told_which_are_known(write, name, content):
    if content is None:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("a.jpg", b"x")
        content = out.getvalue()
    message = refusal(write(content, name))
    if name != "empty.pth":
        assert KNOWN in message


def test_no_file_and_a_folder(tmp_path):
    assert "there is no such file" in refusal(tmp_path / "no.pth")
    assert "it is a folder" in refusal(tmp_path)
