"""A model as an ONNX file, for pictures of any size: for phones, browsers and other programs.

Source of the layout: the network's own list of layers. Inputs by the kind of model:

    one style      photo (N, H, W, 3)                                  -> picture
    many styles    photo, weights (N, S): the part of each style       -> picture
    any painting   photo, embedding (N, 100)                           -> picture
                   painting (N, h, w, 3)                               -> embedding, in a second file

Pictures are RGB in 0..1, float32, of at least 5 pixels a side; N, H and W are free.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import nanostyle
from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.backend.device import to_host
from nanostyle.backend.types import Array
from nanostyle.errors import with_hint
from nanostyle.export.check import TOLERANCE, compare
from nanostyle.export.graph import Graph
from nanostyle.export.networks import PredictorGraph, TransformerGraph
from nanostyle.io.atomic import check_target, sha256, write
from nanostyle.models.base import TrainedModel
from nanostyle.models.load import load_model
from nanostyle.models.multistyle import Model, model_file
from nanostyle.models.predictor import Predictor, predictor_file
from nanostyle.models.registry import TRAINED, find
from nanostyle.nets.predictor import EMBEDDING

if TYPE_CHECKING:
    from onnx import ModelProto

LEAST_SIDE = 5
"""The least side of a picture: ONNX does not mirror a border wider than the picture."""


@dataclass(frozen=True)
class ExportOptions:
    """How a model is exported.

    Attributes
    ----------
    layout : str
        `nhwc`: pictures are `(N, H, W, 3)`, as everywhere here; `nchw`: `(N, 3, H, W)`, as in PyTorch.
    storage : str
        How weights are kept: `float32` or `float16`. Sums are float32 in both.
    style : str
        A style of a model of many: it is fixed, and there is no input `weights`.
    check : bool
        Whether the graph's result is compared with the model's before anything is written, where ONNX Runtime is
        installed.
    """

    layout: Literal["nhwc", "nchw"] = field(
        default="nhwc",
        metadata={"choices": ("nhwc", "nchw"), "help": "Order of the pictures' axes; nchw is PyTorch's."},
    )
    storage: Literal["float32", "float16"] = field(
        default="float32", metadata={"choices": ("float32", "float16"), "help": "How weights are kept."}
    )
    style: str = field(default="", metadata={"help": "Fix one style of a model of many: no input for it."})
    check: bool = field(
        default=True, metadata={"help": "Compare the file's result with the model's, where ONNX Runtime is installed."}
    )


def export_onnx(
    model: str | Path, output: Path, options: ExportOptions | None = None, *, overwrite: bool = False
) -> list[Path]:
    """Write the trained model of that name or file to `output`, and return the files written.

    A model for any painting gives two: `output`, and `STEM.style.onnx` beside it. Each has passed ONNX's own check. The
    same model and options give the same bytes.

    Raises
    ------
    NanostyleError
        The package onnx is not installed; or there is no such style.
    ValueError
        The output is not called NAME.onnx, or the options do not fit the model.
    FileExistsError
        A file is there already, and `overwrite` is False.
    """
    options = options or ExportOptions()
    if output.suffix != ".onnx":
        raise ValueError(f"output: expected a name that ends in .onnx, got {output}")
    path = find(model, TRAINED)
    trained = _exportable(load_model(path))
    outputs = [output]
    if isinstance(trained, Predictor):
        outputs.append(companion(output))
    for target in outputs:
        check_target(target, overwrite=overwrite)
    if isinstance(trained, Predictor) and options.style:
        raise with_hint(ValueError(f"style: {path} takes any painting and has no styles"), "leave {style} out")
    models = onnx_models(trained, options, _facts(trained, path, options))
    if options.check:
        works = _works_of_any(trained) if isinstance(trained, Predictor) else [_work_of_styles(trained, options.style)]
        for made, (inputs, ours) in zip(models, works, strict=True):
            outside = {name: _outside(x, options.layout) for name, x in inputs.items()}
            compare(made, outside, _outside(ours(), options.layout), TOLERANCE[options.storage])
    for target, made in zip(outputs, models, strict=True):
        write(target, made.SerializeToString(deterministic=True))
    return outputs


def companion(output: Path) -> Path:
    """The second file of a model for any painting: from a painting to its embedding."""
    return output.with_suffix(".style.onnx")


def _exportable(trained: TrainedModel[Any]) -> Model | Predictor:
    if isinstance(trained, Model | Predictor):
        return trained
    raise ValueError(f"a {trained.kind} model of another make cannot be exported")


def onnx_models(trained: Model | Predictor, options: ExportOptions, facts: dict[str, str]) -> "list[ModelProto]":
    """The graphs of a model, one or two, with `facts` as their metadata."""
    if isinstance(trained, Predictor):
        return [_any(trained, options, facts), _style(trained, options, facts)]
    return [_of_styles(trained, options, facts)]


def _facts(trained: Model | Predictor, path: Path, options: ExportOptions) -> dict[str, str]:
    """What the file says of itself: enough to make the model of it again."""
    contents = predictor_file(trained) if isinstance(trained, Predictor) else model_file(trained)
    facts = {
        "nanostyle": nanostyle.__version__,
        "model": path.name,
        "model_sha256": sha256(path),
        "source": trained.source,
        "license": trained.license,
        "recipe": json.dumps(trained.recipe, sort_keys=True),
        "kind": contents.kind,
        "config": json.dumps({key: value for key, value in contents.config.items() if key != "recipe"}),
        "layout": options.layout,
        "storage": options.storage,
        "style": options.style,
        "least_side": str(LEAST_SIDE),
        "values": "RGB, 0..1",
    }
    if isinstance(trained, Predictor):
        return facts | {"style_size": str(trained.style_size)}
    return facts | {"styles": json.dumps([options.style] if options.style else trained.styles)}


class _Pictures:
    """Pictures in and out of a graph in the layout that is asked for; inside it is always `(N, 3, H, W)`."""

    def __init__(self, graph: Graph, layout: str) -> None:
        self.graph, self._swap = graph, layout == "nhwc"

    def shape(self, height: str = "H", width: str = "W") -> tuple[str | int, ...]:
        """The shape of a picture outside."""
        return ("N", height, width, 3) if self._swap else ("N", 3, height, width)

    def input(self, name: str, *sides: str) -> str:
        """A picture that the graph takes."""
        x = self.graph.input(name, self.shape(*sides))
        return self.graph.op("Transpose", x, perm=[0, 3, 1, 2]) if self._swap else x

    def output(self, x: str, name: str) -> str:
        """A picture that the graph gives."""
        if self._swap:
            return self.graph.op("Transpose", x, perm=[0, 2, 3, 1], name=name)
        return self.graph.op("Identity", x, name=name)


def _of_styles(model: Model, options: ExportOptions, facts: dict[str, str]) -> "ModelProto":
    """One style or many."""
    graph = Graph(half=options.storage == "float16")
    pictures, net = _Pictures(graph, options.layout), TransformerGraph(graph, model.net)
    photo = pictures.input("photo")
    rows = {}
    if model.net.styled_layers:
        weights = _weights(graph, model, options.style)
        rows = net.rows_of(weights)
        if model.has_identity:
            rows["output"] = net.photo_rows(rows["output"], weights, photo)
    elif options.style and options.style not in model.styles:
        model.row(options.style)
    picture = pictures.output(net(photo, rows), "picture")
    return graph.model("transformer", picture, pictures.shape(), facts)


def _weights(graph: Graph, model: Model, style: str) -> str:
    """The parts of the styles: an input, or constant where one is fixed."""
    if not style:
        return graph.input("weights", ("N", len(model.styles)))
    row = model.row(style)
    return graph.constant([[float(i == row) for i in range(len(model.styles))]])


def _any(predictor: Predictor, options: ExportOptions, facts: dict[str, str]) -> "ModelProto":
    """From a photo and an embedding to the picture."""
    graph = Graph(half=options.storage == "float16")
    pictures = _Pictures(graph, options.layout)
    photo = pictures.input("photo")
    rows = PredictorGraph(graph, predictor.net.predictor).rows(graph.input("embedding", ("N", EMBEDDING)))
    net = TransformerGraph(graph, predictor.net.transformer, prefix="transformer/")
    picture = pictures.output(net(photo, rows), "picture")
    return graph.model("transformer", picture, pictures.shape(), facts)


def _style(predictor: Predictor, options: ExportOptions, facts: dict[str, str]) -> "ModelProto":
    """From a painting to its embedding."""
    graph = Graph(half=options.storage == "float16")
    painting = _Pictures(graph, options.layout).input("painting", "h", "w")
    embedding = graph.op("Identity", PredictorGraph(graph, predictor.net.predictor).embed(painting), name="embedding")
    return graph.model("predictor", embedding, ("N", EMBEDDING), facts)


# --- the comparison ---------------------------------------------------------------------------------------

Work = tuple[dict[str, Array], Callable[[], Array]]
"""Inputs of a graph, with pictures `(N, H, W, 3)`, and what the model itself makes of them."""


def _outside(x: Array, layout: str) -> Array:
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if layout == "nchw" and x.ndim == 4 else x


def _noise(height: int, width: int) -> Array:
    return np.random.default_rng(0).random((2, height, width, 3), np.float32)


def _work_of_styles(model: Model, style: str) -> Work:
    photo, rows = _noise(29, 38), len(model.styles)
    if not model.net.styled_layers:
        return {"photo": photo}, lambda: _picture(lambda: model.net(Tensor(photo)))
    parts = np.random.default_rng(1).dirichlet(np.ones(rows), 2).astype(np.float32)
    if style:
        parts = np.eye(rows, dtype=np.float32)[[model.row(style)] * 2]
    inputs = {"photo": photo} if style else {"photo": photo, "weights": parts}
    return inputs, lambda: _picture(lambda: model.net(Tensor(photo), parts))


def _works_of_any(predictor: Predictor) -> list[Work]:
    photo, painting = _noise(29, 38), _noise(64, 70)
    embedding = _run(lambda: predictor.net.predictor.embed(Tensor(painting)))
    return [
        (
            {"photo": photo, "embedding": embedding},
            lambda: _picture(lambda: predictor.net(Tensor(photo), Tensor(embedding))),
        ),
        ({"painting": painting}, lambda: embedding),
    ]


def _run(forward: Callable[[], Tensor]) -> Array:
    with no_grad():
        return to_host(forward().data)


def _picture(forward: Callable[[], Tensor]) -> Array:
    return np.clip(_run(forward), 0, 1)
