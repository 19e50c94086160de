"""The network of PyTorch's examples (pytorch/examples, fast_neural_style): johnson's, from 0..255 to 0..255."""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from nanostyle.io.foreign.entry import Entry
from nanostyle.io.foreign.onnx import Node
from nanostyle.models.importers.foreign import ForeignNetwork, check_nothing_else, layer_names, numbers, size_config

PROGRAM = "pytorch/examples, fast_neural_style"
_LICENSE = "not stated in the file; the program (pytorch/examples) is BSD-3-Clause"

# What old releases of PyTorch kept beside a norm: not used, as every picture has its own statistics.
_UNUSED = re.compile(r".*\.(running_mean|running_var|num_batches_tracked)")
_PREFIX = "module."  # of a network that was trained on several GPUs

_BLOCK = re.compile(r"res(\d{1,2})\.conv1\.conv2d\.weight")
_OWN = ("conv1.conv2d.weight", "deconv3.conv2d.weight")


def recognizes(entries: Iterable[str]) -> bool:
    """Whether arrays of these names are those of the network, or what is left of it."""
    return not {*_OWN}.isdisjoint(name.removeprefix(_PREFIX) for name in entries)


def network(entries: Mapping[str, Entry]) -> ForeignNetwork:
    """The network that `entries` hold.

    Raises
    ------
    ValueError
        An array is missing, of another form, or one too many.
    """
    # A parameter's name has a dot; what has none is a constant of an ONNX graph, as the sides of a border.
    named = {name.removeprefix(_PREFIX): entry for name, entry in entries.items() if "." in name}
    entries = {name: entry for name, entry in named.items() if not _UNUSED.fullmatch(name)}
    blocks = sum(bool(_BLOCK.fullmatch(name)) for name in entries)
    state: dict[str, np.ndarray] = {}
    used = []
    for ours, (convolution, norm) in zip(layer_names(blocks), _names(blocks), strict=True):
        weight, bias = numbers(entries, f"{convolution}.weight", 4), numbers(entries, f"{convolution}.bias", 1)
        if ours == "conv1":
            weight = weight * 255
        if norm:
            bias = bias * 0  # the norm takes it out again
            gamma, beta = (numbers(entries, f"{norm}.{part}", 1) for part in ("weight", "bias"))
            state |= {f"{ours}/norm/gamma": gamma, f"{ours}/norm/beta": beta}
        else:
            weight, bias = weight / 255, bias / 255
        state |= {f"{ours}/weight": weight.transpose(2, 3, 1, 0), f"{ours}/bias": bias}
        used += [f"{part}.{kind}" for part in (convolution, norm) if part for kind in ("weight", "bias")]
    check_nothing_else(entries, used)
    config = {"arch": "johnson", "norm": "instance", "upsample": "nearest", "output": "linear"}
    return ForeignNetwork(PROGRAM, config | size_config(state, blocks), state, _LICENSE)


def _names(blocks: int) -> list[tuple[str, str]]:
    """The program's names of each layer's convolution and norm, in our order."""
    names = [(f"conv{i}.conv2d", f"in{i}") for i in (1, 2, 3)]
    names += [(f"res{i}.conv{j}.conv2d", f"res{i}.in{j}") for i in range(1, blocks + 1) for j in (1, 2)]
    return [*names, ("deconv1.conv2d", "in4"), ("deconv2.conv2d", "in5"), ("deconv3.conv2d", "")]


# --- the graph of an ONNX file ----------------------------------------------------------------------------------

_WORK = {"Conv", "InstanceNormalization", "Relu"}

# What exporters write besides: padding, enlarging, residuals, and the arithmetic of shapes.
_BESIDE = {"Add", "Cast", "Concat", "Constant", "ConstantOfShape", "Div", "Floor", "Gather", "Identity", "Mul", "Pad"}
_BESIDE |= {"Range", "Reshape", "Resize", "Shape", "Slice", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Upsample"}


def check_graph(nodes: Sequence[Node], entries: Iterable[str]) -> None:
    """Whether an ONNX graph that holds the network's arrays is the network's.

    Raises
    ------
    ValueError
        It uses other operators, or the layers in another order.
    """
    if strange := sorted({node.kind for node in nodes} - _WORK - _BESIDE):
        raise ValueError(f"its graph uses {', '.join(strange[:4])}, which the network of {PROGRAM} has not")
    blocks = sum(bool(_BLOCK.fullmatch(name.removeprefix(_PREFIX))) for name in entries)
    expected = []
    for convolution, norm in _names(blocks):
        second = convolution.endswith("conv2.conv2d") and convolution.startswith("res")
        expected += ["Conv"] + ["InstanceNormalization"] * bool(norm) + ["Relu"] * (bool(norm) and not second)
    found = [node.kind for node in nodes if node.kind in _WORK]
    if found != expected:
        raise ValueError(f"its graph has its layers in another order than the network of {PROGRAM}")
    weights = [node.inputs[1].removeprefix(_PREFIX) for node in nodes if node.kind == "Conv"]
    if weights != [f"{convolution}.weight" for convolution, _ in _names(blocks)]:
        raise ValueError(f"its graph uses its weights in another order than the network of {PROGRAM}")
