"""One network for any painting, in one pass (Ghiasi 2017).

A prediction network looks at a painting and gives the transformer network its gammas and betas. Trained on many
paintings, it handles those that it has never seen.

    networks        nets/predictor.py: prediction; nets/transformer.py: architecture `ghiasi`
    loss            training/objective.py
    training        training/predict_task.py, and the loop in training/loop.py
    trained model   models/predictor.py
    command         nanostyle train, mode predict

Options that matter: the number of paintings; `steps`, `style_weight`, `style_size` (size at which paintings are seen),
`width` (speed), `backbone`, `photo_share`.

Departures from the paper. Where an option is named, it can undo them:

- The backbone is a loss network, not Inception-v3, and stays as it is (`finetune`): far fewer paintings are enough.
- An eighth of the photos have themselves as their style and are to come out as they went in (`photo_share`): the near
  end of a dial of strength.
- Content and style losses are relative, so that weights suit any loss network (nn/losses.py).
- The loss layers are relu4_2 for content and relu1_1 to relu5_1 for style, as in Gatys 2016.
- A checkerboard penalty (`grid_weight`) is added.
- The learning rate decays, and gamma and beta learn faster (`lr_decay`, `norm_rate`).
- The hue of paintings varies half as far (training/batches.py).
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from nanostyle.backend.device import CPU, Device, to_device
from nanostyle.errors import NanostyleError
from nanostyle.models.predictor import LARGEST, SMALLEST, load_predictor
from nanostyle.nets.predictor import Backbone, PredictionNet, VggBackbone
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nets.transformer_config import transformer_config
from nanostyle.nets.vgg import LossNetwork
from nanostyle.nn.module import freeze, set_state, state
from nanostyle.training.loop import TrainingStep, train
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
) -> Generator[TrainingStep, None, None]:
    """Train a prediction network on `paintings`; yields a `TrainingStep` after each step.

    Parameters
    ----------
    photos
        Picture files to train on.
    paintings
        By the style's name, its picture file (`io.pictures.style_files`). The more there are, the better the network
        does with paintings that it has never seen.
    network
        The loss network, on `device`.
    options
        With `start_from`, the width is that of that model.
    backbone
        The network that looks at the paintings (`models.predictor.load_backbone`), on `device`. A loss network is
        frozen unless the options say `finetune`.
    output, resume, overwrite, device
        As of `training.loop.train`.

    Raises
    ------
    NanostyleError
        The model of `start_from` has another backbone; none of the paintings can be used.
    ValueError
        The paintings' side is not one that a model file may have; there are no paintings; a model cannot be read.

    Further errors are those of `training.loop.train`.
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
        raise NanostyleError(
            f"{options.start_from} has another backbone", hint="leave out {backbone} to take the model's own"
        )
    if base:
        set_state(net, {name: to_device(value.copy(), device) for name, value in state(base).items()})
    yield from train(task, photos, options, output, resume=resume, overwrite=overwrite, device=device)
