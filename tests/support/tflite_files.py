"""TensorFlow Lite models written by hand: FlatBuffers, and Magenta's network for any painting with random weights."""

import struct

import numpy as np

from tests.support import reference
from tests.support.foreign_networks import magenta_layers

# --- FlatBuffers ------------------------------------------------------------------------------------------------


class Table(dict):
    """Fields by number: (format, number), bytes, an array, a table, or a list of tables."""


def flatbuffer(root, magic=b"TFL3"):
    """A file whose root is `root`: what a table refers to comes after it."""
    out = bytearray(4) + bytearray(magic)
    struct.pack_into("<I", out, 0, _write(out, root))
    return bytes(out)


def _aligned(out):
    out += bytes(-len(out) % 8)
    return len(out)


def _write(out, value):
    """Append a value and what it refers to; where it begins."""
    if isinstance(value, Table):
        return _table(out, value)
    at = _aligned(out)
    if isinstance(value, list):
        out += struct.pack("<I", len(value)) + bytes(4 * len(value))
        for i, item in enumerate(value):
            place = at + 4 + 4 * i
            struct.pack_into("<I", out, place, _write(out, item) - place)
    else:
        out += struct.pack("<I", len(value)) + (value if isinstance(value, bytes) else value.tobytes())
    return at


def _table(out, fields):
    last = max(fields, default=-1)
    vtable = _aligned(out)
    out += bytes(4 + 2 * (last + 1))
    at = _aligned(out)
    out += struct.pack("<i", at - vtable)
    for number, value in fields.items():
        struct.pack_into("<H", out, vtable + 4 + 2 * number, len(out) - at)
        out += struct.pack(f"<{value[0]}", value[1]) + bytes(3) if isinstance(value, tuple) else bytes(4)
        out += bytes(-len(out) % 4)
    struct.pack_into("<HH", out, vtable, 4 + 2 * (last + 1), len(out) - at)
    for number, value in fields.items():
        if not isinstance(value, tuple):
            place = at + struct.unpack_from("<H", out, vtable + 4 + 2 * number)[0]
            struct.pack_into("<I", out, place, _write(out, value) - place)
    return at


TYPES = {"float32": 0, "float16": 1, "int32": 2, "int8": 9}


def tflite_bytes(arrays, operators=(), scales=None):
    """A model whose constants are `arrays`; `operators` are the names that each takes, `scales` those of 8 bits."""
    names = list(dict.fromkeys([*arrays, *(name for inputs in operators for name in inputs)]))
    tensors, buffers = [], [Table({0: b""})]
    for name in names:
        tensor = Table({3: name.encode()})
        if name in arrays:
            array = arrays[name]
            tensor |= {0: np.int32(array.shape), 1: ("b", TYPES[str(array.dtype)]), 2: ("I", len(buffers))}
            buffers.append(Table({0: array.tobytes()}))
        if scales and name in scales:
            scale, axis = scales[name]
            tensor[4] = Table({2: np.float32(scale), 3: np.zeros(len(scale), np.int64), 6: ("i", axis)})
        tensors.append(Table(tensor))
    graph = Table({0: tensors, 3: [Table({1: np.int32([names.index(n) for n in inputs])}) for inputs in operators]})
    return flatbuffer(Table({2: [graph], 4: buffers}))


# --- Magenta's network for any painting -------------------------------------------------------------------------

MOBILENET = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, blocks, stride of the first: Sandler 2018, table 2."""


def mobilenet_layers():
    """Name, kernel, channels in and out, stride, depthwise, ReLU6, and whether the block's input is added."""
    layers, C, i = [("MobilenetV2/Conv", 3, 3, 32, 2, False, True, False)], 32, 0
    for expansion, M, count, stride in MOBILENET:
        for k in range(count):
            name, inside, step = f"MobilenetV2/expanded_conv{f'_{i}' if i else ''}", C * expansion, 1 if k else stride
            if expansion > 1:
                layers.append((f"{name}/expand", 1, C, inside, 1, False, True, False))
            layers.append((f"{name}/depthwise", 3, inside, inside, step, True, True, False))
            layers.append((f"{name}/project", 1, inside, M, 1, False, False, step == 1 and C == M))
            C, i = M, i + 1
    return [*layers, ("MobilenetV2/Conv_1", 1, C, 1280, 1, False, True, False)]


def ghiasi_models(blocks=5, seed=0):
    """The constants of both models, float16, and what each operator takes: a kernel and its bias."""
    rng = np.random.default_rng(seed)
    normal = lambda *shape: rng.standard_normal(shape).astype(np.float16)  # noqa: E731
    transfer, transfer_works, predict, predict_works = {}, [], {}, []

    def add(arrays, works, name, kernel, bias, part="weights"):
        arrays |= {f"{name}/{part}": kernel, f"{name}/Conv2D_bias": bias}
        works.append(("x", f"{name}/{part}", f"{name}/Conv2D_bias"))

    widths = [(3, 8), (8, 16), (16, 32), *[(32, 32)] * 2 * blocks, (32, 16), (16, 8), (8, 3)]
    for i, (name, (C, M)) in enumerate(zip(magenta_layers(blocks), widths, strict=True)):
        K = 9 if i in (0, len(widths) - 1) else 3
        add(transfer, transfer_works, name, normal(M, K, K, C) * np.float16((2 / (K * K * C)) ** 0.5), normal(M))
        for part, offset in (("Conv", 0), ("Conv_1", 1)) if i > 2 else ():
            style, bias = f"style_params/{name}/StyleNorm/{part}", normal(M) + np.float16(offset)
            add(transfer, transfer_works, style, normal(M, 1, 1, 100) * np.float16(0.05), bias)
    for name, K, C, M, _, depthwise, _, _ in mobilenet_layers():
        shape = (1, K, K, C) if depthwise else (M, K, K, C)
        kernel = normal(*shape) * np.float16((2 / (K * K * (1 if depthwise else C))) ** 0.5)
        add(predict, predict_works, name, kernel, normal(M), "depthwise_weights" if depthwise else "weights")
    add(predict, predict_works, "mobilenet_conv/Conv", normal(100, 1, 1, 1280) * np.float16(0.03), normal(100))
    return (transfer, transfer_works), (predict, predict_works)


def bias_of(works):
    """The name of each kernel's bias."""
    return {inputs[1]: inputs[2] for inputs in works if len(inputs) == 3}


def by_predict(arrays, works, painting):
    """The embedding of a painting `(H, W, 3)`, in plain loops."""
    biases, values = bias_of(works), {name: np.float64(array) for name, array in arrays.items()}

    def convolve(x, name, K, stride, depthwise):
        kernel = f"{name}/{'depthwise_weights' if depthwise else 'weights'}"
        pads = []
        for n in x.shape[1:3]:
            total = max(0, (-(-n // stride) - 1) * stride + K - n)
            pads += [total // 2, total - total // 2]
        x, bias = reference.pad(x, tuple(pads)), values[biases[kernel]]
        if depthwise:
            return reference.depthwise_conv2d(x, values[kernel][0], bias, stride=stride)
        return reference.conv2d(x, values[kernel].transpose(1, 2, 3, 0), bias, stride=stride)

    x = kept = painting[None].astype(np.float64)
    for name, K, _, _, stride, depthwise, relu, adds in mobilenet_layers():
        if name.endswith("expand"):
            kept = x
        x = convolve(x, name, K, stride, depthwise)
        x = np.clip(x, 0, 6) if relu else x
        x = x + kept if adds else x
    kernel = "mobilenet_conv/Conv/weights"
    return x.mean(axis=(1, 2)) @ values[kernel][:, 0, 0].T + values[biases[kernel]]


def by_transfer(arrays, works, photo, embedding):
    """What the first model makes of a photo `(H, W, 3)` and an embedding `(1, 100)`, in plain loops."""
    biases, values = bias_of(works), {name: np.float64(array) for name, array in arrays.items()}
    blocks = sum(name.startswith("transformer/residual/") and name.endswith("conv1/weights") for name in arrays)
    names = magenta_layers(blocks)

    def predicted(name, part):
        kernel = f"style_params/{name}/StyleNorm/{part}/weights"
        return (embedding @ values[kernel][:, 0, 0].T + values[biases[kernel]])[0]

    def layer(x, i, stride=1, upsample=1, relu=True, residual=None):
        kernel = f"{names[i]}/weights"
        w, bias = values[kernel].transpose(1, 2, 3, 0), values[biases[kernel]]
        y = reference.conv2d(x, w, bias, stride=stride, pad=w.shape[0] // 2, mode="reflect", upsample=upsample)
        if names[i].startswith("transformer/contract"):
            return np.maximum(y, 0)
        beta, gamma = predicted(names[i], "Conv"), predicted(names[i], "Conv_1")
        return reference.instance_norm(y, gamma, beta, residual, relu=relu)

    x = layer(layer(layer(photo[None].astype(np.float64), 0), 1, 2), 2, 2)
    for i in range(blocks):
        x = layer(layer(x, 3 + 2 * i), 4 + 2 * i, relu=False, residual=x)
    x = layer(layer(x, -3, upsample=2), -2, upsample=2)
    return 1 / (1 + np.exp(-layer(x, -1, relu=False)[0]))
