"""Exported models in ONNX Runtime: how far they are from ours, and how fast. `python -m bench.speed.onnx`

Each built-in model and a small one of each kind is exported; for nine sizes, pictures by one and by three, blends, each
style and the photo's own, the largest difference is told, of 255. Then both compute 512 x 512 pixels on one thread, in
turn. Needs the packages onnx and onnxruntime.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime

from bench.folders import RESULTS
from bench.speed.pairing import machine
from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.backend.threads import set_threads
from nanostyle.backend.types import Array
from nanostyle.diagnostics.speed import seconds_of
from nanostyle.export.onnx import export_onnx
from nanostyle.models.load import load_model
from nanostyle.models.multistyle import Model, save_model
from nanostyle.models.predictor import Predictor
from nanostyle.nets.predictor import EMBEDDING
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nets.transformer_config import transformer_config
from nanostyle.nn.module import parameters

SIZES = [(5, 5), (7, 30), (13, 301), (33, 57), (64, 36), (99, 101), (255, 254), (256, 256), (360, 640)]
TINY: dict[str, dict[str, Any]] = {
    "johnson instance nearest": {"arch": "johnson", "upsample": "nearest"},
    "johnson batch fractional": {"arch": "johnson", "norm": "batch"},
    "lengstrom": {"arch": "lengstrom"},
    "dumoulin": {"arch": "dumoulin", "styles": 4, "identity": True},
}
ROUNDS = 15
EACH_STYLE = 12_000
"""Pixels below which each style is tried by itself."""


def models(folder: Path) -> Iterator[tuple[str, str | Path]]:
    """Name and file of each model."""
    for name, config in TINY.items():
        net = TransformerNet(transformer_config(width=0.1, **config), np.random.default_rng(0))
        styles = ["photo", "a", "b", "c"][: net.styles]
        rng = np.random.default_rng(1)
        for parameter_name, parameter in parameters(net).items():
            if parameter_name.endswith(("gamma", "beta")):  # not at their start, as if trained
                parameter.data = parameter.data + 0.3 * rng.standard_normal(parameter.shape).astype(np.float32)
        if config.get("norm") == "batch":
            with no_grad():
                for _ in range(60):  # the averages of pictures: any others make a picture of one color
                    net(Tensor(rng.random((1, 48, 48, 3), np.float32)), training=True)
        save_model(folder / f"{name}.h5", Model(net, styles))
        yield name, folder / f"{name}.h5"
    yield "styles", "styles"
    yield "any", "any"


def session(path: Path) -> Any:
    """The model in ONNX Runtime, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def inputs(model: Any, count: int) -> list[dict[str, Array]]:
    """What is given beside `count` photos: each style, the photo's own among them, and blends; embeddings."""
    rng = np.random.default_rng(count)
    if isinstance(model, Predictor):
        return [{"embedding": rng.standard_normal((count, EMBEDDING)).astype(np.float32)} for _ in range(2)]
    if not model.net.styled_layers:
        return [{}]
    S = len(model.styles)
    each = [np.eye(S, dtype=np.float32)[[row] * count] for row in range(S)]
    blends = rng.dirichlet(np.ones(S), count).astype(np.float32)
    return [{"weights": weights} for weights in [*each, blends]]


def ours(model: Any, photo: Array, more: dict[str, Array]) -> Array:
    """What our network makes of it, cut to 0..1."""
    with no_grad():
        picture: Array = np.clip(model.net(Tensor(photo), *more.values()).data, 0, 1)
    return picture


def differences(model: Any, running: Any, sizes: list[tuple[int, int]]) -> dict[str, float]:
    """The largest difference, of 255: over all sizes and inputs, and for a picture of one color."""
    rng, worst = np.random.default_rng(0), 0.0
    for height, width in sizes:
        for count in (1, 3):
            photo = rng.random((count, height, width, 3), np.float32)
            # Each style where that is quick; blends, which hold all of them, at every size.
            for more in inputs(model, count)[0 if height * width < EACH_STYLE else -1 :]:
                apart = running.run(None, {"photo": photo, **more})[0] - ours(model, photo, more)
                worst = max(worst, float(np.abs(apart).max()))
    flat, more = np.full((1, 64, 64, 3), 0.5, np.float32), inputs(model, 1)[-1]
    one_color = np.abs(running.run(None, {"photo": flat, **more})[0] - ours(model, flat, more)).max()
    return {"largest": 255 * worst, "one color": 255 * float(one_color)}


def times(model: Any, running: Any) -> dict[str, float]:
    """Milliseconds for 512 x 512 pixels on one thread, ours and theirs by turns; the medians."""
    photo, more = np.random.default_rng(0).random((1, 512, 512, 3), np.float32), inputs(model, 1)[0]
    works: dict[str, Callable[[], Any]] = {
        "nanostyle": lambda: ours(model, photo, more),
        "onnxruntime": lambda: running.run(None, {"photo": photo, **more}),
    }
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS + 2):
        for name, work in works.items():
            taken[name].append(1e3 * seconds_of(work))
    return {name: median(values[2:]) for name, values in taken.items()}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed.onnx", description=__doc__.partition("\n")[0])
    parser.add_argument("--time", action="store_true", help="measure the times, and no differences")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "onnx.json", help="the results")
    options = parser.parse_args()
    results = json.loads(options.output.read_text()) if options.output.exists() else {}
    set_threads(1 if options.time else None)
    with tempfile.TemporaryDirectory() as folder:
        for name, source in models(Path(folder)):
            file = export_onnx(source, Path(folder) / f"{name}.onnx")[0]
            model, running = load_model(source), session(file)
            row = results.setdefault("models", {}).setdefault(name, {})
            if not options.time:
                row |= differences(model, running, SIZES)
            elif name in ("styles", "any"):
                row |= {"milliseconds": times(model, running)}
            print(name, row)
    results["times" if options.time else "differences"] = machine()
    options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
