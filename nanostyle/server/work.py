"""The work of a server: from an order to steps for the worker, with models and prepared styles kept between orders."""

import io
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, TypeAlias

import numpy as np

from nanostyle import GatysOptions, NanostyleError, Progress, Result, StylizeOptions, Stylizer, TrainedModel
from nanostyle.backend.device import Device
from nanostyle.backend.memory import release_memory
from nanostyle.io.decoding import TooLarge
from nanostyle.io.image_read import Picture, read_file
from nanostyle.io.image_write import encode_image
from nanostyle.io.resample import fitted
from nanostyle.methods.strokes import LARGEST_BY_DEFAULT, SMALLEST
from nanostyle.server.camera import Cameras
from nanostyle.server.forecast import Forecast, Forecasts
from nanostyle.server.guard import Refused
from nanostyle.server.jobs import Job, Priority, Step, Stopped
from nanostyle.server.results import PREVIEW_QUALITY, line_of, note, result_file, unique
from nanostyle.server.store import NotFound, Store
from nanostyle.server.store import Result as File
from nanostyle.server.wire import Layer, Order, near, unfit

Steps: TypeAlias = Iterator[Step[Result]]
Work: TypeAlias = Callable[[Job[Result]], Steps]

PRIORITIES = {
    "preview": Priority.PREVIEW,
    "final": Priority.FINAL,
    "refine": Priority.REFINE,
    "batch": Priority.BATCH,
}
DRAFT = 256
"""Previews up to this long side are drafts: strokes are no finer than the draft itself."""

_MOST_STYLIZERS, _MOST_STYLES = 16, 64
_LARGE = 4_000_000
_TINY = np.full((64, 64, 3), 0.5, np.float32)


@dataclass(frozen=True)
class Limits:
    """Limits of pictures: bytes of one, pixels of one, bytes of all together."""

    upload: int = 64_000_000
    pixels: int = 100_000_000
    memory: int = 1_024_000_000


class Studio:
    """Makes pictures. All of it but the checks runs in the worker's thread."""

    def __init__(self, store: Store, models: Mapping[str, TrainedModel[Any]], device: Device, limits: Limits) -> None:
        self.store, self.models, self.device, self.limits = store, models, device, limits
        self._forecasts = Forecasts(models)
        self._stylizers: OrderedDict[object, Stylizer] = OrderedDict()
        self._styles: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._previews: dict[str, str] = {}
        self._warmed: set[TrainedModel[Any]] = set()
        self._cameras = Cameras()

    # --- before the work --------------------------------------------------------------------------------------------

    def check(self, order: Order) -> None:
        """Refuse what cannot be made: pictures, models and styles that are not there, and sizes beyond the limit."""
        sizes = [self._size(id, order.size) for id in order.photos]
        for height, width in sizes:
            if width * height > self.limits.pixels:
                raise Refused(413, "too_large", f"size: {width} x {height} pixels, the limit is {self.limits.pixels}")
        for layer in order.layers:
            self._check_layer(layer, order.kind)
        self._forecasts.check(order, sizes)

    def _check_layer(self, layer: Layer, kind: str) -> None:
        for id in filter(None, (layer.painting, layer.mask)):
            self.upload(id)
        if kind == "refine":
            return
        model = self.models.get(layer.model)
        if model is None:
            raise Refused(404, "not_found", f"model: there is no {layer.model!r}{near(layer.model, list(self.models))}")
        if layer.painting is not None and model.styles:
            raise unfit(f"painting: the model {layer.model} knows its own styles alone; name one of them")
        if layer.style is not None and not model.styles:
            raise unfit(f"style: the model {layer.model} takes paintings; send one")
        if layer.style is not None and layer.style not in model.styles:
            hint = near(layer.style, model.paintings)
            raise Refused(404, "not_found", f"style: there is no {layer.style!r}{hint}")

    def upload(self, id: str) -> Any:
        """The picture that was sent, of that identifier; 404 if there is none."""
        try:
            return self.store.upload(id)
        except NotFound:
            raise Refused(404, "not_found", "picture: there is none of that identifier (any more)") from None

    def forecast(self, order: Order) -> Forecast:
        """What an order may take."""
        return self._forecasts.of(order, [self._size(id, order.size) for id in order.photos])

    def _size(self, id: str, long: int | None) -> tuple[int, int]:
        """The size (height, width) at which a photo is painted."""
        upload = self.upload(id)
        size = (upload.height, upload.width)
        return size if long is None else fitted(size, long)

    # --- the work ---------------------------------------------------------------------------------------------------

    def work(self, order: Order) -> Work:
        """Stylize the photos of an order."""
        if order.kind == "batch":
            return lambda job: self._batch(order, job)
        return lambda job: self._one(order, job)

    def frame(self, layers: tuple[Layer, ...], strength: float, stream: str, data: bytes) -> Work:
        """What the worker does for a frame of a camera: a JPEG in, a JPEG out."""

        def work(job: Job[Result]) -> Steps:
            with _readable():
                photo = self.decode(data, "frame.jpg", None)
            order = Order("preview", (), layers, strength=strength)
            made = self._cameras.paint(stream, (layers, strength), self.stylizer(order), photo.pixels)
            self.store.keep(job.id, File(encode_image("JPEG", made, quality=85), "image/jpeg", "frame.jpg"))
            yield Step(1, 1)

        return work

    def _one(self, order: Order, job: Job[Result]) -> Steps:
        upload = self.upload(order.photos[0])
        photo = self.picture(upload.id, order.size)
        if order.kind == "preview":
            order = _at_preview(order, max(upload.width, upload.height))
        last: Progress | None = None
        if order.kind == "final":
            job.pixels = self._forecasts.painted(order, self._size(upload.id, order.size))
            yield Step(0, 100)
        begin = time.monotonic()
        with closing(self.stylizer(order).steps(photo, name=upload.name)) as steps:
            for last in steps:
                if order.kind != "final":
                    yield Step(last.done, last.total, note(last), _picture(last))
                if job.keep:
                    break
        assert last is not None  # there is always a step
        result = last.picture
        if order.kind != "refine":
            height, width = result.pixels.shape[:2]
            self._forecasts.learn(order, (height, width), time.monotonic() - begin)
        if order.kind == "preview":
            self._keep_preview(order, job, result)
        else:
            self.store.keep(job.id, result_file(order, result, upload.name))
            _tidy(result)

    def _keep_preview(self, order: Order, job: Job[Result], result: Result) -> None:
        """Of each client the newest preview alone is kept; who gives no name is a client of each of its orders."""
        client = order.client or job.id
        old = self._previews.pop(client, None)
        if old is not None:
            self.store.drop_result(old)
        self._previews[client] = job.id
        while len(self._previews) > _MOST_STYLES:
            self.store.drop_result(self._previews.pop(next(iter(self._previews))))
        kind, media = ("JPEG", "image/jpeg") if result.alpha is None else ("PNG", "image/png")
        data = encode_image(kind, result.pixels, alpha=result.alpha, quality=PREVIEW_QUALITY)
        self.store.keep(job.id, File(data, media, "preview"))

    def _batch(self, order: Order, job: Job[Result]) -> Steps:
        zipped, taken, errors = io.BytesIO(), set[str](), []
        shown: Callable[[], Result] | None = None
        with zipfile.ZipFile(zipped, "w") as archive:
            for done, id in enumerate(order.photos):
                name = "a photo"
                try:
                    upload = self.upload(id)
                    name = upload.name
                    yield Step(done, len(order.photos), name, shown)
                    if job.keep:
                        break
                    result = self.stylizer(order).stylize(self.picture(id, order.size), name=name)
                    file = result_file(order, result, name)
                    if zipped.tell() + len(file.data) > self.limits.memory // 2:
                        raise unfit("the zip holds as much as this server keeps; make a smaller batch")
                    archive.writestr(unique(file.name, taken), file.data)
                    shown = _always(result)
                    _tidy(result)
                except Stopped:
                    if not job.keep:
                        raise
                    break  # what is done is kept
                except (Refused, NanostyleError, ValueError, OSError, MemoryError) as error:
                    errors.append(f"{name}: {line_of(error)}")
            if errors:
                archive.writestr(unique("errors.txt", taken), "\n".join(errors) + "\n")
        yield Step(len(order.photos), len(order.photos), "", shown)
        self.store.keep(job.id, File(zipped.getvalue(), "application/zip", "nanostyle.zip"))

    # --- what is kept between orders --------------------------------------------------------------------------------

    def picture(self, id: str, size: int | None = None) -> Picture:
        """A picture that was sent, decoded; 404, 413 or 415 where that cannot be."""
        with _readable():
            return self.store.picture(id, size)

    def decode(self, data: bytes, name: str, size: int | None) -> Picture:
        """The picture in a file, within the limit of pixels."""
        return read_file(io.BytesIO(data), name, size, self.limits.pixels)

    def stylizer(self, order: Order) -> Stylizer:
        """The styles of an order, ready; those of the last orders are kept, so that a slider costs one pass."""
        key = (order.kind == "refine", order.layers, order.strength, order.strokes, order.colors, order.gatys)
        found = self._stylizers.pop(key, None) or self._prepared(order)
        self._stylizers[key] = found
        while len(self._stylizers) > _MOST_STYLIZERS:
            self._stylizers.popitem(last=False)
        return found

    def _prepared(self, order: Order) -> Stylizer:
        layers = order.layers
        masks = [layer.mask for layer in layers if layer.mask is not None]
        weighted = len(layers) > 1 and not masks
        options = StylizeOptions(
            weights=tuple(layer.weight for layer in layers) if weighted else (),
            masks=tuple(self.picture(mask).pixels for mask in masks),
            colors=order.colors,  # type: ignore[arg-type]
            device=self.device.name,
            precision=self.device.precision,
        )
        if order.kind == "refine":
            asked = order.gatys
            # Who watches it says when it is enough.
            gatys = GatysOptions(asked.iterations, style_weight=asked.style_weight, seed=asked.seed, least_gain=0)
            options = replace(options, method="gatys", gatys=gatys)
            made = Stylizer([self.picture(layer.painting or "").pixels for layer in layers], options=options)
        else:
            options = replace(options, strength=order.strength, strokes=order.strokes)
            styles, models = [self._style(layer) for layer in layers], [self.models[layer.model] for layer in layers]
            for model, style in zip(models, styles, strict=True):
                self._warm(model, style)
            made = Stylizer(styles, model=models, options=options)
        made.facts["styles"] = [self._name(layer) for layer in layers]
        made.facts["masks"] = [self.upload(mask).name for mask in masks]
        return made

    def _warm(self, model: TrainedModel[Any], style: Any) -> None:
        """Make a network's first passes small: what it keeps of its weights would hold the memory of a large one."""
        if model not in self._warmed:
            self._warmed.add(model)
            for _ in range(2):  # it keeps what it needs a second time
                model.render(_TINY, style)

    def _style(self, layer: Layer) -> Any:
        """A name as it is; of a painting the style that the model sees in it, once."""
        if layer.painting is None:
            return layer.style
        key = layer.model, layer.painting
        if key not in self._styles:
            pixels = self.picture(layer.painting).pixels
            self._styles[key] = self.models[layer.model].style(pixels, name=PurePath(self._name(layer)).stem)
            while len(self._styles) > _MOST_STYLES:
                self._styles.popitem(last=False)
        return self._styles[key]

    def _name(self, layer: Layer) -> str:
        name: str = layer.style or self.upload(layer.painting or "").name
        return name


@contextmanager
def _readable() -> Iterator[None]:
    """Turn what reading a picture raises into 404, 413 or 415."""
    try:
        yield
    except NotFound:
        raise Refused(404, "not_found", "picture: it is not there any more; send it again") from None
    except TooLarge as error:
        raise Refused(413, "too_large", line_of(error)) from error
    except (NanostyleError, ValueError) as error:
        raise Refused(415, "not_a_picture", line_of(error)) from error


def _at_preview(order: Order, long: int) -> Order:
    """Strokes are told for the photo at its own size: a preview has them as the final picture will."""
    strokes = order.strokes or min(long, LARGEST_BY_DEFAULT)
    if order.size is not None and order.size <= DRAFT:
        strokes = max(SMALLEST, min(strokes, order.size))
    return replace(order, strokes=strokes)


def _always(result: Result) -> Callable[[], Result]:
    return lambda: result


def _tidy(result: Result) -> None:
    """After a large picture memory is given back: what follows is small, as a rule."""
    height, width = result.pixels.shape[:2]
    if height * width > _LARGE:
        release_memory()


def _picture(progress: Progress) -> Callable[[], Result]:
    return lambda: progress.picture
