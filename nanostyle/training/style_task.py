"""The task of the methods `feedforward` and `cin`: a transformer network learns one style or several."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nanostyle import __version__
from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.backend.device import CPU, Device, module_of, to_device, to_host
from nanostyle.backend.types import Array, Pixels
from nanostyle.errors import with_hint
from nanostyle.io.contact_sheet import sheet
from nanostyle.io.image_write import thumbnail_jpeg
from nanostyle.models.base import IDENTITY
from nanostyle.models.multistyle import Model, save_model
from nanostyle.nets.cost import loss_gradient, training_step
from nanostyle.nets.perceptual import Grams
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nn.module import is_style_parameter, move, set_state, state
from nanostyle.training.batches import STYLES
from nanostyle.training.objective import Objective
from nanostyle.training.variations import pan_loss, second_pass, variation_at


class StyleTask:
    """A `Task`: `net` learns `paintings`, one row of gamma and beta each, and the row `photo` if it has one.

    Each batch mixes styles. They follow one another in a random order, all of them before one comes again.

    Parameters
    ----------
    mode
        The name of the method: `feedforward`, `cin` or `add-style`.
    net
        A network with a row for each painting, and before them one for `photo` if its config says `identity`.
    paintings
        By the style's name its picture `(H, W, 3)`, in the order of the rows.
    objective
        The loss.
    weights
        By the style's name, a factor on its style loss; 1 if not named.

    Raises
    ------
    ValueError
        A weight is not above 0, or names no style; a painting is called `photo`.
    """

    def __init__(
        self,
        mode: str,
        net: TransformerNet,
        paintings: Mapping[str, Pixels],
        objective: Objective,
        *,
        weights: Mapping[str, float] | None = None,
        device: Device = CPU,
    ) -> None:
        self.net, self.mode = net, mode
        self.skipped: dict[Path, str] = {}  # an unreadable painting is an error before it comes here
        identity = net.config["identity"]
        if IDENTITY in paintings:
            raise with_hint(
                ValueError(f"a style may not be called {IDENTITY!r}, which is the photo's own"), "rename the file"
            )
        self.styles = [IDENTITY] * identity + list(paintings)
        self._paintings, self._objective, self._device = dict(paintings), objective, device
        self._weights = dict(weights or {})
        for name, weight in self._weights.items():
            if name not in paintings or not (0 < weight < np.inf):
                raise ValueError(f"style weight {name}={weight}: expected the name of a style and a number above 0")
        move(net, device)
        # The row `photo` has the weight 0: its target is never looked at.
        each = [objective.grams(to_device(p[None], device)) for p in self._paintings.values()]
        rows = [each[0]] * identity + each
        self._targets: Grams = {k: module_of(v).concatenate([row[k] for row in rows]) for k, v in each[0].items()}
        shares = [0.0] * identity + [self._weights.get(name, 1.0) for name in self._paintings]
        self._row_weight = np.array(shares, np.float32)

    def describe(self) -> dict[str, Any]:
        """What a checkpoint must agree with."""
        return {"mode": self.mode, "network": self.net.config, "styles": self.styles, "style weights": self._weights}

    def inputs(self, step: int, count: int) -> dict[str, Any]:
        """The rows of the `count` photos of `step`, the factors on their style losses, and whether one is `photo`.

        Also how the photos are varied: see `variation_at`.
        """
        rows = self.rows_at(step, count)
        weight = self._row_weight[rows]
        varied = variation_at(self._objective.options, step, count)
        return {"rows": rows, "weight": weight, "own": not weight.all(), **varied}

    def losses(
        self,
        photos: Array,
        *,
        rows: Array,
        weight: Array,
        own: bool,
        second: int = 0,
        grain: Array | None = None,
        pan: tuple[int, int] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of photos `(N, H, W, 3)`, each in the style of its row, and its terms; see `Objective.losses`."""
        styles = rows if self.net.styled_layers else None
        x = photos if grain is None else photos + grain
        if second:
            late = None if styles is None else styles[-second:]
            x = second_pass(x, second, lambda small: self.net(small, late))
        y = self.net(Tensor(x), styles, training=True)
        targets = {layer: grams[rows] for layer, grams in self._targets.items()}
        loss, terms = self._objective.losses(y, photos, targets, weight, own=own)
        if pan:
            moved = pan_loss(x, y, pan, lambda photos: self.net(photos, styles, training=True))
            terms["pan"] = moved * self._objective.options.pan_weight
            loss = loss + terms["pan"]
        return loss, terms

    def bytes_per_pixel(self) -> float:
        """The memory that a step takes, in bytes for each pixel of the photos."""
        network, layers = self._objective.network, self._objective.layers
        step = training_step(self.net, network, layers)
        return step + (step - loss_gradient(network, layers) if self._objective.options.pan_weight else 0.0)

    def rows_at(self, step: int, count: int) -> npt.NDArray[np.int64]:
        """The rows `(count,)` of the photos of `step`: they depend on the seed and the step alone."""
        S, seed = len(self.styles), self._objective.options.seed
        first, last = step * count // S, ((step + 1) * count - 1) // S
        turns = [np.random.default_rng([seed, STYLES, turn]).permutation(S) for turn in range(first, last + 1)]
        start = step * count - first * S
        return np.concatenate(turns)[start : start + count]

    def preview(self, photos: Sequence[Pixels]) -> tuple[Pixels, dict[str, dict[str, float]]]:
        """A sheet of photos x styles, and the content and style loss of each, unweighted means over the photos."""
        columns: list[list[Pixels]] = []
        measured = {}
        for row, name in enumerate(self.styles):
            results, losses = [], []
            for photo in photos:
                x = to_device(photo[None], self._device)
                with no_grad():
                    style = to_device(np.array([row]), self._device)
                    y = self.net(Tensor(x), style if self.net.styled_layers else None)
                targets = {layer: grams[row : row + 1] for layer, grams in self._targets.items()}
                losses.append(self._objective.measure(y, x, targets))
                results.append(to_host(y.data)[0])
            columns.append(results)
            measured[name] = {term: float(np.mean([loss[term] for loss in losses])) for term in losses[0]}
        if self.styles[0] == IDENTITY:
            measured.pop(IDENTITY)
        top = [None, *(self._paintings.get(name) for name in self.styles)]
        rows = [[photo, *(column[i] for column in columns)] for i, photo in enumerate(photos)]
        return sheet([top, *rows], column_labels=["", *self.styles], cell=192), measured

    def model(self, recipe: Mapping[str, Any]) -> Model:
        """The network as it is now, with all that its file holds."""
        options = self._objective.options
        return Model(
            net=self.net,
            styles=self.styles,
            thumbnails={name: thumbnail_jpeg(painting) for name, painting in self._paintings.items()},
            recipe={"mode": self.mode, **recipe},
            source=f"nanostyle {__version__}, train --mode {self.mode}",
            license=options.license,
            storage=options.storage,
        )

    def save(self, path: Path, recipe: dict[str, Any]) -> None:
        """Write the model."""
        save_model(path, self.model(recipe))


class NewStylesTask(StyleTask):
    """The task of `add_style`: `net` has the new rows only, the model that is saved has those of `base` too.

    Parameters are those of `StyleTask`.
    """

    def __init__(
        self,
        base: Model,
        net: TransformerNet,
        paintings: Mapping[str, Pixels],
        objective: Objective,
        *,
        weights: Mapping[str, float] | None = None,
        device: Device = CPU,
    ) -> None:
        super().__init__("add-style", net, paintings, objective, weights=weights, device=device)
        self._base = base

    def model(self, recipe: Mapping[str, Any]) -> Model:
        """The model `base` with the new rows after its own."""
        base, new = self._base, super().model(recipe)
        net = TransformerNet(
            {**base.net.config, "styles": len(base.styles) + len(self.styles)}, np.random.default_rng(0)
        )
        rows = {name: to_host(value) for name, value in state(self.net).items() if is_style_parameter(name)}
        old = state(base.net)
        set_state(net, {k: np.concatenate([v, rows[k]]) if k in rows else v for k, v in old.items()})
        return replace(
            base,
            net=net,
            styles=base.styles + self.styles,
            storage=new.storage,
            thumbnails=base.thumbnails | new.thumbnails,
            recipe=base.recipe | {"added": [*base.recipe.get("added", []), {"styles": self.styles, **new.recipe}]},
        )
