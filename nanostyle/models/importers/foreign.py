"""What an importer makes of another program's style network, and what the importers share."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nanostyle.errors import quoted
from nanostyle.io.foreign.entry import Entry
from nanostyle.nets.transformer_config import BLOCKS, CHANNELS


@dataclass(frozen=True)
class ForeignNetwork:
    """A network of another program in our terms.

    Attributes
    ----------
    program : str
        Where it comes from, for people.
    config : dict
        What `transformer_config` takes.
    state : dict
        Its parameters by our names and in our layout.
    license : str
        The terms of use, as far as they are known.
    styles : tuple
        Names of its styles; empty for a network of one.
    """

    program: str
    config: dict[str, Any]
    state: dict[str, np.ndarray]
    license: str
    styles: tuple[str, ...] = field(default=())


def layer_names(blocks: int) -> list[str]:
    """Our names of the layers of a network with so many residual blocks, in order.

    >>> layer_names(1)
    ['conv1', 'conv2', 'conv3', 'residual1/conv1', 'residual1/conv2', 'up1', 'up2', 'output']
    """
    middle = [f"residual{i}/conv{j}" for i in range(1, blocks + 1) for j in (1, 2)]
    return ["conv1", "conv2", "conv3", *middle, "up1", "up2", "output"]


def size_config(state: Mapping[str, np.ndarray], blocks: int) -> dict[str, Any]:
    """What `transformer_config` must be told of the network's size: nothing where it is that of the papers."""
    channels = tuple(state[f"{name}/weight"].shape[3] for name in ("conv1", "conv2", "conv3", "up1", "up2"))
    own: dict[str, Any] = {} if channels == CHANNELS else {"channels": channels}
    return own if blocks == BLOCKS else {**own, "blocks": blocks}


def numbers(entries: Mapping[str, Entry], name: str, sides: int) -> np.ndarray:
    """The array of that name in float64, which must have so many sides.

    Raises
    ------
    ValueError
        It is missing, or of another form.
    """
    entry = entries.get(name)
    if entry is None:
        raise ValueError(f"{quoted(name)} is missing")
    if len(entry.shape) != sides or entry.dtype.kind != "f":
        raise ValueError(f"{quoted(name)} is {entry.shape} {entry.dtype}, expected {sides} sides of floats")
    with np.errstate(invalid="ignore"):  # NumPy warns of a signaling NaN, which a damaged file may hold
        return entry.read().astype(np.float64)


def check_nothing_else(entries: Iterable[str], known: Iterable[str]) -> None:
    """A ValueError that names what of a file belongs to no part of the network."""
    if others := sorted(set(entries) - set(known)):
        more = f" and {len(others) - 4} more" if len(others) > 4 else ""
        raise ValueError(f"it holds what the network has not: {', '.join(map(quoted, others[:4]))}{more}")
