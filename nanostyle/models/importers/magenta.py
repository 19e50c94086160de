"""The network of many styles that TensorFlow's demo for Android has: Dumoulin's, made small by Magenta, 8-bit kernels.

A frozen graph, `stylize_quantized.pb`. A kernel is 256 steps from its least to its greatest number, one of which is 0
(TensorFlow's mode MIN_FIRST); a graph that was not made 8-bit has the kernels themselves.
"""

import re
from collections.abc import Iterable, Mapping

import numpy as np

from nanostyle.errors import quoted
from nanostyle.io.foreign.entry import Entry
from nanostyle.models.importers.foreign import ForeignNetwork, layer_names, numbers, size_config

PROGRAM = "Magenta, as in TensorFlow's demo for Android"
_LICENSE = "Apache-2.0 (Magenta)"

_ROOT = "transformer"
_BLOCK = re.compile(rf"{_ROOT}/residual/residual(\d{{1,2}})/conv1/InstanceNorm/gamma")
_OWN = (f"{_ROOT}/contract/conv1/InstanceNorm/gamma", f"{_ROOT}/expand/conv3/conv/InstanceNorm/gamma")


def recognizes(entries: Iterable[str]) -> bool:
    """Whether arrays of these names are those of the network."""
    return set(_OWN) <= set(entries)


def network(entries: Mapping[str, Entry]) -> ForeignNetwork:
    """The network that `entries` hold.

    Raises
    ------
    ValueError
        An array is missing, or of another form.
    """
    blocks = sum(bool(_BLOCK.fullmatch(name)) for name in entries)
    state: dict[str, np.ndarray] = {}
    for ours, theirs in zip(layer_names(blocks), layers_of(blocks), strict=True):
        state[f"{ours}/weight"] = _kernel(entries, theirs)
        for part in ("gamma", "beta"):
            state[f"{ours}/norm/{part}"] = numbers(entries, f"{theirs}/InstanceNorm/{part}", 2)
    styles = len(state["conv1/norm/gamma"])
    config = {"arch": "dumoulin", "styles": styles, **size_config(state, blocks)}
    names = tuple(f"style{i}" for i in range(styles))  # as the demo calls the pictures of its paintings
    return ForeignNetwork(PROGRAM, config, state, _LICENSE, names)


def layers_of(blocks: int) -> list[str]:
    """Magenta's names of the layers of a transformer with so many residual blocks, in our order."""
    middle = [f"{_ROOT}/residual/residual{i}/conv{j}" for i in range(1, blocks + 1) for j in (1, 2)]
    contract = [f"{_ROOT}/contract/conv{i}" for i in (1, 2, 3)]
    return contract + middle + [f"{_ROOT}/expand/conv{i}/conv" for i in (1, 2, 3)]


def _kernel(entries: Mapping[str, Entry], layer: str) -> np.ndarray:
    """The kernel of a layer, float64."""
    name = f"{layer}/weights_quint8_const"
    if name not in entries:
        return numbers(entries, f"{layer}/weights", 4)
    steps = entries[name]
    low, high = (numbers(entries, f"{layer}/weights_{end}", 0) for end in ("min", "max"))
    if steps.dtype != np.uint8 or len(steps.shape) != 4 or not low <= high:
        raise ValueError(f"{quoted(name)} is not a kernel of 8 bits between two numbers")
    step = (high - low) / 255
    # The grid goes through 0: its first step lies nearest to `low`.
    return (np.round(low / step) + steps.read()) * step if step else np.full(steps.shape, low)
