"""One network for many styles (Dumoulin 2017), and new styles for a trained network.

Conditional instance norm: all styles share the convolutions, and each has a row of gamma and beta of its own. Rows can
be mixed, which mixes styles.

    network         nets/transformer.py: architecture `dumoulin`
    loss            training/objective.py
    training        training/style_task.py, and the loop in training/loop.py
    trained model   models/multistyle.py
    commands        nanostyle train, mode cin; nanostyle add-style

Options that matter: `style_size` (size of the strokes), `style_weight`, `steps`, `width` (speed), `ema`.

Departures from the paper. Where an option is named, it can undo them:

- The first row is the style `photo`, which gives the photo back: mixing with it is a dial of strength (`photo_weight`).
- Content and style losses are relative, so that weights suit any loss network (nn/losses.py).
- The loss layers are relu4_2 for content and relu1_1 to relu5_1 for style, as in Gatys 2016.
- A checkerboard penalty (`grid_weight`) is added.
- The learning rate decays, and gamma and beta learn faster (`lr_decay`, `norm_rate`).
"""

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
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nets.transformer_config import transformer_config
from nanostyle.nets.vgg import LossNetwork
from nanostyle.nn.module import freeze, is_style_parameter, parameters, set_state, state
from nanostyle.training.loop import TrainingStep, train
from nanostyle.training.objective import Objective
from nanostyle.training.options import TrainOptions
from nanostyle.training.style_task import NewStylesTask, StyleTask


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
) -> Generator[TrainingStep, None, None]:
    """Train a network with one row of gamma and beta per painting; yields a `TrainingStep` after each step.

    Parameters
    ----------
    photos
        Picture files to train on.
    paintings
        By the style's name, its picture file (`io.pictures.style_files`).
    network
        The loss network, on `device`.
    options
        With `start_from`, the width is that of that model, and so are the rows of the styles that it has already.
    weights
        By the style's name, a factor on its style loss; 1 if not named.
    output, resume, overwrite, device
        As of `training.loop.train`.

    Raises
    ------
    NanostyleError
        The model of `start_from` is not one of several styles.
    ValueError
        A painting is called `photo`; a weight is not above 0, or names no style; a file cannot be read.

    Further errors are those of `training.loop.train`.
    """
    base = _of_many_styles(options.start_from) if options.start_from else None
    if base:
        options = replace(options, width=base.net.config["width"])
    config = base.net.config if base else transformer_config("dumoulin", width=options.width)
    config = {**config, "styles": len(paintings) + 1, "identity": True}
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
) -> Generator[TrainingStep, None, None]:
    """Train gamma and beta of new styles for the trained `model`; write it, with them at the end, to `output`.

    Everything else is frozen, and the old rows are copied: the old styles' pictures stay the same to the bit
    (Dumoulin 2017, section 3.2). Yields a `TrainingStep` after each step.

    Parameters
    ----------
    model
        The file of a model of several styles. Its width and storage are kept, but float32 takes the place of uint8.
    photos, paintings, network, options, output, weights, resume, overwrite, device
        As of `train_cin`.

    Raises
    ------
    NanostyleError
        The model is not one of several styles, has a style of that name already, or is the output.
    ValueError, OSError
        As of `train_cin`.
    """
    if output.exists() and output.samefile(model):
        raise NanostyleError(f"add-style: {output} is the model itself", hint="give the new one another {output}")
    base = _of_many_styles(model)
    if known := [name for name in paintings if name in base.styles]:
        raise NanostyleError(f"{model} has a style {known[0]!r} already", hint="rename the file of the new one")
    # Values of 8 bits that were read from a file differ slightly when they are stored in 8 bits again.
    storage = "float32" if base.storage == "uint8" else base.storage
    options = replace(options, width=base.net.config["width"], storage=storage)
    pictures = {name: load_short(file, options.style_side) for name, file in paintings.items()}
    net = _with_new_rows(base, list(pictures))
    task = NewStylesTask(base, net, pictures, Objective(network, options), weights=weights, device=device)
    yield from train(task, photos, options, output, resume=resume, overwrite=overwrite, device=device)


def _of_many_styles(model: str | Path) -> Model:
    """The model in that file, which must be one of several styles."""
    base = load_multistyle(model)
    if base.net.config["norm"] != "conditional":
        raise NanostyleError(
            f"{model} is a network of one style, expected one of several",
            hint="take a model that was trained with {mode} cin",
        )
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
    """The network of `base`, frozen but for new rows for `styles` in place of its own."""
    config = {**base.net.config, "styles": len(styles), "identity": False}
    net = TransformerNet(config, np.random.default_rng(0))
    set_state(net, _state_for(base, styles))
    freeze(net)
    for name, parameter in parameters(net).items():
        parameter.requires_grad = is_style_parameter(name)
    return net
