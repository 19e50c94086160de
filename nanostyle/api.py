"""nanostyle from Python: what a program uses in place of the command line.

Photos, paintings and masks are paths, PIL images, or arrays `(H, W)`, `(H, W, 3)` or `(H, W, 4)` of uint8 or of floats
in 0..1, RGB in sRGB encoding. Nothing is written but by `Result.save`, `Style.save` and the trainings.
"""

import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from nanostyle.backend.device import Device, pick_device
from nanostyle.io.image_read import Picture
from nanostyle.io.pictures import find_pictures, style_files
from nanostyle.io.sources import Source, name_of, read_source
from nanostyle.methods.choice import Model
from nanostyle.methods.evaluate import Score
from nanostyle.methods.modes import train_mode
from nanostyle.methods.request import StylizeOptions
from nanostyle.methods.result import Progress, Result
from nanostyle.methods.scoring import EvaluateOptions, score_model
from nanostyle.methods.stylizer import Stylizer
from nanostyle.methods.wanted import Wanted
from nanostyle.models.base import IDENTITY, TrainedModel
from nanostyle.models.load import load_model as _load_model
from nanostyle.models.style import Style
from nanostyle.models.style import load_style as _load_style
from nanostyle.training.loop import TrainingStep
from nanostyle.training.options import TrainOptions

PathLike = str | os.PathLike[str]


def stylize(
    photo: Source | Picture,
    style: Wanted | Sequence[Wanted] | None = None,
    *,
    model: Model | None = None,
    options: StylizeOptions | None = None,
    **changes: Any,
) -> Result:
    """Give a photo the style of a painting, or a style that a trained model knows.

    For several photos make a `Stylizer`: it reads model and paintings once.

    Parameters
    ----------
    photo
        A path, a PIL image, or an array `(H, W)`, `(H, W, 3)` or `(H, W, 4)` of uint8 or of floats in 0..1.
    style
        One or a list of: a painting, as a photo; the name of a style (`"starry_night_van_gogh"`); a saved style (a
        `Style` or its `.h5` file). A model of one style needs none.
    model
        `any`, `styles`, a path, or what `load_model` returns. None: built-in ones that fit.
    options, changes
        A `StylizeOptions`, and fields of it by name: `strength=0.7`, `size=512`, `colors="content"`, `weights=[2, 1]`,
        `masks=[...]`, `method="gatys"`; those of `GatysOptions` too: `iterations=100`.

    Returns
    -------
    Result
        `pixels` `(H, W, 3)` float32 in 0..1, `alpha`, `recipe`, `image` (PIL) and `save(path)`.

    Raises
    ------
    NanostyleError
        Style, model and options do not fit together; there is not enough memory; gatys diverged.
    OSError
        A file is missing or cannot be read.
    ValueError, TypeError
        A value is outside its range, a picture is none, or there is no option of that name.

    Examples
    --------
    >>> import nanostyle
    >>> result = nanostyle.stylize("docs/pictures/photo.jpg", "docs/pictures/painting.jpg", size=64, strength=0.8)
    >>> result.pixels.shape, result.image.size, result.recipe["method"]
    ((43, 64, 3), (64, 43), 'predict')
    """
    return Stylizer(style, model=model, options=options, **changes).stylize(photo)


def stylize_iter(
    photo: Source | Picture,
    style: Wanted | Sequence[Wanted] | None = None,
    *,
    model: Model | None = None,
    options: StylizeOptions | None = None,
    **changes: Any,
) -> Generator[Progress, None, None]:
    """`stylize` step by step: for a progress bar, a picture that grows, and cancelling.

    Parameters
    ----------
    photo, style, model, options, changes
        As in `stylize`.

    Yields
    ------
    Progress
        After each step: `done`, `total`, `loss`, `terms` and `picture`, the `Result` so far; the last one holds the
        result. Closing the iterator cancels.

    Raises
    ------
    NanostyleError, OSError, ValueError, TypeError
        As `stylize` does; with the first step.

    Examples
    --------
    >>> import nanostyle
    >>> pair = "docs/pictures/photo.jpg", "docs/pictures/painting.jpg"
    >>> for progress in nanostyle.stylize_iter(*pair, method="gatys", size=64, iterations=2):
    ...     print(progress.done, progress.total, sorted(progress.terms))
    0 2 ['content', 'style', 'tv']
    1 2 ['content', 'style', 'tv']
    2 2 ['content', 'style', 'tv']
    >>> progress.picture.pixels.shape
    (43, 64, 3)
    """
    with closing(Stylizer(style, model=model, options=options, **changes).steps(photo)) as steps:
        yield from steps


def load_model(model: PathLike, *, device: str = "auto", precision: str = "auto") -> TrainedModel[Any]:
    """Read a trained network, to use it again and again.

    Parameters
    ----------
    model
        `any` (any painting) or `styles` (many styles), which are built in, or the path of a model's `.h5` file.
    device
        `auto`, `cpu` or `cuda`.
    precision
        `auto` (fp32 on a CPU, tf32 on a GPU), `fp32`, `tf32` or `fp16`; it holds for the whole process.

    Returns
    -------
    TrainedModel
        With `kind`, `styles`, `thumbnails`, `device`, `describe()`, `style(...)`, `blend(...)` and `render(...)`.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is damaged or no model, or a word is not known.
    NanostyleError
        The device cannot be had.

    Examples
    --------
    >>> import nanostyle
    >>> model = nanostyle.load_model("styles", device="cpu")
    >>> model.kind, "starry_night_van_gogh" in model.styles
    ('cin', True)
    >>> nanostyle.stylize("docs/pictures/photo.jpg", "scream_munch", model=model, size=64).pixels.dtype
    dtype('float32')
    """
    return _load_model(model, device=pick_device(device, precision).use())


def load_style(source: Source, *, model: Model = "any", name: str = "") -> Style:
    """Read a saved style, or see the style of a painting.

    Parameters
    ----------
    source
        The `.h5` file of a saved style; or a painting: a path, a PIL image or an array.
    model
        The network for any painting that looks at it: `any`, a path, or what `load_model` returns.
    name
        What to call the style of a painting. Default: its file's name without the suffix.

    Returns
    -------
    Style
        For `stylize` with the same model; `save(path)` keeps it: a few kilobytes.

    Raises
    ------
    FileNotFoundError, OSError, ValueError
        The file is missing, or is neither a style nor a picture.
    NanostyleError
        The model takes no paintings.

    Examples
    --------
    >>> import nanostyle
    >>> style = nanostyle.load_style("docs/pictures/painting.jpg")
    >>> style.name, style.embedding.shape
    ('painting', (100,))
    """
    if isinstance(source, str | os.PathLike) and Path(source).suffix.lower() == ".h5":
        return _load_style(source)
    network = model if isinstance(model, TrainedModel) else load_model(model)
    style: Style = network.style(read_source(source).pixels, name=name or Path(name_of(source)).stem)
    return style


def train(
    mode: Literal["feedforward", "cin", "predict"],
    photos: PathLike,
    styles: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    options: TrainOptions | None = None,
    weights: Mapping[str, float] | None = None,
    add_to: PathLike | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str | Device = "auto",
    **changes: Any,
) -> Generator[TrainingStep, None, None]:
    """Train a network that stylizes in one pass.

    A folder `NAME.training` beside the model keeps the checkpoint, the log, previews and a report.

    Parameters
    ----------
    mode
        `feedforward`: one style; `cin`: many styles in one network; `predict`: any painting.
    photos
        A folder of photos to train on, with its subfolders.
    styles
        A painting or a folder of paintings, or a list of those. A style has the name of its file.
    output
        The model's file, `NAME.h5`.
    options, changes
        A `TrainOptions`, and fields of it by name: `steps=2000`, `width=0.25`.
    weights
        cin: by a style's name, how much its style term counts; 1 where it is not named.
    add_to
        cin: a model of many styles, which learns the new ones; its old styles stay the same to the bit. Width and
        storage are its own.
    resume
        Go on from the checkpoint of the same output, to the same bytes as an uninterrupted run.
    overwrite
        Replace the model and the training that are there.
    device
        `auto`, `cpu` or `cuda`, or a `Device`.

    Yields
    ------
    TrainingStep
        After each step: `step`, `steps`, `loss`, `terms`, `preview`. Closing the iterator saves what has been reached.

    Raises
    ------
    OSError
        There are no photos or paintings; the output is there already, or cannot be written.
    ValueError, NanostyleError
        Options, mode and paintings do not fit together; no photo can be used.

    Examples
    --------
    >>> import nanostyle
    >>> steps = nanostyle.train("feedforward", "docs/pictures", "docs/pictures/painting.jpg", "one.h5", steps=2000)
    >>> steps.close()  # nothing has begun: the training runs as steps are asked for
    """
    settings = replace(options or TrainOptions(), **changes)
    where = device if isinstance(device, Device) else pick_device(device).use()
    yield from train_mode(
        mode,
        find_pictures(photos),
        style_files(_listed(styles), taken=(IDENTITY,)),
        settings,
        Path(output),
        weights=weights,
        add_to=None if add_to is None else Path(add_to),
        resume=resume,
        overwrite=overwrite,
        device=where,
    )


def evaluate(
    model: Model,
    photos: PathLike,
    styles: PathLike | Sequence[PathLike],
    *,
    options: EvaluateOptions | None = None,
    device: str | Device = "auto",
    **changes: Any,
) -> Iterator[Score]:
    """Score a trained model: its losses, and how many iterations of Gatys' method they are worth (Johnson 2016, 4.1).

    Parameters
    ----------
    model
        `any`, `styles`, a path, or what `load_model` returns.
    photos
        A folder of photos, best such as the model was not trained on.
    styles
        Paintings or folders of them. For a model of many styles they are named as its styles; others are left out.
    options, changes
        An `EvaluateOptions`, and fields of it by name: `photos`, `size`, `iterations`.
    device
        `auto`, `cpu` or `cuda`, or a `Device`.

    Yields
    ------
    Score
        For each style: `style`, `content`, `style_loss`, `loss`, and `iterations`, one for each photo.

    Raises
    ------
    OSError, ValueError
        A file is missing or cannot be read, or a value is outside its range.
    NanostyleError
        No painting is named as a style of the model.

    Examples
    --------
    >>> import nanostyle
    >>> painting = "docs/pictures/painting.jpg"
    >>> scores = nanostyle.evaluate("any", "docs/pictures", painting, count=1, size=48, iterations=0)
    >>> [score.style for score in scores]
    ['painting']
    """
    settings = replace(options or EvaluateOptions(), **changes)
    where = device if isinstance(device, Device) else pick_device(device).use()
    trained = model if isinstance(model, TrainedModel) else _load_model(model, device=where)
    yield from score_model(trained, find_pictures(photos), style_files(_listed(styles)), settings, where)


def _listed(styles: PathLike | Sequence[PathLike]) -> list[PathLike]:
    return [styles] if isinstance(styles, str | os.PathLike) else list(styles)
