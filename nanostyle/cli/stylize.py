"""`nanostyle stylize`: photos in, stylized pictures out, by whichever method."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

import nanostyle
from nanostyle.backend.types import Pixels
from nanostyle.cli.options import options_of, overwrite_option, take
from nanostyle.cli.runtime import Runtime, common
from nanostyle.cli.terminal import USER_ERRORS, Progress, one_line, shares
from nanostyle.errors import NanostyleError
from nanostyle.io.atomic import check_target, sha256
from nanostyle.io.formats import WRITABLE
from nanostyle.io.image_read import Picture, load_image
from nanostyle.io.image_write import check_writable, save_image
from nanostyle.io.pictures import find_pictures
from nanostyle.io.resample import resize
from nanostyle.methods.colors import keep_colors
from nanostyle.methods.gatys import GatysOptions, gatys
from nanostyle.methods.masks import Mask, by_region, mask_of
from nanostyle.methods.strokes import LARGEST, LARGEST_BY_DEFAULT, SMALLEST, stroked
from nanostyle.models.base import TrainedModel
from nanostyle.models.load import load_model
from nanostyle.models.loss_network import default_loss_network, loss_network
from nanostyle.models.predictor import Predictor
from nanostyle.models.registry import LOSS_NETWORKS, TRAINED, built_in, find


@dataclass(frozen=True)
class Stage:
    """How far a picture is: `done` of `total` steps, what there is to say, and the picture so far."""

    done: int
    total: int
    note: str
    pixels: Callable[[], Pixels]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Method:
    """A way to stylize: what it is, in words and for the recipe, and the stages of one picture."""

    title: str
    facts: dict[str, Any]
    stages: Callable[[Picture], Iterator[Stage]]


@click.command()
@click.argument("photos", metavar="PHOTO...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--style-image",
    "style_images",
    metavar="ART",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A painting; may be repeated, to blend.",
)
@click.option(
    "--style",
    "styles",
    metavar="NAME|FILE",
    multiple=True,
    help="A style of a trained model, or one saved by --save-style; may be repeated, to blend.",
)
@click.option(
    "--model", metavar="FILE", type=click.Path(path_type=Path), help="A trained model. Default: the built-in ones."
)
@click.option(
    "--save-style",
    metavar="FILE.h5",
    type=click.Path(path_type=Path),
    help="predict: keep what the network sees in the paintings, for --style.",
)
@click.option("--weight", "weights", multiple=True, type=float, help="Share of each style, in order. Default: equal.")
@click.option(
    "--mask",
    "masks",
    metavar="IMAGE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Where each style is to be, in order: white there, black not, gray in part. In place of --weight.",
)
@click.option(
    "--strength",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="From 0, the photo, to 1, the whole style; for trained models.",
)
@click.option(
    "--strokes",
    type=click.IntRange(SMALLEST, LARGEST),
    metavar="PIXELS",
    help="How large the strokes are: paint as if the photo's long side were so long; for trained models. Default: the"
    f" photo's own, up to {LARGEST_BY_DEFAULT}.",
)
@click.option(
    "--method",
    type=click.Choice(["auto", "predict", "cin", "feedforward", "gatys"]),
    default="auto",
    show_default=True,
    help="gatys optimizes the pixels; the others are one pass through a trained model. auto: gatys if an option of it"
    " is given, else a trained model where there is one.",
)
@click.option("--size", type=click.IntRange(min=1), help="Long side of the result in pixels. Default: the photo's.")
@click.option(
    "--colors",
    type=click.Choice(["style", "content"]),
    default="style",
    show_default=True,
    help="Whose colors the result has.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="A file, or a folder for several photos. Default: PHOTO_STYLE in the current folder.",
)
@overwrite_option
@click.option("--skip-existing", is_flag=True, help="Leave out the photos whose result exists: to go on with a folder.")
@click.option("--loss-net", metavar="NAME|FILE", help="builtin, vgg16, vgg19 or a file. Default: the first there is.")
@click.option("--pooling", type=click.Choice(["max", "avg"]), help="Default: as the loss network's file says.")
@click.option("--padding", type=click.Choice(["zero", "reflect"]), help="Default: as the loss network's file says.")
@options_of(GatysOptions)
@common
def stylize(
    photos: tuple[Path, ...],
    output: Path | None,
    size: int | None,
    colors: str,
    overwrite: bool,
    skip_existing: bool,
    runtime: Runtime,
    **values: Any,
) -> None:
    """Give each PHOTO the style of a painting, or a style that a trained model knows.

    The options from --loss-net to --seed are those of the method gatys; what does not fit the method is refused.

    \b
    nanostyle stylize photo.jpg --style-image painting.jpg
    nanostyle stylize photos/ --style-image a.jpg --style-image b.jpg --weight 2 --weight 1 -o results/
    nanostyle stylize photo.jpg --model model.h5 --style starry_night --strength 0.7
    """
    paths = list(_photos(photos))
    names = [*(path.stem for path in values["style_images"]), *(Path(name).stem for name in values["styles"])]
    targets = _targets(paths, names or [values["model"].stem if values["model"] else ""], output)
    if skip_existing:
        wanted = [(path, target) for path, target in zip(paths, targets, strict=True) if not target.exists()]
        if not runtime.quiet and len(wanted) < len(paths):
            click.echo(f"{len(paths) - len(wanted)} of {len(paths)} results are there already", err=True)
        if not wanted and not values["save_style"]:
            return
        paths, targets = [path for path, _ in wanted], [target for _, target in wanted]
    for target in targets:
        check_writable(target, overwrite=overwrite)
    if values["save_style"]:
        check_target(values["save_style"], overwrite=overwrite)
    alone = load_image(paths[0], size=size) if len(paths) == 1 else None  # an error here comes before all work
    method = _method(values, runtime)
    if not runtime.quiet:
        click.echo(f"{method.title}, device {runtime.device}, {runtime.device.precision}", err=True)

    failures = 0
    for path, target in zip(paths, targets, strict=True):
        try:
            picture = alone or load_image(path, size=size)
            _stylize_one(path, picture, target, method, runtime, colors=colors)
        except USER_ERRORS as error:
            if len(paths) == 1:
                raise
            # One bad photo of many is told at once, and the others go on.
            click.echo(f"{path}: {one_line(error)}", err=True)
            failures += 1
    if failures:
        raise NanostyleError(f"{failures} of {len(paths)} photos could not be stylized; the messages above say why")


def _method(values: dict[str, Any], runtime: Runtime) -> Method:
    """The method that the options ask for, ready to work; `auto` is told by the style and by the model's file."""
    wish, paintings, styles, model = (values[name] for name in ("method", "style_images", "styles", "model"))
    if paintings and styles:
        raise click.UsageError("stylize: expected --style-image or --style, got both")
    if not paintings and not styles and model is None:
        raise click.UsageError("stylize: expected a style, got none; add --style-image ART, or --style NAME")
    count = len(paintings) + len(styles) or 1  # a model of one style need not have it named
    if values["masks"] and (len(values["masks"]) != count or values["weights"]):
        raise click.UsageError(
            f"stylize: expected a --mask for each of {count} styles and no --weight, got {len(values['masks'])} and"
            f" {len(values['weights'])}"
        )
    regions = [mask_of(load_image(path)) for path in values["masks"]]
    if wish == "auto" and paintings and model is None and _given(_GATYS):
        wish = "gatys"
    foreign = _given(_ONE_PASS if wish == "gatys" else _GATYS)
    if foreign and wish == "gatys":
        raise click.UsageError(f"stylize: {foreign[0]} is for trained models, not for method gatys; leave it out")
    if foreign:
        raise click.UsageError(f"stylize: {foreign[0]} is an option of method gatys; leave it out, or use that method")
    saved = any(Path(name).suffix == ".h5" for name in styles)
    if model is None and wish != "gatys":
        model = built_in("any" if paintings or saved else "styles")
    if wish == "gatys" or (model is None and wish == "auto" and paintings):
        if not paintings:
            raise click.UsageError("stylize: method gatys takes --style-image ART, not --style")
        return _gatys(values, regions, runtime)
    # With no file of that name this says where it was looked for.
    path = find(model or ("any" if paintings or saved else "styles"), TRAINED)
    if wish in ("cin", "feedforward") and paintings and values["model"] is None:
        raise click.UsageError(f"stylize: method {wish} needs a model that knows the painting; name it with --model")
    trained = load_model(path, device=runtime.device)
    if isinstance(trained, Predictor) and (missing := [name for name in styles if not Path(name).exists()]):
        raise click.UsageError(
            f"stylize: {path} takes --style-image ART, or a FILE of --save-style; there is no file {missing[0]}"
        )
    if paintings and not isinstance(trained, Predictor):
        raise click.UsageError(f"stylize: {path} knows the styles {', '.join(trained.styles)}; name one with --style")
    method = _one_pass(trained, path, values, regions)
    if wish not in ("auto", method.facts["method"]):
        raise click.UsageError(f"stylize: {path} is a model of method {method.facts['method']}, not {wish}")
    if values["save_style"] and not isinstance(trained, Predictor):
        raise click.UsageError("stylize: --save-style is for --style-image with method predict")
    return method


# Options that belong to Gatys' method, and to trained models; a seed makes no difference to these.
_GATYS = ("loss_net", "pooling", "padding", *(field.name for field in fields(GatysOptions) if field.name != "seed"))
_ONE_PASS = ("strength", "strokes", "model", "save_style")


def _given(names: Sequence[str]) -> list[str]:
    """Those of the options that stand on the command line, as they are written there."""
    context = click.get_current_context()
    given = [name for name in names if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    return ["--" + name.replace("_", "-") for name in given]


def _gatys(values: dict[str, Any], regions: list[Mask], runtime: Runtime) -> Method:
    options = take(GatysOptions, {f.name: values[f.name] for f in fields(GatysOptions)})
    styles = [load_image(path).pixels for path in values["style_images"]]
    named = values["loss_net"]
    path = find(named, LOSS_NETWORKS) if named else default_loss_network()
    network = loss_network(path, pooling=values["pooling"], padding=values["padding"], device=runtime.device)

    def stages(picture: Picture) -> Iterator[Stage]:
        shared = {"style_weights": values["weights"], "masks": regions}
        for step in gatys(picture.pixels, styles, network, options, **shared, device=runtime.device):
            note = f"loss {step.loss:.4g}  {shares(step.terms)}"
            facts = {"iteration": step.iteration, "loss": step.loss, "terms": step.terms}
            yield Stage(step.iteration, step.iterations, note, lambda step=step: step.pixels, facts)  # type: ignore[misc]

    facts = {
        "method": "gatys",
        "styles": [path.name for path in values["style_images"]],
        "weights": list(values["weights"]),
        "masks": [path.name for path in values["masks"]],
        "loss_net": path.name,
        "loss_net_sha256": sha256(path),
        **asdict(options),
    }
    return Method(f"method gatys, loss network {path}", facts, stages)


def _one_pass(model: TrainedModel[Any], path: Path, values: dict[str, Any], regions: list[Mask]) -> Method:
    """A method that is one pass of a trained network."""
    painted = [model.style(load_image(p).pixels, name=p.stem) for p in values["style_images"]]
    styles = [*painted, *(model.style(name) for name in values["styles"])] or [model.style()]
    blended = model.blend(styles, values["weights"])
    if values["save_style"] and isinstance(model, Predictor):
        blended.save(values["save_style"], overwrite=True)
    how = {"strength": values["strength"], "strokes": values["strokes"]}
    if regions:
        render = by_region([stroked(model, style, **how) for style in styles], regions)
    else:
        render = stroked(model, blended, **how)

    def stages(picture: Picture) -> Iterator[Stage]:
        pixels = render(picture.pixels)
        yield Stage(1, 1, "", lambda: pixels, {})

    facts = {
        "method": model.kind,
        "model": path.name,
        "model_sha256": sha256(path),
        "styles": [*(p.name for p in values["style_images"]), *values["styles"]],
        "weights": list(values["weights"]),
        "masks": [path.name for path in values["masks"]],
        **how,
    }
    return Method(f"method {model.kind}, model {path}", facts, stages)


def _stylize_one(path: Path, picture: Picture, target: Path, method: Method, runtime: Runtime, *, colors: str) -> None:
    """Go through the stages of one picture and save the last; on Ctrl-C or divergence too, the last there was."""
    progress = Progress(path.name, quiet=runtime.quiet)
    stage: Stage | None = None
    try:
        for stage in method.stages(picture):
            progress.show(stage.done, stage.total, stage.note)
    finally:
        progress.close()
        if stage is not None:
            # An unfinished coarse level is smaller than the photo.
            pixels = resize(stage.pixels(), picture.pixels.shape[:2])
            if colors == "content":
                pixels = keep_colors(pixels, picture.pixels)
            recipe = {
                "nanostyle": nanostyle.__version__,
                "photo": path.name,
                "colors": colors,
                "device": runtime.device.name,
            }
            save_image(target, pixels, alpha=picture.alpha, recipe={**recipe, **method.facts, **stage.facts})
            if not runtime.quiet:
                click.echo(f"{target}  ({pixels.shape[1]}x{pixels.shape[0]})", err=True)


def _photos(given: tuple[Path, ...]) -> Iterator[Path]:
    """The photos named, and those in the folders named."""
    for path in given:
        if path.is_dir():
            yield from find_pictures(path)
        else:
            yield path


def _targets(photos: list[Path], styles: list[str], output: Path | None) -> list[Path]:
    """Where each result goes."""
    if output == Path("-"):
        raise ValueError("output: expected a file or a folder, got -; pictures are not written to the standard output")
    if output is not None and len(photos) == 1 and not output.is_dir() and output.suffix:
        targets = [output]
    else:
        if output is not None and output.suffix and not output.is_dir():
            raise ValueError(f"output: {len(photos)} photos need a folder, got the file name {output}")
        folder = output or Path()
        ending = "_".join(styles)
        targets = [folder / f"{photo.stem}_{ending}{_suffix(photo)}" for photo in photos]
        where: dict[Path, Path] = {}
        for photo, target in zip(photos, targets, strict=True):
            if (other := where.setdefault(target, photo)) is not photo:
                raise ValueError(f"output: {other} and {photo} would both become {target}; stylize them apart")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(f"cannot make the folder {folder}: {error.strerror}; choose another output") from error
    return targets


def _suffix(photo: Path) -> str:
    """The format of the result: the photo's, where it can be written."""
    suffix = photo.suffix.lower()
    return suffix if suffix in WRITABLE else ".png"
