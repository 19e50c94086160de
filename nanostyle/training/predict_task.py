"""The task of style prediction: any painting."""

import hashlib
import os
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nanostyle import __version__
from nanostyle.autograd.ops import concat
from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.backend.device import CPU, Device, module_of, to_device, to_host
from nanostyle.backend.types import Array, Pixels
from nanostyle.io.contact_sheet import sheet
from nanostyle.io.pictures import load_short
from nanostyle.models.base import IDENTITY
from nanostyle.models.predictor import Predictor, save_predictor
from nanostyle.nets.cost import loss_gradient, training_step
from nanostyle.nets.perceptual import Grams
from nanostyle.nets.predictor import PredictionNet, VggBackbone
from nanostyle.nn.module import move
from nanostyle.training.batches import Pictures, decoders
from nanostyle.training.objective import Objective

_HELD_OUT = 3
_CALIBRATION = 64


class PredictTask:
    """A `trainer.Task`: `net` learns to predict styles from `paintings`.

    Each photo of a batch has another painting, of which a crop is taken at random, scaled, mirrored, with its
    brightness, saturation and hue varied; the Gram matrices are those of that crop. The first photos of some batches
    have themselves in place of a painting and are to come out as they went in: the near end of `--strength`. Where
    there are paintings enough, a few are held out, for the previews alone.

    Parameters
    ----------
    paintings
        Name to file.

    Raises
    ------
    ValueError
        There are no paintings.
    NanostyleError
        None of them can be used.
    """

    def __init__(
        self, net: PredictionNet, paintings: Mapping[str, Path], objective: Objective, *, device: Device = CPU
    ) -> None:
        if not paintings:
            raise ValueError("styles: expected paintings to learn from, the more the better; got none")
        self.net = net
        self._objective, self._device = objective, device
        options = objective.options
        names = list(paintings)
        self.held_out = names[:: len(names) // _HELD_OUT][:_HELD_OUT] if len(names) >= 10 * _HELD_OUT else []
        self.learned = [name for name in names if name not in self.held_out]
        self._files = dict(paintings)
        # Another seed than that of the photos: which painting meets which photo is to be another one in each epoch.
        self._pictures = Pictures(
            [paintings[name] for name in self.learned],
            batch=options.batch,
            size=options.style_side,
            seed=options.seed + 1,
            colors=True,
            workers=decoders(device),
        )
        self.skipped = self._pictures.skipped
        self._batches: Generator[Pixels, None, None] | None = None
        self._next = 0
        move(net, device)
        if isinstance(net.predictor.backbone, VggBackbone):
            count = min(_CALIBRATION, len(self.learned))
            crops = [self._pictures.crop(0, i) for i in range(count)]
            net.predictor.calibrate([to_device(crop[None], device) for crop in crops])

    def describe(self) -> dict[str, Any]:
        """What a checkpoint must agree with."""
        names = hashlib.sha256(b"\n".join(map(os.fsencode, self._files))).hexdigest()[:12]
        return {"mode": "predict", "network": self.net.config, "paintings": f"{len(self._files)} ({names})"}

    def inputs(self, step: int, count: int) -> dict[str, Any]:
        """The paintings of `step`, for all but the first photos, which are their own style, and how many those are."""
        own = self.own_at(step, count)
        return {"paintings": self._paintings(step)[own:], "own": own}

    def losses(self, photos: Array, *, paintings: Array, own: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, the first `own` photos in their own style, each other in that of its painting."""
        N = len(photos)
        embedding = self.net.predictor.embed(Tensor(paintings), training=True)
        if own:
            embedding = concat(self.net.predictor.embed(Tensor(photos[:own]), training=True), embedding, axis=0)
        y = self.net(Tensor(photos), embedding, training=True)
        xp = module_of(photos)
        targets: Grams = {
            # Those of a photo that is to come out as it went in are never looked at.
            layer: xp.concatenate([xp.zeros((own, *grams.shape[1:]), grams.dtype), grams])
            for layer, grams in self._objective.grams(paintings).items()
        }
        weight = (xp.arange(N) >= own).astype(photos.dtype)
        return self._objective.losses(y, photos, targets, weight, own=own > 0)

    def bytes_per_pixel(self) -> float:
        """What a step takes of a GPU's memory: the paintings go through a loss network too, and back."""
        network, layers = self._objective.network, self._objective.layers
        paintings = (self._objective.options.style_side / self._objective.options.size) ** 2
        return training_step(self.net.transformer, network, layers) + paintings * loss_gradient(network, layers)

    def own_at(self, step: int, count: int) -> int:
        """How many of the `count` photos of `step` are their own style: spread evenly over the steps."""
        share = self._objective.options.photo_share * count
        return min(int((step + 1) * share) - int(step * share), count - 1)

    def _paintings(self, step: int) -> Pixels:
        """The crops of `step`; they are decoded ahead as long as step follows step."""
        if self._batches is None or step != self._next:
            if self._batches is not None:
                self._batches.close()
            self._batches = self._pictures.batches(step)
        self._next = step + 1
        return next(self._batches)

    def preview(self, photos: Sequence[Pixels]) -> tuple[Pixels, dict[str, dict[str, float]]]:
        """Photos x paintings, first some learned, then those held out; and their losses as the mean over the photos."""
        names = [*self.learned[:: max(1, len(self.learned) // _HELD_OUT)][:_HELD_OUT], *self.held_out]
        side = self._objective.options.style_side
        thumbnails, columns, measured = [], [], {}
        for name in names:
            try:
                painting = load_short(self._files[name], side)
            except (OSError, ValueError):
                continue  # among hundreds there may be one that cannot be read
            results, losses = self.results(painting, photos)
            thumbnails.append(painting)
            columns.append(results)
            measured[name] = losses
        own = [self.results(photo, [photo])[0][0] for photo in photos]
        rows = [[photo, own[i], *(column[i] for column in columns)] for i, photo in enumerate(photos)]
        labels = ["", IDENTITY, *(f"unseen: {name}" if name in self.held_out else name for name in measured)]
        return sheet([[None, None, *thumbnails], *rows], column_labels=labels, cell=192), measured

    def results(self, painting: Pixels, photos: Sequence[Pixels]) -> tuple[list[Pixels], dict[str, float]]:
        """The photos in the style of `painting`, and content and style loss without weights, as the mean over them."""
        art = to_device(painting[None], self._device)
        targets = self._objective.grams(art)
        results, losses = [], []
        for photo in photos:
            x = to_device(photo[None], self._device)
            with no_grad():
                y = self.net(Tensor(x), self.net.predictor.embed(Tensor(art)))
            losses.append(self._objective.measure(y, x, targets))
            results.append(to_host(y.data)[0])
        return results, {term: float(np.mean([loss[term] for loss in losses])) for term in losses[0]}

    def model(self, recipe: Mapping[str, Any]) -> Predictor:
        """The network as it is now, with what belongs into its file."""
        options = self._objective.options
        return Predictor(
            net=self.net,
            style_size=options.style_side,
            recipe={"mode": "predict", "paintings": len(self.learned), **recipe},
            source=f"nanostyle {__version__}, train --mode predict",
            license=options.license,
            storage=options.storage,
            device=self._device,
        )

    def save(self, path: Path, recipe: dict[str, Any]) -> None:
        """Write the model."""
        save_predictor(path, self.model(recipe))
