"""Files of other programs: what they hold comes through, and hostile ones are refused and never run."""

import io
import json
import os
import pickle
import struct
import zipfile

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nanostyle.io.foreign.arrays import open_arrays
from nanostyle.io.weights import load_weights
from nanostyle.models.importers.vgg import convert
from nanostyle.models.loss_network import load_features
from nanostyle.nets.vgg_config import BLOCKS, PREPROCESS, vgg_layers, vgg_shapes
from tests.support.paths import DATA

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no folder {DATA}: set NANOSTYLE_DATA")
on_files = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])


# --- state dicts ------------------------------------------------------------------------------------------------


def parameters(name="VGG-16", convolutions=3):
    """The first convolutions of a VGG with random numbers, as nanostyle names and lays them out (HWIO)."""
    rng = np.random.default_rng(0)
    shapes = list(vgg_shapes(BLOCKS[name]).items())[: 2 * convolutions]
    return {key: rng.standard_normal(shape, np.float32) for key, shape in shapes}


def as_torchvision(ours, name="VGG-16"):
    """`features.0.weight` (OIHW) …, and small stand-ins for the classifier."""
    index = {layer: i for i, layer in enumerate(vgg_layers(BLOCKS[name]))}
    theirs = {}
    for key, array in ours.items():
        layer, part = key.split("/")
        array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
        theirs[f"features.{index[layer]}.{part}"] = np.ascontiguousarray(array)
    return theirs | {"classifier.0.weight": np.ones((2, 2), np.float32), "classifier.0.bias": np.ones(2, np.float32)}


def as_keras(ours, form):
    """Names of Keras: form is filled with the layer (block1_conv1) and kernel or bias."""
    short = {"weight": ("kernel", "W"), "bias": ("bias", "b")}
    theirs = {}
    for key, array in ours.items():
        layer, part = key.split("/")
        block, number = layer.removeprefix("conv").split("_")
        long, letter = short[part]
        theirs[form.format(layer=f"block{block}_conv{number}", part=long, letter=letter)] = array
    return theirs


def as_keras_3(ours, root="layers"):
    """layers/conv2d/vars/0, …/vars/1, layers/conv2d_1/vars/0, …: by class and order."""
    theirs = {}
    for i, (key, array) in enumerate(ours.items()):
        number = f"_{i // 2}" if i > 1 else ""
        theirs[f"{root}/conv2d{number}/vars/{int(key.endswith('bias'))}"] = array
    return theirs


# --- files, written by hand -------------------------------------------------------------------------------------


def text(value):
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def whole(value):
    return b"J" + struct.pack("<i", value)


def torch_tensor(key, array, legacy):
    """The opcodes with which torch pickles a float32 tensor whose numbers are kept under `key`."""
    strides = [step // array.itemsize for step in array.strides]
    shape, steps = (b"(" + b"".join(map(whole, numbers)) + b"t" for numbers in (array.shape, strides))
    reference = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + whole(array.size)
    reference += b"NtQ" if legacy else b"tQ"
    hooks = b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + reference + whole(0) + shape + steps + b"\x89" + hooks + b"tR"


def torch_pickle(arrays, legacy=False):
    items = (text(name) + torch_tensor(str(i), array, legacy) for i, (name, array) in enumerate(arrays.items()))
    return b"\x80\x02ccollections\nOrderedDict\n)R(" + b"".join(items) + b"u."


def torch_zip(arrays, data=None, compression=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.writestr("vgg/data.pkl", torch_pickle(arrays) if data is None else data)
        archive.writestr("vgg/byteorder", "little")
        for i, array in enumerate(arrays.values()):
            archive.writestr(f"vgg/data/{i}", array.tobytes())
        archive.writestr("vgg/version", "3\n")
    return out.getvalue()


LEGACY_START = (
    pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
)


def torch_legacy(arrays):
    keys = pickle.dumps([str(i) for i in range(len(arrays))], 2)
    data = b"".join(struct.pack("<q", array.size) + array.tobytes() for array in arrays.values())
    return LEGACY_START + torch_pickle(arrays, legacy=True) + keys + data


def safetensors(arrays):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, array in arrays.items():
        place = [len(data), len(data) + array.nbytes]
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": place}
        data += array.tobytes()
    return with_header(json.dumps(header).encode(), data)


def with_header(header, data=b""):
    return struct.pack("<Q", len(header)) + header + data


def npz(arrays):
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def hdf5(arrays):
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return out.getvalue()


@pytest.fixture
def write(tmp_path):
    def write(content, name="source.pth"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


def converted(path, **options):
    """Convert, read back, and give the file."""
    target = path.with_name("out.h5")
    convert(path, target, **options)
    return load_features(target)


def refusal(source, **options):
    target = source.with_name("out.h5")
    with pytest.raises((ValueError, OSError)) as caught:
        convert(source, target, **options)
    message = str(caught.value)
    assert str(source) in message and "\n" not in message and len(message) < 1000
    assert not target.exists()
    return message


def same(weights, ours):
    assert list(weights.parameters) == sorted(ours)
    for name, array in ours.items():
        np.testing.assert_array_equal(weights.parameters[name], array)


# --- every format, every naming ---------------------------------------------------------------------------------

FORMATS = {"pth": torch_zip, "legacy.pth": torch_legacy, "safetensors": safetensors, "npz": npz, "h5": hdf5}


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
        ("net.onnx", b"\x08\x07\x12\x07pytorch"),
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
        assert ".pth (torch), .safetensors, .npz (NumPy), .h5 (Keras)" in message


def test_no_file_and_a_folder(tmp_path):
    assert "there is no such file" in refusal(tmp_path / "no.pth")
    assert "it is a folder" in refusal(tmp_path)


# --- hostile pickles --------------------------------------------------------------------------------------------


class Call:
    """Pickles to a call of a function."""

    def __init__(self, function, *arguments):
        self.what = function, arguments

    def __reduce__(self):
        return self.what


def legacy_of(data):
    return LEGACY_START + data + pickle.dumps([], 2)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("wrap", [torch_zip, legacy_of, lambda data: data], ids=["zip", "legacy", "bare"])
def test_a_pickle_that_would_run_a_command(write, tmp_path, protocol, wrap):
    marker = tmp_path / "marker"
    data = pickle.dumps(Call(os.system, f"touch {marker}"), protocol)
    content = torch_zip(as_torchvision(parameters()), data) if wrap is torch_zip else wrap(data)
    message = refusal(write(content))
    assert f"it would import '{os.system.__module__}.system', which is no part of a tensor" in message
    assert not marker.exists()


@pytest.mark.parametrize("protocol", range(2, 6))
def test_what_else_it_would_import(write, protocol):
    module = "builtins" if protocol > 2 else "__builtin__"  # as Python 2 called it
    for function, arguments in ((eval, ("1",)), (exec, ("1",)), (getattr, ("a", "upper")), (__import__, ("os",))):
        content = {"features.0.weight": [{"deep": (Call(function, *arguments),)}]}
        message = refusal(write(torch_zip({}, pickle.dumps(content, protocol))))
        assert f"it would import '{module}.{function.__name__}'" in message


def test_names_cannot_break_the_line_of_the_error(write):
    message = refusal(write(torch_zip({}, b"\x80\x04" + text("a\nb" * 500) + text("c") + b"\x93.")))
    assert r"it would import 'a\nba\nb" in message


P = b"\x80\x02"


@pytest.mark.parametrize(
    "data, message",
    [
        (P + b"N", "ends in the middle"),
        (P + b"R.", "takes more from the stack"),
        (P + b"t.", "a mark that is not there"),
        (P + b"NNR.", "calls something that makes no tensor"),
        (P + b"ctorch\nFloatStorage\n)R.", "calls something that makes no tensor"),
        (P + b"h\x05.", "recalls a value that it never stored"),
        (P + b"j\xff\xff\xff\xff.", "recalls a value that it never stored"),
        (P + b"Nr\xff\xff\xff\xff.", ""),
        (P + b"Ktorch", ""),
        (P + b"i__main__\nX\n.", "opcode b'i' has no place"),
        (P + b"c" + b"a" * 10_000, "a name in the pickle has no end"),
        (P + b"X\xff\xff\xff\xff", "ends in the middle"),
        (P + b"\x8d" + b"\xff" * 8, "ends in the middle"),
        (P + b"\x8b\xff\xff\xff\xff", "ends in the middle"),
        (P + b"\x95" + b"\xff" * 8 + b"N.", ""),
        (P + b"X\x02\0\0\0\xff\xff.", "utf-8"),
        (P + b"NNa.", "not of that kind"),
        (P + b"}NNs.", "keys that are neither text nor whole numbers"),
        (P + b"NQ.", "not in the form that torch writes"),
        (P + b"ctorch._utils\n_rebuild_tensor_v2\n)R.", "a tensor has no storage"),
        (P + b"ctorch._utils\n_rebuild_parameter\n)R.", "a parameter holds no tensor"),
        (P + b"ccollections\nOrderedDict\nN\x85R.", "not made from keys and values"),
        (P + b"(" * 900_000 + b"N.", ""),
        (P + b"N0" * 600_000 + b"N.", "more than 1000000 opcodes"),
        (P + b"]q\0h\0ah\0.", ""),
        (P + b")" + b"q\0h\0\x86" * 60 + b"q\1}h\1Ns.", "keys that are neither"),
        (P + b"\x8b" + struct.pack("<i", 100_000) + b"\x7f" * 100_000 + b".", ""),
    ],
)
def test_pickles_that_make_no_sense(write, data, message):
    for content in (torch_zip({}, data), legacy_of(data)):
        assert message in refusal(write(content))


def tensor_of(count, offset, shape, strides):
    """A pickled tensor that claims whatever it is told to."""
    numbers = lambda values: b"(" + b"".join(b"\x8a\x09" + v.to_bytes(9, "little") for v in values) + b"t"  # noqa: E731
    reference = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + whole(count) + b"tQ"
    parts = reference + whole(offset) + numbers(shape) + numbers(strides)
    return b"\x80\x02}" + text("features.0.bias") + b"ctorch._utils\n_rebuild_tensor_v2\n(" + parts + b"tRs."


@pytest.mark.parametrize(
    "count, offset, shape, strides, message",
    [
        (64, 0, (65,), (1,), "larger than its storage of 64 numbers"),
        (64, 0, (10**9, 10**9), (0, 0), "larger than its storage"),
        (64, 1, (64,), (1,), "reaches outside its storage"),
        (64, 0, (8, 8), (9, 1), "reaches outside its storage"),
        (64, 0, (2**63,), (1,), "not whole numbers"),
        (64, 0, (64,), (1, 1), "1 sides and 2 strides"),
        (64, 0, (1,) * 40, (1,) * 40, "40 sides"),
        (64, -1, (64,), (1,), "not whole numbers"),
        (65, 0, (64,), (1,), "the data '0' are missing or not 65 float32"),
        (-1, 0, (64,), (1,), "not in the form that torch writes"),
    ],
)
def test_tensors_that_reach_outside_their_data(write, count, offset, shape, strides, message):
    arrays = {"features.0.weight": np.ones(64, np.float32)}
    data = tensor_of(count, offset, shape, strides)
    if message.startswith("the data"):  # it is only met when the tensor is read
        with open_arrays(write(torch_zip(arrays, data))) as entries, pytest.raises(ValueError, match=message):
            entries["features.0.bias"].read()
    else:
        assert message in refusal(write(torch_zip(arrays, data)))


# --- hostile archives -------------------------------------------------------------------------------------------


def test_a_torch_zip_that_is_compressed_is_a_bomb(write):
    arrays = as_torchvision({name: np.zeros_like(array) for name, array in parameters().items()})
    assert "refused as a zip bomb" in refusal(write(torch_zip(arrays, compression=zipfile.ZIP_DEFLATED)))


def test_a_torch_zip_whose_members_overlap_is_a_bomb(write):
    content = torch_zip(as_torchvision(parameters()))
    end = content.rindex(b"PK\x05\x06")
    count, size, start = struct.unpack("<HII", content[end + 10 : end + 20])
    directory = content[start : start + size]
    directory = b"".join([directory, *(directory.replace(b"vgg/data/", b"vgg/%04d/" % i) for i in range(19))])
    tail = struct.pack("<HHII", 20 * count, 20 * count, len(directory), start)
    bomb = content[:start] + directory + content[end : end + 8] + tail + content[end + 20 :]
    with zipfile.ZipFile(io.BytesIO(bomb)) as archive:
        assert len(archive.infolist()) == 20 * count
    assert "refused as a zip bomb" in refusal(write(bomb))


def test_a_torch_zip_without_its_data(write):
    arrays = as_torchvision(parameters())
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("vgg/data.pkl", torch_pickle(arrays))
    assert "are missing or not" in refusal(write(out.getvalue()))


def test_a_big_endian_torch_zip(write):
    content = torch_zip(as_torchvision(parameters())).replace(b"little", b"bigbig")
    refusal(write(content))  # the checksum of the member no longer fits
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("vgg/data.pkl", torch_pickle({}))
        archive.writestr("vgg/byteorder", "big")
    assert "big-endian" in refusal(write(out.getvalue()))


def test_an_npz_of_objects(write, tmp_path):
    marker = tmp_path / "marker"
    content = npz({"features.0.weight": np.array([Call(os.system, f"touch {marker}")], dtype=object)})
    assert "is not an array of numbers" in refusal(write(content, "x.npz"))
    assert not marker.exists()


def npy_zip(header, data=b"", length=None):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        raw = header.encode()
        size = len(raw) if length is None else length
        archive.writestr("conv1_1/weight.npy", b"\x93NUMPY\x02\0" + struct.pack("<I", size) + raw + data)
    return out.getvalue()


@pytest.mark.parametrize(
    "content, message",
    [
        (npy_zip("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000)}"), "not the size"),
        (npy_zip("{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -2)}", bytes(16)), ""),
        (npy_zip("{'descr': '<f4', 'fortran_order': False, 'shape': " + "(1," * 3000), ""),
        (npy_zip("(" * 9000), ""),
        (npy_zip("", bytes(1 << 20), length=2**32 - 1), ""),
        (npy_zip("__import__('os').system('false')"), ""),
        (npy_zip("", b""), ""),
    ],
)
def test_npz_headers_that_make_no_sense(write, content, message):
    assert message in refusal(write(content, "x.npz"), preprocess="caffe")


def test_an_hdf5_file_that_unpacks_to_more_than_it_is(write, tmp_path):
    with h5py.File(tmp_path / "k.h5", "w") as file:
        file.create_dataset("block1_conv1/kernel:0", (1 << 20, 1 << 20), np.float32, chunks=(1, 1 << 10), compression=9)
        file["block1_conv1/bias:0"] = h5py.ExternalLink("/etc/passwd", "/")
    assert "is a link; links are not followed" in refusal(tmp_path / "k.h5")
    with h5py.File(tmp_path / "k.h5", "r+") as file:
        del file["block1_conv1/bias:0"]
    assert "'block1_conv1/kernel:0' is (1048576, 1048576)" in refusal(tmp_path / "k.h5")


# --- cut and shaken ---------------------------------------------------------------------------------------------

SMALL = as_torchvision(parameters(convolutions=1))
WHOLE = {suffix: make(SMALL) for suffix, make in FORMATS.items()}


@pytest.mark.parametrize("suffix", FORMATS)
@on_files
@given(data=st.data())
def test_cut_anywhere(write, suffix, data):
    whole_file = WHOLE[suffix]
    refusal(write(whole_file[: data.draw(st.integers(0, len(whole_file) - 1))], f"cut.{suffix}"))


@pytest.mark.parametrize("suffix", [suffix for suffix in FORMATS if suffix != "h5"])
@on_files
@given(data=st.data())
def test_bytes_changed_anywhere(write, suffix, data):
    """Either the change is refused in one line, or it was in numbers, names or gaps that do not matter."""
    content = bytearray(WHOLE[suffix])
    for _ in range(data.draw(st.integers(1, 4))):
        # The structure is at the two ends, the numbers between them.
        place = data.draw(st.one_of(st.integers(0, 600), st.integers(-600, -1)))
        content[place] = data.draw(st.integers(0, 255))
    source = write(bytes(content), f"changed.{suffix}")
    try:
        convert(source, source.with_name("out.h5"))
    except (ValueError, OSError) as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("suffix", ["pth", "h5", "npz", "safetensors"])
@on_files
@given(
    start=st.sampled_from([b"", b"\x80\x02", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"\x08" + bytes(7) + b"{"]),
    rest=st.binary(),
)
@example(b"", b"c__builtin__\neval\n(V1\ntR.")
def test_random_bytes(write, suffix, start, rest):
    refusal(write(start + rest, f"random.{suffix}"))


@on_files
@given(
    codes=st.lists(
        st.sampled_from(
            [bytes([c]) for c in b"()}]NK\x01tRu.s0abq\x00h\x00\x85\x86\x87\x88Q"]
            + [
                b"ctorch._utils\n_rebuild_tensor_v2\n",
                b"ctorch\nFloatStorage\n",
                b"ccollections\nOrderedDict\n",
                text("storage"),
            ]
        ),
        max_size=60,
    )
)
def test_random_opcodes(write, codes):
    refusal(write(torch_zip({}, b"\x80\x02" + b"".join(codes))))
