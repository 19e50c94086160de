"""The task of the method `predict`: a network learns to predict styles from paintings."""

import hashlib
import itertools
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
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
from nanostyle.training.shards import numbers_from
from nanostyle.training.variations import pan_loss, second_pass, spread_evenly, variation_at

_HELD_OUT = 3
_CALIBRATION = 64


class PredictTask:
    """A `Task`: `net` learns to predict styles from `paintings`.

    Each photo of a batch has a painting of its own. Its style is that of a random crop of the painting, scaled,
    mirrored, with brightness, saturation and hue varied. In some batches the first photos are their own style: the
    network learns to return them unchanged, which is what strength 0 means. Of thirty paintings or more, three are held
    out for the previews.

    Parameters
    ----------
    net
        The network; a backbone that is a loss network is calibrated on some of the paintings.
    paintings
        By the style's name, its picture file.
    objective
        The loss.

    Attributes
    ----------
    learned, held_out : list of str
        The names of the paintings to train on, and of those for previews.

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
        # Another seed than that of the photos, so that a photo meets another painting in each epoch.
        self._pictures = Pictures(
            [paintings[name] for name in self.learned],
            batch=options.shard_size,
            size=options.style_side,
            seed=options.seed + 1,
            colors=True,
            workers=decoders(device),
        )
        self.skipped = self._pictures.skipped
        self._batches: Generator[Pixels, None, None] | None = None
        self._order: Iterator[int] = iter(())
        self._kept: dict[int, Grams] = {}
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
        """What `step` needs besides the photos: the paintings, and how many of the first photos are their own style.

        Also how the photos are varied: see `variation_at`.
        """
        options = self._objective.options
        own = self.own_at(step, count)
        given = {"paintings": self._paintings(step)[own:], "own": own, **variation_at(options, step, count, own)}
        if options.style_crops and self._device == CPU:
            given["place"] = self._place(step)
        return given

    def losses(
        self,
        photos: Array,
        *,
        paintings: Array,
        own: int,
        second: int = 0,
        grain: Array | None = None,
        pan: tuple[int, int] | None = None,
        place: int | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, the first `own` photos in their own style, each other in that of its painting."""
        N = len(photos)
        training = not self._objective.options.frozen_norm
        embedding = self.net.predictor.embed(Tensor(paintings), training=True)
        if own:
            embedding = concat(self.net.predictor.embed(Tensor(photos[:own]), training=True), embedding, axis=0)
        x = photos if grain is None else photos + grain
        if second:
            x = second_pass(x, second, lambda small: self.net(small, Tensor(embedding.data[-second:])))
        y = self.net(Tensor(x), embedding, training=training)
        xp = module_of(photos)
        targets: Grams = {
            # A photo in its own style has the weight 0: its target is never looked at.
            layer: xp.concatenate([xp.zeros((own, *grams.shape[1:]), grams.dtype), grams])
            for layer, grams in self._grams(paintings, own, place).items()
        }
        weight = (xp.arange(N) >= own).astype(photos.dtype)
        loss, terms = self._objective.losses(y, photos, targets, weight, own=own > 0)
        if pan:
            moved = pan_loss(x, y, pan, lambda photos: self.net(photos, embedding, training=training))
            terms["pan"] = moved * self._objective.options.pan_weight
            loss = loss + terms["pan"]
        return loss, terms

    def _grams(self, paintings: Array, own: int, place: int | None) -> Grams:
        """The Gram matrices of a batch's paintings. They are cached by `place`, where the same crops come again."""
        if place is None or own:
            return self._objective.grams(paintings)
        if place not in self._kept:
            self._kept[place] = self._objective.grams(paintings)
        return self._kept[place]

    def _place(self, step: int) -> int:
        """The earlier step whose crops `step` repeats, if each painting has a fixed number of crops."""
        options = self._objective.options
        count = options.style_crops * len(self.learned) // options.shard_size
        return step % max(1, count) if options.style_crops else step

    def bytes_per_pixel(self) -> float:
        """The memory that a step takes, in bytes for each pixel of the photos, that of the paintings included."""
        network, layers = self._objective.network, self._objective.layers
        paintings = (self._objective.options.style_side / self._objective.options.size) ** 2
        step, looks = training_step(self.net.transformer, network, layers), loss_gradient(network, layers)
        moved = step - looks if self._objective.options.pan_weight else 0.0
        return step + moved + paintings * looks

    def own_at(self, step: int, count: int) -> int:
        """How many of the `count` photos of `step` are their own style: spread evenly over the steps."""
        return min(spread_evenly(self._objective.options.photo_share, step, count), count - 1)

    def _paintings(self, step: int) -> Pixels:
        """The crops `(batch, S, S, 3)` of `step`. They are decoded ahead as long as steps come in their order."""
        if self._batches is None or step != next(self._order):
            if self._batches is not None:
                self._batches.close()
            shards = self._objective.options.parts
            self._order = itertools.islice(numbers_from(step, shards), 1, None)
            self._batches = self._pictures.batches(map(self._place, numbers_from(step, shards)))
        return next(self._batches)

    def preview(self, photos: Sequence[Pixels]) -> tuple[Pixels, dict[str, dict[str, float]]]:
        """A sheet of photos x paintings, some learned and those held out; their losses as means over the photos."""
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
        """The photos in the style of `painting`, and the content and style loss, unweighted means over the photos."""
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
        """The network as it is now, with all that its file holds."""
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
