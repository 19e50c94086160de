"""Floor 4: one network, one style (Johnson 2016, with the instance norm of Ulyanov 2016)."""

from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np

from nanostyle.data import load_short
from nanostyle.methods.objective import Objective
from nanostyle.methods.options import TrainOptions
from nanostyle.methods.styletask import StyleTask
from nanostyle.methods.trainer import Step, train
from nanostyle.nets.transformer import TransformerNet, transformer_config
from nanostyle.nets.vgg import LossNetwork


def train_feedforward(
    photos: Sequence[Path],
    painting: Path,
    network: LossNetwork,
    options: TrainOptions,
    output: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "cpu",
) -> Generator[Step, None, None]:
    """Train a network to give photos the style of `painting`; yields steps and raises as `trainer.train` does.

    `network` is the loss network, on the same device.
    """
    config = transformer_config("johnson", norm=options.norm, upsample=options.upsample, width=options.width)
    net = TransformerNet(config, np.random.default_rng(options.seed))
    paintings = {painting.stem: load_short(painting, options.style_side)}
    task = StyleTask("feedforward", net, paintings, Objective(network, options), device=device)
    yield from train(task, photos, options, output, resume=resume, overwrite=overwrite, device=device)
