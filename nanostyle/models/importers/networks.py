"""Another program's style network as a model of ours."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import numpy as np

from nanostyle.errors import NanostyleError, with_hint
from nanostyle.io.atomic import sha256
from nanostyle.io.foreign.arrays import open_arrays
from nanostyle.io.foreign.entry import Entry
from nanostyle.io.foreign.onnx import OnnxFile
from nanostyle.io.foreign.raw import MANIFEST
from nanostyle.io.image_write import thumbnail_jpeg
from nanostyle.io.pictures import load_short
from nanostyle.models.importers import ghiasi, lengstrom, magenta, pytorch
from nanostyle.models.importers.foreign import ForeignNetwork
from nanostyle.models.multistyle import Model
from nanostyle.models.predictor import Predictor
from nanostyle.nets.mobilenet import MobileNetBackbone
from nanostyle.nets.predictor import PredictionNet
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nets.transformer_config import transformer_config
from nanostyle.nn.layers import NoDraws
from nanostyle.nn.module import freeze, set_state


class Program(Protocol):
    """A module of this folder: it recognizes a program's networks by the names of the arrays."""

    PROGRAM: str

    def recognizes(self, entries: Iterable[str], /) -> bool:
        """Whether arrays of these names are those of the network."""

    def network(self, entries: Mapping[str, Entry], /) -> ForeignNetwork:
        """The network that `entries` hold."""


PROGRAMS: tuple[Program, ...] = (pytorch, lengstrom, magenta)

_THUMBNAIL_SIDE = 256


def foreign_model(
    path: str | os.PathLike[str],
    *,
    names: Sequence[str] = (),
    painting: str | os.PathLike[str] | None = None,
    style_network: str | os.PathLike[str] | None = None,
) -> Model | Predictor | None:
    """The style network of another program in `path` as a model; None if its arrays are not named as one's.

    It sees photos as they are, without grain, as in its own program. A picture whose sides 4 does not divide is
    mirrored at the bottom and the right, as by all networks here.

    Parameters
    ----------
    path
        Its file; a folder with a `manifest.json`.
    names
        What to call its styles, one each. Default: a network of one is called as its file; others as in their program.
    painting
        A picture of the style of a network of one: its thumbnail.
    style_network
        Of Magenta's network for any painting the second file, style_predict. Default: the one beside `path`.

    Raises
    ------
    FileNotFoundError, OSError, ValueError
        As `foreign_network`; or the painting cannot be read.
    NanostyleError
        There are not as many names as styles, or one twice; or a painting is given for many; or the second file is not
        found.
    """
    with _opened(path) as entries:
        program = next((program for program in PROGRAMS if program.recognizes(entries)), None)
        if program is None and not ghiasi.recognizes(entries):
            if ghiasi.predicts(entries):
                raise ValueError("it is the second file of Magenta's network for any painting; give style_transfer")
            return None
        if program is None:
            other = style_network or _beside(Path(path))
            with open_arrays(other) as more:
                network = ghiasi.network(entries, more)
            source = f"{network.program}: {_origin(path)}; {_origin(other)}"
        else:
            network = _whole(program, entries)
            source = f"{network.program}: {_origin(path)}"
        net = _net(network)
    if isinstance(net, PredictionNet):
        if names or painting:
            raise with_hint(ValueError("name: it takes any painting"), "leave {name} and {painting} out")
        return Predictor(net, ghiasi.STYLE_SIZE, {}, source, network.license, grain=False)
    known = network.styles or (_stem(path),)
    styles = list(names or known)
    if len(styles) != len(known) or len(set(styles)) != len(styles):
        raise NanostyleError(
            f"names: expected {len(known)} that differ, one for each style, got {len(styles)}",
            hint="give as many {name}, or none",
        )
    if painting is not None and network.styles:
        raise with_hint(ValueError(f"painting: the network has {len(styles)} styles"), "leave {painting} out")
    thumbnails = {}
    if painting is not None:
        thumbnails = {styles[0]: thumbnail_jpeg(load_short(Path(painting), _THUMBNAIL_SIDE))}
    return Model(net, styles, thumbnails, {}, source, network.license, grain=False)


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Mapping[str, Entry]]:
    """The arrays in a file; none of a package that holds a loss network."""
    if Path(path).suffix == ".whl":
        yield {}
        return
    with open_arrays(path) as entries:
        yield entries


def _whole(program: Program, entries: Mapping[str, Entry]) -> ForeignNetwork:
    if isinstance(entries, OnnxFile):
        if program is not pytorch:
            raise ValueError(f"networks of {program.PROGRAM} are not read from ONNX files")
        pytorch.check_graph(entries.nodes, entries)
    return program.network(entries)


def _net(network: ForeignNetwork) -> TransformerNet | PredictionNet:
    """The network itself, frozen."""
    rng = NoDraws()
    transformer = TransformerNet(transformer_config(**network.config), rng)
    predicted = network.config["arch"] == "ghiasi"
    net = PredictionNet(transformer, MobileNetBackbone(rng), rng) if predicted else transformer
    try:
        set_state(net, {name: _float32(value) for name, value in network.state.items()})
    except NanostyleError as error:
        raise ValueError(f"it is not a whole network of {network.program}: {error}") from error
    freeze(net)
    return net


def _beside(path: Path) -> Path:
    """The one file beside `path` that holds the second part of Magenta's network.

    Raises
    ------
    NanostyleError
        There is none, or more than one.
    """
    found = []
    for other in sorted(path.parent.glob(f"*{path.suffix}")):
        with suppress(ValueError, OSError), open_arrays(other) as entries:
            found += [other] * ghiasi.predicts(entries)
    if len(found) != 1:
        raise NanostyleError(
            f"{path} is the first file of Magenta's network for any painting, and {len(found)} files beside it are the"
            " second, style_predict",
            hint="name it with {style_network}",
        )
    return found[0]


def _float32(array: np.ndarray) -> np.ndarray:
    """What float32 cannot hold becomes infinite, which `save_model` refuses."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, np.float32)


def _file(path: str | os.PathLike[str]) -> Path:
    manifest = Path(path) / MANIFEST
    return manifest if manifest.is_file() else Path(path)


def _stem(path: str | os.PathLike[str]) -> str:
    file = _file(path).resolve()
    return file.parent.name if file.name == MANIFEST else file.stem


def _origin(path: str | os.PathLike[str]) -> str:
    file = _file(path)
    return f"folder {_stem(path)}" if file.name == MANIFEST else f"{file.name}, SHA-256 {sha256(file)}"
