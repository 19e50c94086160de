"""One network, many styles (Dumoulin 2017), and new styles for a trained network."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from nanostyle.backend.device import CPU, Device
from nanostyle.backend.types import Array
from nanostyle.errors import NanostyleError
from nanostyle.io.pictures import load_short
from nanostyle.models.base import IDENTITY
from nanostyle.models.multistyle import Model, load_multistyle
from nanostyle.nets.transformer import TransformerNet, transformer_config
from nanostyle.nets.vgg import LossNetwork
from nanostyle.nn.module import freeze, is_style_parameter, parameters, set_state, state
from nanostyle.training.loop import Step, train
from nanostyle.training.objective import Objective
from nanostyle.training.options import TrainOptions
from nanostyle.training.style_task import StyleTask, _NewStyles


def train_cin(
    photos: Sequence[Path],
    paintings: Mapping[str, Path],
    network: LossNetwork,
    options: TrainOptions,
    output: Path,
    *,
    weights: Mapping[str, float] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: Device = CPU,
) -> Generator[Step, None, None]:
    """Train a network with one row of gamma and beta per painting; yields steps and raises as `trainer.train` does.

    Departure from the paper: the first row is the style `photo`, which gives the photo back, so that mixing with it is
    a dial of strength.

    Parameters
    ----------
    paintings
        Name to file (`data.style_files`).
    network
        The loss network, on the same device.
    weights
        By a style's name, how much its style term counts; 1 if not named.

    Raises
    ------
    NanostyleError
        The model that the options name to `start_from` is not one of several styles. Its width is taken, and the rows
        of those of its styles that are among the paintings.
    """
    base = _of_many_styles(options.start_from) if options.start_from else None
    if base:
        options = replace(options, width=base.net.config["width"])
    config = transformer_config("dumoulin", width=options.width, styles=len(paintings) + 1, identity=True)
    net = TransformerNet(config, np.random.default_rng(options.seed))
    if base:
        set_state(net, _state_for(base, [IDENTITY, *paintings]))
    pictures = {name: load_short(file, options.style_side) for name, file in paintings.items()}
    task = StyleTask("cin", net, pictures, Objective(network, options), weights=weights, device=device)
    yield from train(task, photos, options, output, resume=resume, overwrite=overwrite, device=device)


def add_style(
    model: Path,
    photos: Sequence[Path],
    paintings: Mapping[str, Path],
    network: LossNetwork,
    options: TrainOptions,
    output: Path,
    *,
    weights: Mapping[str, float] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: Device = CPU,
) -> Generator[Step, None, None]:
    """Train gamma and beta of new styles for the trained `model`; write it, with them at the end, to `output`.

    Everything else is frozen, and the old rows are copied, so the old styles' pictures stay the same to the bit
    (Dumoulin 2017, section 3.2). Width and storage are the model's own, float32 in place of uint8. Parameters are those
    of `train_cin`.

    Raises
    ------
    NanostyleError
        The model is not one of several styles, has a style of that name already, or is the output.
    """
    if output.exists() and output.samefile(model):
        raise NanostyleError(f"add-style: {output} is the model itself; give the new one another name")
    base = _of_many_styles(model)
    if known := [name for name in paintings if name in base.styles]:
        raise NanostyleError(f"{model} has a style {known[0]!r} already; give the new one another name")
    # Numbers of 8 bits read from a file do not come out the same when they are made 8 bits again.
    storage = "float32" if base.storage == "uint8" else base.storage
    options = replace(options, width=base.net.config["width"], storage=storage)
    pictures = {name: load_short(file, options.style_side) for name, file in paintings.items()}
    net = _with_new_rows(base, list(pictures))
    task = _NewStyles(base, net, pictures, Objective(network, options), weights=weights, device=device)
    yield from train(task, photos, options, output, resume=resume, overwrite=overwrite, device=device)


def _of_many_styles(model: str | Path) -> Model:
    """The model in that file, which must be one of several styles."""
    base = load_multistyle(model)
    if base.net.config["norm"] != "conditional":
        raise NanostyleError(f"{model} is a network of one style; only those of train --mode cin take new ones")
    return base


def _state_for(base: Model, styles: Sequence[str]) -> dict[str, Array]:
    """The state of `base` with a row for each of `styles`: its own where it has that style.

    The others start at the mean of its paintings: what paintings have in common need not be learned again.
    """
    paintings = slice(int(base.has_identity), None)

    def rows(values: Array) -> Array:
        mean = values[paintings].mean(axis=0)
        return np.stack([values[base.row(name)] if name in base.styles else mean for name in styles])

    return {name: rows(value) if is_style_parameter(name) else value.copy() for name, value in state(base.net).items()}


def _with_new_rows(base: Model, styles: Sequence[str]) -> TransformerNet:
    """The network of `base`, frozen, with rows for `styles` in place of its own, which alone can be trained."""
    config = {**base.net.config, "styles": len(styles), "identity": False}
    net = TransformerNet(config, np.random.default_rng(0))
    set_state(net, _state_for(base, styles))
    freeze(net)
    for name, parameter in parameters(net).items():
        parameter.requires_grad = is_style_parameter(name)
    return net
