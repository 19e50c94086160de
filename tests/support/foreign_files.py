"""Files of other programs, written by hand, and state dicts in the names of their libraries."""

import io
import json
import pickle
import struct
import zipfile

import h5py
import numpy as np
import pytest

from nanostyle.models.importers.vgg import convert
from nanostyle.models.loss_network import load_features
from nanostyle.nets.vgg_config import BLOCKS, vgg_layers, vgg_shapes

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


FORMATS = {"pth": torch_zip, "legacy.pth": torch_legacy, "safetensors": safetensors, "npz": npz, "h5": hdf5}


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
