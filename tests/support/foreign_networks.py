"""Style networks of other programs: their arrays under their names, what they compute, and files of them."""

import json
import struct

import numpy as np

from tests.support import reference

# --- PyTorch's examples -----------------------------------------------------------------------------------------

PYTORCH_LAYERS = [("conv1", "in1"), ("conv2", "in2"), ("conv3", "in3")]
PYTORCH_UP = [("deconv1", "in4"), ("deconv2", "in5"), ("deconv3", None)]


def pytorch_layers(blocks):
    middle = [(f"res{i}.conv{j}", f"res{i}.in{j}") for i in range(1, blocks + 1) for j in (1, 2)]
    return PYTORCH_LAYERS + middle + PYTORCH_UP


def pytorch_arrays(channels=(4, 6, 8), blocks=2, seed=0):
    """The state dict of a network with random weights, kernels `(M, C, K, K)`."""
    rng, (a, b, c) = np.random.default_rng(seed), channels
    widths = [(3, a), (a, b), (b, c), *[(c, c)] * 2 * blocks, (c, b), (b, a), (a, 3)]
    arrays = {}
    for (name, norm), (C, M) in zip(pytorch_layers(blocks), widths, strict=True):
        K = 9 if name in ("conv1", "deconv3") else 3
        arrays[f"{name}.conv2d.weight"] = rng.standard_normal((M, C, K, K)) * (2 / (K * K * C)) ** 0.5
        arrays[f"{name}.conv2d.bias"] = rng.standard_normal(M)
        if norm:
            arrays[f"{norm}.weight"] = 1 + 0.3 * rng.standard_normal(M)
            arrays[f"{norm}.bias"] = 0.3 * rng.standard_normal(M)
    # A last layer of about 0..255, as a trained one has.
    arrays["deconv3.conv2d.weight"] *= 60
    arrays["deconv3.conv2d.bias"] = 128 + 10 * arrays["deconv3.conv2d.bias"]
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def torch_layers():
    """The classes of the network's layers and of its residual blocks."""
    import torch
    from torch import nn

    class Convolution(nn.Module):
        def __init__(self, weight, stride=1, upsample=1):
            super().__init__()
            M, C, K, _ = weight.shape
            self.upsample, self.pad = upsample, nn.ReflectionPad2d(K // 2)
            self.conv2d = nn.Conv2d(C, M, K, stride)

        def forward(self, x):
            if self.upsample > 1:
                x = nn.functional.interpolate(x, scale_factor=self.upsample, mode="nearest")
            return self.conv2d(self.pad(x))

    class Block(nn.Module):
        def __init__(self, first, second):
            super().__init__()
            self.conv1, self.conv2 = Convolution(first), Convolution(second)
            self.in1, self.in2 = (nn.InstanceNorm2d(len(weight), affine=True) for weight in (first, second))

        def forward(self, x):
            return x + self.in2(self.conv2(torch.relu(self.in1(self.conv1(x)))))

    return Convolution, Block


def pytorch_module(arrays):
    """The network in PyTorch, as its users have it: pictures `(N, 3, H, W)` of 0..255 in and out."""
    import torch
    from torch import nn

    Convolution, Block = torch_layers()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            for i, (name, norm) in enumerate(PYTORCH_LAYERS + PYTORCH_UP):
                weight = arrays[f"{name}.conv2d.weight"]
                options = {"stride": 2 if i in (1, 2) else 1, "upsample": 2 if i in (3, 4) else 1}
                setattr(self, name, Convolution(weight, **options))
                if norm:
                    setattr(self, norm, nn.InstanceNorm2d(len(weight), affine=True))
            self.blocks = sorted({name.split(".")[0] for name in arrays if name.startswith("res")})
            for name in self.blocks:
                setattr(self, name, Block(*(arrays[f"{name}.conv{j}.conv2d.weight"] for j in (1, 2))))

        def forward(self, x):
            for name, norm in PYTORCH_LAYERS:
                x = torch.relu(getattr(self, norm)(getattr(self, name)(x)))
            for name in self.blocks:
                x = getattr(self, name)(x)
            for name, norm in PYTORCH_UP:
                x = getattr(self, name)(x)
                x = torch.relu(getattr(self, norm)(x)) if norm else x
            return x

    net = Net().eval()
    net.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return net


def by_pytorch(arrays, photo):
    """What PyTorch makes of a photo `(H, W, 3)` in 0..1, in 0..1."""
    import torch

    x = torch.from_numpy(photo.transpose(2, 0, 1)[None].copy()) * 255
    with torch.no_grad():
        y = pytorch_module(arrays)(x)
    return np.clip(y.numpy()[0].transpose(1, 2, 0) / 255, 0, 1)


# --- lengstrom/fast-style-transfer ------------------------------------------------------------------------------


def lengstrom_arrays(channels=(4, 6, 8), seed=0):
    """`Variable`, `Variable_1`, ...: kernel (H, W, in, out; transposed: H, W, out, in), shift and scale of each."""
    rng, (a, b, c) = np.random.default_rng(seed), channels
    shapes = [(9, 9, 3, a), (3, 3, a, b), (3, 3, b, c), *[(3, 3, c, c)] * 10, (3, 3, b, c), (3, 3, a, b), (9, 9, a, 3)]
    arrays = []
    for i, shape in enumerate(shapes):
        M = shape[2] if i in (13, 14) else shape[3]
        arrays += [0.1 * rng.standard_normal(shape), 0.1 * rng.standard_normal(M), 1 + 0.2 * rng.standard_normal(M)]
    names = ["Variable", *(f"Variable_{i}" for i in range(1, 48))]
    return {name: array.astype(np.float32) for name, array in zip(names, arrays, strict=True)}


def by_lengstrom(arrays, photo):
    """What the program makes of a photo `(H, W, 3)` in 0..1: TensorFlow's layers, in plain loops."""
    values = iter(arrays[name] for name in ["Variable", *(f"Variable_{i}" for i in range(1, 48))])

    def norm(x, relu):
        shift, scale = next(values), next(values)
        return reference.instance_norm(x, scale, shift, relu=relu, eps=1e-3)

    def conv(x, stride=1, relu=True):
        w = next(values)
        total = max(w.shape[0] - stride, 0)  # SAME, where the stride divides the sides
        x = reference.pad(x, (total // 2, total - total // 2) * 2)
        return norm(reference.conv2d(x, w, stride=stride), relu)

    def up(x):
        _, H, W, _ = x.shape
        w = next(values)
        y = reference.conv_transpose2d(x, w.swapaxes(2, 3), stride=2)
        return norm(y[:, : 2 * H, : 2 * W], True)

    x = conv(photo[None].astype(np.float64) * 255)
    x = conv(conv(x, 2), 2)
    for _ in range(5):
        x = x + conv(conv(x), relu=False)
    x = conv(up(up(x)), relu=False)
    return np.clip((np.tanh(x[0]) * 150 + 127.5) / 255, 0, 1)


def raw_folder(folder, arrays):
    """A folder of raw float32 files with a manifest."""
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        (folder / name).write_bytes(array.astype("<f4").tobytes())
    manifest = {name: {"filename": name, "shape": list(array.shape)} for name, array in arrays.items()}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2))
    return folder


# --- Magenta's network of TensorFlow's demo for Android ---------------------------------------------------------


def magenta_layers(blocks):
    contract = [f"transformer/contract/conv{i}" for i in (1, 2, 3)]
    middle = [f"transformer/residual/residual{i}/conv{j}" for i in range(1, blocks + 1) for j in (1, 2)]
    return contract + middle + [f"transformer/expand/conv{i}/conv" for i in (1, 2, 3)]


def magenta_arrays(channels=(5, 6, 7, 4, 3), blocks=2, styles=3, seed=0):
    """Kernels of 8 bits with their ends, rows of gamma and beta."""
    rng, (a, b, c, d, e) = np.random.default_rng(seed), channels
    widths = [(3, a), (a, b), (b, c), *[(c, c)] * 2 * blocks, (c, d), (d, e), (e, 3)]
    arrays = {}
    for i, (name, (C, M)) in enumerate(zip(magenta_layers(blocks), widths, strict=True)):
        K = 9 if i in (0, len(widths) - 1) else 3
        arrays[f"{name}/weights_quint8_const"] = rng.integers(0, 256, (K, K, C, M), np.uint8)
        arrays[f"{name}/weights_min"] = np.float32(-0.31 - 0.01 * i)
        arrays[f"{name}/weights_max"] = np.float32(0.4 + 0.01 * i)
        arrays[f"{name}/InstanceNorm/gamma"] = (1 + 0.3 * rng.standard_normal((styles, M))).astype(np.float32)
        arrays[f"{name}/InstanceNorm/beta"] = (0.3 * rng.standard_normal((styles, M))).astype(np.float32)
    return arrays


def by_magenta(arrays, photo, style):
    """What the graph makes of a photo `(H, W, 3)` in 0..1, with kernels and pictures in full precision."""
    blocks = sum(name.endswith("conv1/InstanceNorm/beta") and "residual" in name for name in arrays)
    names = magenta_layers(blocks)

    def layer(x, i, stride=1, upsample=1, relu=True, residual=None):
        steps, low, high = (arrays[f"{names[i]}/weights_{part}"] for part in ("quint8_const", "min", "max"))
        step = (float(high) - float(low)) / 255
        w = np.round(float(low) / step) * step + steps * step
        y = reference.conv2d(x, w, stride=stride, pad=w.shape[0] // 2, mode="reflect", upsample=upsample)
        gamma, beta = (arrays[f"{names[i]}/InstanceNorm/{part}"][style] for part in ("gamma", "beta"))
        return reference.instance_norm(y, gamma, beta, residual, relu=relu)

    x = layer(layer(layer(photo[None].astype(np.float64), 0), 1, 2), 2, 2)
    for i in range(blocks):
        x = layer(layer(x, 3 + 2 * i), 4 + 2 * i, relu=False, residual=x)
    x = layer(layer(x, -3, upsample=2), -2, upsample=2)
    return 1 / (1 + np.exp(-layer(x, -1, relu=False)[0]))


# --- Protocol Buffers, written by hand --------------------------------------------------------------------------


def varint(value):
    value &= 2**64 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number, value):
    """A field: a whole number, text, or bytes (a message)."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


ONNX_TYPES = {"float32": 1, "uint8": 2, "int64": 7, "float16": 10}


def onnx_tensor(name, array, more=b""):
    sides = b"".join(field(1, side) for side in array.shape)
    return sides + field(2, ONNX_TYPES[str(array.dtype)]) + field(8, name) + field(9, array.tobytes()) + more


def onnx_node(kind, *inputs, domain=""):
    return b"".join(field(1, name) for name in inputs) + field(4, kind) + (field(7, domain) if domain else b"")


def onnx_bytes(arrays, nodes=(), facts=(), tensors=()):
    """An ONNX file: IR version, graph, metadata."""
    graph = b"".join(field(1, node) for node in nodes)
    graph += b"".join(field(5, onnx_tensor(name, array)) for name, array in arrays.items())
    graph += b"".join(field(5, tensor) for tensor in tensors)
    more = b"".join(field(14, field(1, key) + field(2, value)) for key, value in dict(facts).items())
    return field(1, 9) + field(7, graph) + more


def pytorch_nodes(blocks):
    """The operators of the network, as exporters write them."""
    nodes = []
    for name, norm in pytorch_layers(blocks):
        nodes += [onnx_node("Pad", "x"), onnx_node("Conv", "x", f"{name}.conv2d.weight", f"{name}.conv2d.bias")]
        if norm:
            nodes.append(onnx_node("InstanceNormalization", "x", f"{norm}.weight", f"{norm}.bias"))
        if norm and norm.endswith("in2") and norm.startswith("res"):
            nodes.append(onnx_node("Add", "x", "x"))
        elif norm:
            nodes.append(onnx_node("Relu", "x"))
    return nodes


TENSORFLOW_TYPES = {"float32": 1, "int32": 3, "uint8": 12}


def graphdef_const(name, array):
    array = np.asarray(array)
    shape = b"".join(field(2, field(1, side)) for side in array.shape)
    tensor = field(1, TENSORFLOW_TYPES[str(array.dtype)]) + field(2, shape)
    if array.shape:
        tensor += field(4, array.tobytes())
    else:
        tensor += field(5, struct.pack("<f", array))
    return field(1, field(1, name) + field(2, "Const") + field(5, field(1, "value") + field(2, field(8, tensor))))


def graphdef_bytes(arrays):
    """A frozen TensorFlow graph whose constants are `arrays`."""
    nodes = field(1, field(1, "input") + field(2, "Placeholder"))
    return nodes + b"".join(graphdef_const(name, array) for name, array in arrays.items())
