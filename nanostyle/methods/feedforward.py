"""One network, one style (Johnson 2016, with the instance norm of Ulyanov 2016)."""

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from nanostyle.backend.device import CPU, Device
from nanostyle.errors import NanostyleError
from nanostyle.io.pictures import load_short
from nanostyle.models.multistyle import load_multistyle
from nanostyle.nets.transformer import TransformerNet, transformer_config
from nanostyle.nets.vgg import LossNetwork
from nanostyle.nn.module import set_state, state
from nanostyle.training.loop import Step, train
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
) -> Generator[Step, None, None]:
    """Train a network to give photos the style of `painting`; yields steps and raises as `trainer.train` does.

    `network` is the loss network, on the same device. If the options name a model to `start_from`, norm, upsample and
    width are that model's; NanostyleError if it is not one of a single style.
    """
    base = load_multistyle(options.start_from).net if options.start_from else None
    if base and base.config["arch"] != "johnson":
        raise NanostyleError(
            f"{options.start_from} is not a network of one style; start from one of --mode feedforward"
        )
    if base:
        options = replace(options, **{name: base.config[name] for name in ("norm", "upsample", "width")})
    config = transformer_config("johnson", norm=options.norm, upsample=options.upsample, width=options.width)
    net = TransformerNet(config, np.random.default_rng(options.seed))
    if base:
        set_state(net, {name: value.copy() for name, value in state(base).items()})
    paintings = {painting.stem: load_short(painting, options.style_side)}
    task = StyleTask("feedforward", net, paintings, Objective(network, options), device=device)
    yield from train(task, photos, options, output, resume=resume, overwrite=overwrite, device=device)
