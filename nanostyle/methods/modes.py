"""The kinds of training by their names."""

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nanostyle.backend.device import Device
from nanostyle.methods.cin import add_style, train_cin
from nanostyle.methods.feedforward import train_feedforward
from nanostyle.methods.predict import train_predict
from nanostyle.models.loss_network import loss_network
from nanostyle.models.predictor import load_backbone
from nanostyle.training.loop import TrainingStep, with_shards
from nanostyle.training.options import TrainOptions

MODES = ("feedforward", "cin", "predict")


def train_mode(
    mode: str,
    photos: Sequence[Path],
    paintings: Mapping[str, Path],
    options: TrainOptions,
    output: Path,
    *,
    weights: Mapping[str, float] | None = None,
    add_to: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: Device,
) -> Generator[TrainingStep, None, None]:
    """Train a network in one of the `MODES`; yields steps and raises as `training.loop.train` does.

    `paintings` go from name to file; `weights` say, for cin, how much the style term of each counts. `add_to` is a
    model of cin, to which they are added.

    Raises
    ------
    ValueError
        The mode is not known, or does not take so many paintings, or weights.
    """
    if add_to is not None and mode != "cin":
        raise ValueError(f"train: only mode cin adds styles to a model, got mode {mode}")
    if mode not in MODES:
        raise ValueError(f"mode: expected feedforward, cin or predict, got {mode!r}")
    if mode != "cin" and (weights or (mode == "feedforward" and len(paintings) != 1)):
        takes = "one painting and no weights" if mode == "feedforward" else "no weights"
        count = len(weights or ())
        raise ValueError(f"train: mode {mode} takes {takes}, got {len(paintings)} paintings and {count} weights")
    options = with_shards(options, output, resume=resume)
    network = loss_network(options.loss_net, device=device)
    how: dict[str, Any] = {"resume": resume, "overwrite": overwrite, "device": device}
    if add_to is not None:
        return add_style(add_to, photos, paintings, network, options, output, weights=weights, **how)
    if mode == "cin":
        return train_cin(photos, paintings, network, options, output, weights=weights, **how)
    if mode == "predict":
        named = options.backbone or options.start_from or options.loss_net
        backbone = load_backbone(named, seed=options.seed, device=device)
        return train_predict(photos, paintings, network, options, output, backbone=backbone, **how)
    return train_feedforward(photos, next(iter(paintings.values())), network, options, output, **how)
