"""The network of lengstrom/fast-style-transfer: `Variable`, `Variable_1`, ..., in the order in which it makes them.

Each layer has three: the kernel, the shift and the scale of its norm. It takes pictures of 0..255, and its norms add
0.001 to the variance; both are brought to ours in the kernels.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from nanostyle.autograd.ops.norm import EPS
from nanostyle.io.foreign.entry import Entry
from nanostyle.models.importers.foreign import ForeignNetwork, check_nothing_else, layer_names, numbers, size_config
from nanostyle.nets.transformer_config import BLOCKS

PROGRAM = "lengstrom/fast-style-transfer"
_LICENSE = "not stated in the file; lengstrom/fast-style-transfer asks to be contacted for commercial use"

_EPS = 1e-3
_EACH = ("weight", "norm/beta", "norm/gamma")


def _name(index: int) -> str:
    return f"Variable_{index}" if index else "Variable"


_NAMES = [_name(i) for i in range(len(_EACH) * len(layer_names(BLOCKS)))]


def recognizes(entries: Iterable[str]) -> bool:
    """Whether arrays of these names are those of the network."""
    return set(_NAMES) <= set(entries)


def network(entries: Mapping[str, Entry]) -> ForeignNetwork:
    """The network that `entries` hold.

    Raises
    ------
    ValueError
        An array is of another form, or one too many.
    """
    check_nothing_else(entries, _NAMES)
    state: dict[str, np.ndarray] = {}
    for i, layer in enumerate(layer_names(BLOCKS)):
        for j, part in enumerate(_EACH):
            state[f"{layer}/{part}"] = numbers(entries, _NAMES[len(_EACH) * i + j], 1 if j else 4)
        weight = state[f"{layer}/weight"]
        # A norm of a tenth of the numbers and a hundredth of eps gives the same.
        weight = weight * (EPS / _EPS) ** 0.5 * (255 if layer == "conv1" else 1)
        state[f"{layer}/weight"] = weight.swapaxes(2, 3) if layer.startswith("up") else weight
    return ForeignNetwork(PROGRAM, {"arch": "lengstrom", **size_config(state, BLOCKS)}, state, _LICENSE)
