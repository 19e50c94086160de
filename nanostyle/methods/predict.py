"""A network that takes up the style of any painting (Ghiasi 2017): how it is trained."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from nanostyle.backend.device import CPU, Device, to_device
from nanostyle.errors import NanostyleError
from nanostyle.models.predictor import LARGEST, SMALLEST, load_predictor
from nanostyle.nets.predictor import Backbone, PredictionNet, VggBackbone
from nanostyle.nets.transformer import TransformerNet, transformer_config
from nanostyle.nets.vgg import LossNetwork
from nanostyle.nn.module import freeze, set_state, state
from nanostyle.training.loop import Step, train
from nanostyle.training.objective import Objective
from nanostyle.training.options import TrainOptions
from nanostyle.training.predict_task import PredictTask


def train_predict(
    photos: Sequence[Path],
    paintings: Mapping[str, Path],
    network: LossNetwork,
    options: TrainOptions,
    output: Path,
    *,
    backbone: Backbone,
    resume: bool = False,
    overwrite: bool = False,
    device: Device = CPU,
) -> Generator[Step, None, None]:
    """Train a prediction network on `paintings`; yields steps and raises as `trainer.train` does.

    Parameters
    ----------
    paintings
        Name to file (`data.style_files`): the more, the nearer come those that it has never seen.
    network
        The loss network, on the same device.
    backbone
        What looks at the paintings (`predictfile.load_backbone`), on the same device. A loss network stays as it is
        unless the options say `finetune`.

    Raises
    ------
    NanostyleError
        The model that the options name to `start_from` has another backbone. Its width is taken.
    ValueError
        The paintings' side is not one that a model file may have.
    """
    if not SMALLEST <= options.style_side <= LARGEST:
        raise ValueError(f"style_size: expected from {SMALLEST} to {LARGEST} pixels, got {options.style_side}")
    base = load_predictor(options.start_from).net if options.start_from else None
    if base:
        options = replace(options, width=base.transformer.config["width"])
    rng = np.random.default_rng(options.seed)
    if isinstance(backbone, VggBackbone) and not options.finetune:
        freeze(backbone)
    net = PredictionNet(TransformerNet(transformer_config("ghiasi", width=options.width), rng), backbone, rng)
    task = PredictTask(net, paintings, Objective(network, options), device=device)
    if base and base.config != net.config:
        raise NanostyleError(f"{options.start_from} has another backbone; leave out --backbone to take the model's own")
    if base:
        set_state(net, {name: to_device(value.copy(), device) for name, value in state(base).items()})
    yield from train(task, photos, options, output, resume=resume, overwrite=overwrite, device=device)
