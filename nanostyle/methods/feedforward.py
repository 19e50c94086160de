"""One network for one style, in one pass (Johnson 2016, with the instance norm of Ulyanov 2016).

A transformer network learns to give any photo the style of one painting. Its loss compares what a loss network sees in
the result with what it sees in the photo (content) and in the painting (style).

    network         nets/transformer.py: architecture `johnson`
    loss            training/objective.py
    training        training/style_task.py, and the loop in training/loop.py
    trained model   models/multistyle.py
    command         nanostyle train, mode feedforward

Options that matter: `style_size` (size of the strokes), `style_weight`, `steps`, `width` (speed), `norm`, `upsample`.

Departures from the papers. Where an option is named, it can undo them:

- Content and style losses are relative, so that weights suit any loss network (nn/losses.py).
- The loss layers are relu4_2 for content and relu1_1 to relu5_1 for style, as in Gatys 2016.
- A checkerboard penalty (`grid_weight`) is added; total variation is left out.
- The network has instance norm and nearest upsampling; Johnson 2016 has batch norm and fractional strides.
- The learning rate decays, and gamma and beta learn faster (`lr_decay`, `norm_rate`).
"""

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from nanostyle.backend.device import CPU, Device
from nanostyle.errors import NanostyleError
from nanostyle.io.pictures import load_short
from nanostyle.models.multistyle import load_multistyle
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nets.transformer_config import transformer_config
from nanostyle.nets.vgg import LossNetwork
from nanostyle.nn.module import set_state, state
from nanostyle.training.loop import TrainingStep, train
from nanostyle.training.objective import Objective
from nanostyle.training.options import TrainOptions
from nanostyle.training.style_task import StyleTask


def train_feedforward(
    photos: Sequence[Path],
    painting: Path,
    network: LossNetwork,
    options: TrainOptions,
    output: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    device: Device = CPU,
) -> Generator[TrainingStep, None, None]:
    """Train a network to give photos the style of `painting`; yields a `TrainingStep` after each step.

    Parameters
    ----------
    photos
        Picture files to train on.
    painting
        Picture file; its stem is the name of the style.
    network
        The loss network, on `device`.
    options
        With `start_from`, norm, upsample and width are those of that model.
    output, resume, overwrite, device
        As of `training.loop.train`.

    Raises
    ------
    NanostyleError
        The model of `start_from` is not one of a single style.
    ValueError, OSError
        The painting or that model cannot be read.

    Further errors are those of `training.loop.train`.
    """
    base = load_multistyle(options.start_from).net if options.start_from else None
    if base and base.styled_layers:
        raise NanostyleError(
            f"{options.start_from} is not a network of one style",
            hint="give {start_from} a model that was trained with {mode} feedforward",
        )
    if base:
        options = replace(options, **{name: base.config[name] for name in ("norm", "upsample", "width")})
    own = transformer_config("johnson", norm=options.norm, upsample=options.upsample, width=options.width)
    net = TransformerNet(base.config if base else own, np.random.default_rng(options.seed))
    if base:
        set_state(net, {name: value.copy() for name, value in state(base).items()})
    paintings = {painting.stem: load_short(painting, options.style_side)}
    task = StyleTask("feedforward", net, paintings, Objective(network, options), device=device)
    yield from train(task, photos, options, output, resume=resume, overwrite=overwrite, device=device)
