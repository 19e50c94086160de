"""Styles made ready for photos: which method, which model, regions, colors and the recipe are settled here, once."""

import dataclasses
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from nanostyle import __version__
from nanostyle.backend.device import Device, pick_device
from nanostyle.backend.rows import MAPS_PART, combined, keeping
from nanostyle.backend.threads import set_threads
from nanostyle.backend.types import Pixels
from nanostyle.errors import NanostyleError
from nanostyle.io.atomic import sha256
from nanostyle.io.image_read import MAX_PIXELS, Picture
from nanostyle.io.picture_rows import RowPicture
from nanostyle.io.resample import resize
from nanostyle.io.sources import Source, as_list, name_of, read_source, recorded_name
from nanostyle.methods.choice import Models, called, networks_for
from nanostyle.methods.colors import keep_colors
from nanostyle.methods.in_rows import read_photo, rows_painter
from nanostyle.methods.masks import Mask, fitted_masks, read_mask, within
from nanostyle.methods.one_pass import Paint, blends, memory_for, painter
from nanostyle.methods.preview import preview_of
from nanostyle.methods.request import PROGRAM, StylizeOptions
from nanostyle.methods.result import LargeResult, Progress, Result
from nanostyle.methods.wanted import Wanted, check_request, kind_of, recorded
from nanostyle.models.base import TrainedModel
from nanostyle.models.loss_network import default_loss_network, loss_network
from nanostyle.models.registry import LOSS_NETWORKS, find
from nanostyle.models.shift import STILL, Shift

_MEMORY = 2 << 30  # bytes of a pass in rows where nobody says how much there is


class Stylizer:
    """One style or a blend, ready for any number of photos: model and paintings are read once.

    Parameters
    ----------
    style
        One style or a list of them: the name of a style of a model (`starry_night_van_gogh`); a painting (a path, a
        PIL image or an array); a saved style (a `Style`, or the path of its `.h5` file). A model of one style needs
        none.
    model
        A trained model: `any`, `styles`, a path, or what `load_model` returns; a list: one for each style. None: a
        built-in one that fits; names and paintings together take one each.
    options, changes
        A `StylizeOptions`, and fields of it by name; the fields of `GatysOptions` may be named as well.

    Attributes
    ----------
    options : StylizeOptions
        As they were given.
    method : str
        `predict`, `cin`, `feedforward` or `gatys`; of several models their methods, as `predict + cin`.
    title : str
        Method and network, in words.
    model : TrainedModel or None
        The trained model; None for gatys, and for several models.
    style : object or None
        The blend of the styles, as the model understands it; None where `model` is. That of a network for any
        painting is a `Style`, which can be saved.
    device : Device
        Where it computes.
    facts : dict
        What the recipe says of method and style.

    Raises
    ------
    NanostyleError
        The styles, the model and the options do not fit together; the message names what does not.
    FileNotFoundError, OSError, ValueError
        A file cannot be read, or a value is outside its range.

    Examples
    --------
    >>> from nanostyle import Stylizer
    >>> stylizer = Stylizer(["scream_munch", "udnie_picabia"], weights=[3, 1], size=64)
    >>> [stylizer.stylize(photo).pixels.shape for photo in ["docs/pictures/photo.jpg"]]
    [(43, 64, 3)]
    """

    def __init__(
        self,
        style: Wanted | Sequence[Wanted] | None = None,
        *,
        model: Models = None,
        options: StylizeOptions | None = None,
        **changes: Any,
    ) -> None:
        self.options = (options or StylizeOptions()).changed(changes)
        wanted = as_list(style)
        kinds = [kind_of(one) for one in wanted]
        check_request(self.options, wanted, kinds, model)
        if self.options.threads is not None:
            set_threads(self.options.threads)
        self.device = self._device_for(model).use()
        self._limit = self.options.memory  # once: what is free changes
        self._memory = self._limit or _MEMORY
        masks = [read_mask(mask, self._memory) for mask in self.options.masks]
        self._regions = [mask for mask, _ in masks]
        self.model: TrainedModel[Any] | None = None
        self._models: list[TrainedModel[Any]] = []
        self.style: Any = None
        self._work: Callable[[Pixels, Sequence[Mask]], Iterator[_Stage]]
        networks = networks_for(kinds, model, self.options, self.device)
        # A name of a style is a text, and no picture.
        found = [read_source(one) if kind == "painting" else None for one, kind in zip(wanted, kinds, strict=True)]
        digests = [picture.sha256 if picture else _digest(one) for picture, one in zip(found, wanted, strict=True)]
        self.facts: dict[str, Any] = {
            "styles": [recorded(one) for one in wanted],
            "styles_sha256": digests,
            "weights": list(self.options.weights),
            "masks": [recorded_name(mask) for mask in self.options.masks],
            "masks_sha256": [digest for _, digest in masks],
        }
        if networks:
            self._prepare_one_pass(networks, wanted, found)
        else:
            self._prepare_gatys([picture.pixels for picture in found if picture])

    # --- photos -----------------------------------------------------------------------------------------------------

    def stylize(self, photo: Source | Picture | RowPicture, *, name: str = "") -> Result:
        """The photo in the style. Parameters and errors are those of `steps`."""
        *_, last = self.steps(photo, name=name)
        return last.picture

    def read(self, photo: Source | Picture) -> Picture | RowPicture:
        """A photo for `steps`; of one that does not fit into the memory rows are read. Errors are those of `steps`."""
        return read_photo(photo, self.options.size, self._memory, self._in_rows)

    def _in_rows(self, size: tuple[int, ...]) -> bool:
        """Whether a photo of `size` (height, width) is worked on in bands of rows."""
        if not self._models or self.device.is_gpu:
            return False
        if size[0] * size[1] > MAX_PIXELS:
            return True
        return self._limit is not None and self._needed((size[0], size[1])) > self._limit

    def steps(self, photo: Source | Picture | RowPicture, *, name: str = "") -> Generator[Progress, None, None]:
        """Stylize a photo; yields a `Progress` after each step, the last one with the result. Closing it cancels.

        Parameters
        ----------
        photo
            A path, a PIL image, or an array `(H, W)`, `(H, W, 3)` or `(H, W, 4)` of uint8 or of floats in 0..1.
        name
            What the recipe calls it. Default: the name of its file.

        Raises
        ------
        FileNotFoundError, OSError, TypeError, ValueError
            The photo cannot be read, or is too small for the layers of the loss network.
        NanostyleError
            The photo does not fit into the memory of the GPU; or gatys diverged, and the last picture is still good.
        """
        picture = photo if isinstance(photo, RowPicture) else self.read(photo)
        name = name or recorded_name(photo)
        masks = fitted_masks(self._regions, [name_of(mask) for mask in self.options.masks], picture)
        if self.options.preview:
            seen, picture = preview_of(picture, strokes=self.options.strokes, one_pass=self.method != "gatys")
        elif isinstance(picture, RowPicture):
            yield self._large(picture, name, masks)
            return
        else:
            seen = picture.pixels
        for done, total, loss, terms, facts, pixels in self._work(seen, masks):
            make = partial(self._result, picture, name, pixels, facts)
            yield Progress(done, total, loss, terms, make)

    def render(self, pixels: Pixels, *, shift: Shift = STILL, masks: Sequence[Mask] | None = None) -> Pixels:
        """One pass over `pixels` `(H, W, 3)`, RGB in 0..1, float32: the picture alone, for video and the camera.

        Of a video `shift` says how far the frame has moved over its scene, and `masks` are those of the frame, in place
        of those of the options.

        Raises
        ------
        NanostyleError
            The method is gatys, which is not one pass.
        """
        if self._render is None:
            raise NanostyleError("render: method gatys is not one pass", hint="use steps, or another {method}")
        made = self._render(pixels, self._regions if masks is None else masks, shift)
        return keep_colors(made, pixels) if self.options.colors == "content" else made

    def memory_for(self, size: tuple[int, int]) -> float | None:
        """The bytes that a photo of `size` (height, width) takes; None where several at once are no quicker."""
        if self.model is None or self.device.is_gpu:
            return None
        return self._needed(size)

    def _large(self, picture: RowPicture, name: str, masks: Sequence[Mask]) -> Progress:
        """A photo of which rows are read, painted but for the last pass, which is computed when it is saved."""
        memory = int(MAPS_PART * self._memory)
        with keeping(memory):
            rows = self._paint_rows(picture.pixels, masks)
        if self.options.colors == "content":
            rows = combined(keep_colors, rows, picture.pixels)
        # Bands change the rounding, so a result is repeated with the same ones.
        recipe = self._recipe_for(picture, name, {"max_memory": self._memory + PROGRAM})
        about = picture.alpha, recipe, picture.bits, picture.metadata
        return Progress(1, 1, None, {}, lambda: LargeResult(rows, *about, memory))

    def _recipe_for(self, picture: Picture | RowPicture, name: str, facts: dict[str, Any]) -> dict[str, Any]:
        about = {"photo_sha256": picture.sha256, "size": self.options.size, "preview": self.options.preview}
        return {**self.recipe_of(name), **about, **facts}

    def _result(self, picture: Picture, name: str, made: Callable[[], Pixels], facts: dict[str, Any]) -> Result:
        # An unfinished coarse level is smaller than the photo.
        height, width = picture.pixels.shape[:2]
        pixels = resize(made(), (height, width))
        if self.options.colors == "content":
            pixels = keep_colors(pixels, picture.pixels)
        recipe = self._recipe_for(picture, name, facts)
        return Result(pixels, picture.alpha, recipe, picture.bits, picture.metadata)

    def recipe_of(self, name: str) -> dict[str, Any]:
        """How a photo of that name is stylized, in values that JSON can hold."""
        device = {"device": self.device.name, "precision": self.device.precision}
        return {"nanostyle": __version__, "photo": name, "colors": self.options.colors, **device, **self.facts}

    # --- what is asked for ------------------------------------------------------------------------------------------

    def _device_for(self, model: Models) -> Device:
        if isinstance(model, list | tuple):
            model = model[0]
        if isinstance(model, TrainedModel):
            if self.options.device not in ("auto", model.device.name):
                raise ValueError(f"device: the model is on {model.device}, got {self.options.device!r}")
            return model.device
        return pick_device(self.options.device, self.options.precision)

    # --- the two ways -----------------------------------------------------------------------------------------------

    def _prepare_one_pass(
        self, models: Sequence[TrainedModel[Any]], wanted: Sequence[Wanted], paintings: Sequence[Picture | None]
    ) -> None:
        options, each = self.options, list(dict.fromkeys(models))
        self._models = each
        self.method = " + ".join(dict.fromkeys(model.kind for model in each))
        self.title = f"method {self.method}, model {' + '.join(str(model.path or model.kind) for model in each)}"
        styles = [_style_of(*one) for one in zip(models, wanted, paintings, strict=False)] or [models[0].style()]
        mixed = blends(models, styles, options.weights)
        if len(each) == 1:
            self.model, self.style = mixed[0].model, mixed[0].style
        results = len(styles) if self._regions else len(mixed)
        self._needed = partial(memory_for, each, strokes=options.strokes, results=results)
        how: dict[str, Any] = {"strength": options.strength, "strokes": options.strokes}
        how["by_mask"] = bool(self._regions)
        paint = painter(models, styles, mixed, **how, memory=self._limit)
        self._paint_rows = rows_painter(models, styles, mixed, **how, memory=self._memory)
        self._render: Paint | None = paint

        def work(pixels: Pixels, masks: Sequence[Mask]) -> Generator[_Stage, None, None]:
            made = paint(pixels, masks)
            yield 1, 1, None, {}, {"max_memory": None}, lambda: made

        self._work = work
        self.facts |= {
            "method": self.method,
            "model": " + ".join(recorded_name(model.path) for model in each),
            "model_sha256": " + ".join(model.sha256 for model in each),
            "strength": options.strength,
            "strokes": options.strokes,
        }

    def _prepare_gatys(self, styles: Sequence[Pixels]) -> None:
        from nanostyle.methods.gatys import Step, gatys  # on use: one pass is done sooner without it

        options = self.options
        if options.colors == "content" and options.gatys.init == "content":
            # Who keeps the photo's colors starts from them.
            options = dataclasses.replace(options, gatys=dataclasses.replace(options.gatys, init="photo"))
        self._render = None
        self.method = "gatys"
        path = find(options.loss_net, LOSS_NETWORKS) if options.loss_net else default_loss_network()
        self.title = f"method gatys, loss network {path}"
        network = loss_network(path, pooling=options.pooling, padding=options.padding, device=self.device)

        def pixels_of(step: Step, photo: Pixels, masks: Sequence[Mask]) -> Pixels:
            return within(photo, step.pixels, masks) if masks else step.pixels

        def work(pixels: Pixels, masks: Sequence[Mask]) -> Generator[_Stage, None, None]:
            steps = gatys(
                pixels,
                styles,
                network,
                options.gatys,
                style_weights=options.weights,
                masks=masks,
                device=self.device,
            )
            for step in steps:
                facts = {"iteration": step.iteration, "loss": step.loss, "terms": step.terms}
                made = partial(pixels_of, step, pixels, masks)
                yield step.iteration, step.iterations, step.loss, step.terms, facts, made

        self._work = work
        self.facts |= {
            "method": "gatys",
            "loss_net": recorded_name(path),
            "loss_net_sha256": sha256(path),
            "pooling": options.pooling,
            "padding": options.padding,
            **dataclasses.asdict(options.gatys),
        }


_Stage: TypeAlias = tuple[int, int, float | None, dict[str, float], dict[str, Any], Callable[[], Pixels]]
"""Steps done and planned, loss and terms, what the recipe says of them, and the picture so far."""


def _style_of(model: TrainedModel[Any], wanted: Wanted, painting: Picture | None) -> Any:
    if painting is None:
        return model.style(wanted)
    if model.styles:
        raise NanostyleError(
            f"{called(model)} knows the styles {', '.join(model.styles)}", hint="name one with {style}"
        )
    return model.style(painting.pixels, name=Path(name_of(wanted)).stem)


def _digest(style: Wanted) -> str:
    """The SHA-256 of the file of a saved style; empty for what has no file."""
    return sha256(style) if isinstance(style, str | os.PathLike) and kind_of(style) == "saved" else ""
