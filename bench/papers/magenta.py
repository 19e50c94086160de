"""The built-in network for any painting beside Magenta's released one, on pictures neither was trained on.

    pip install ai-edge-litert
    python -m bench.papers.magenta --vgg19 vgg19.h5 [--model any.h5] [--sheet sheet.png]

For pairs of photo and painting: content and style loss by VGG-19 of both results, relative and without weights, and
how often ours has the lower style loss at no higher content loss. Three scores of faults, the last two also for a
flat gray photo:

- `grain`: the share of the brightness's variance in a checkerboard of single pixels;
- `weave`: how far the colors follow the grid of 4 x 4 pixels that both networks upsample together, in thousandths;
- `border`: how much the outermost pixels differ from those 6 further in, over the same difference inside; well above
  1 is a frame.

Magenta's network sees a square of 256 pixels from the painting's middle; ours sees paintings as in its training.
"""

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from bench.folders import RESULTS, ROOT, from_data
from bench.papers.compact import EIGHT_PAINTINGS, PHOTOS
from nanostyle.autograd.tensor import Tensor
from nanostyle.backend.threads import set_threads
from nanostyle.backend.types import Pixels
from nanostyle.io.atomic import replacing
from nanostyle.io.contact_sheet import sheet
from nanostyle.io.image_read import load_image
from nanostyle.io.image_write import save_image
from nanostyle.io.pictures import load_short
from nanostyle.io.resample import resize
from nanostyle.models.loss_network import loss_network
from nanostyle.models.predictor import load_predictor
from nanostyle.nn.losses import grid_loss
from nanostyle.training.objective import Objective
from nanostyle.training.options import TrainOptions

SIDE = 384  # of the photos: Magenta's transformer gives so many pixels, whatever it gets
STYLE_SIDE = 256


class Magenta:
    """Magenta's predictor and transformer (Apache-2.0), through a TFLite runtime."""

    def __init__(self, folder: Path, threads: int | None) -> None:
        files = ("style_predict_quantized_256.tflite", "style_transfer_f16_384.tflite")
        self._predict, self._transform = (Interpreter(str(folder / name), num_threads=threads) for name in files)

    def style(self, painting: Pixels) -> Pixels:
        """The 100 numbers of a painting."""
        side = min(painting.shape[:2])
        top, left = ((n - side) // 2 for n in painting.shape[:2])
        square = resize(painting[top : top + side, left : left + side], (STYLE_SIDE, STYLE_SIDE))
        return self._run(self._predict, square[None])

    def __call__(self, photo: Pixels, style: Pixels) -> Pixels:
        """The photo in that style."""
        (made,) = self._run(self._transform, photo[None], style)
        return np.asarray(made[: photo.shape[0], : photo.shape[1]])

    def _run(self, interpreter: Interpreter, *inputs: Pixels) -> Pixels:
        slots = interpreter.get_input_details()
        # The photo is the input of three channels.
        slots.sort(key=lambda slot: slot["shape"][-1])
        for slot, value in zip(slots, inputs, strict=True):
            interpreter.resize_tensor_input(slot["index"], value.shape)
        interpreter.allocate_tensors()
        for slot, value in zip(slots, inputs, strict=True):
            interpreter.set_tensor(slot["index"], value.astype(np.float32))
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


def grain(pixels: Pixels) -> float:
    """The share of the brightness's variance in the checkerboard of single pixels."""
    x = pixels.mean(axis=2)
    finest = (x[:-1, :-1] - x[1:, :-1] - x[:-1, 1:] + x[1:, 1:]) / 4
    return float((finest**2).mean() / max(x.var(), 1e-6))


def weave(pixels: Pixels) -> float:
    """How far colors follow the grid of 4 x 4 pixels: the deviation of the means by place, in thousandths."""
    return 1000 * math.sqrt(grid_loss(Tensor(pixels[None])).item())


def border(pixels: Pixels) -> float:
    """The difference between pixels 1 and 7 from the border, as a multiple of that between pixels 15 and 21."""
    sides = [pixels, pixels[::-1], pixels.swapaxes(0, 1), pixels[:, ::-1].swapaxes(0, 1)]
    near, far = (mean(float(np.abs(s[d] - s[d + 6]).mean()) for s in sides) for d in (0, 14))
    return near / max(far, 1e-3)


def summary(pairs: Sequence[Any], faults: Sequence[Mapping[str, Pixels]]) -> tuple[dict[str, Any], dict[str, int]]:
    """The means of both contestants over all pairs, and in how many pairs ours is better."""
    terms = ("content", "style", "grain", "weave", "border")
    means = {who: {t: mean(pair[who][t] for pair in pairs) for t in terms} for who in ("nanostyle", "magenta")}
    for who, row in means.items():
        row |= {f"{k.__name__}, flat photo": mean(k(fault[who]) for fault in faults) for k in (weave, border)}
    lower = [pair for pair in pairs if pair["nanostyle"]["style"] < pair["magenta"]["style"]]
    better = [pair for pair in lower if pair["nanostyle"]["content"] <= pair["magenta"]["content"]]
    return means, {"pairs": len(pairs), "style lower": len(lower), "style lower, content no higher": len(better)}


def command_line() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "weights" / "builtin" / "any.h5")
    parser.add_argument("--vgg19", required=True, help="the judge")
    parser.add_argument("--demo", **from_data("demo", "folder with the folders content and style"))
    parser.add_argument("--magenta", **from_data("peer-models/ghiasi-tflite", "folder of Magenta's two networks"))
    parser.add_argument("--photos", nargs="+", default=PHOTOS)
    parser.add_argument("--paintings", nargs="+", default=EIGHT_PAINTINGS)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--output", type=Path, default=RESULTS / "magenta.json")
    parser.add_argument("--sheet", type=Path, help="a PNG: under each photo's row of ours one of theirs")
    return parser.parse_args()


def main() -> None:
    """Measure, print, write."""
    given = command_line()
    set_threads(given.threads)

    predictor = load_predictor(given.model)
    magenta = Magenta(given.magenta, given.threads)
    objective = Objective(loss_network(given.vgg19), TrainOptions())
    photos = {name: load_image(given.demo / "content" / f"{name}.jpg", size=SIDE).pixels for name in given.photos}
    paintings = {name: load_short(given.demo / "style" / f"{name}.jpg", STYLE_SIDE) for name in given.paintings}
    flat = np.full((256, 256, 3), 0.5, np.float32)

    pairs: dict[str, Any] = {}
    columns, faults = [], []
    for name, painting in paintings.items():
        ours, theirs = predictor.style(painting, name=name), magenta.style(painting)
        contestants: dict[str, Callable[[Pixels], Pixels]] = {
            "nanostyle": predictor.renderer(ours),
            "magenta": partial(magenta, style=theirs),
        }
        targets = objective.grams(painting[None])
        column = []
        for photo_name, photo in photos.items():
            found = {}
            for who, render in contestants.items():
                made = render(photo)
                found[who] = objective.measure(Tensor(made[None]), photo[None], targets)
                found[who] |= {"grain": grain(made), "weave": weave(made), "border": border(made)}
                column.append(made)
            pairs[f"{photo_name} x {name}"] = found
        faults.append({who: render(flat) for who, render in contestants.items()})
        columns.append(column)

    means, counts = summary(list(pairs.values()), faults)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(given.output) as temporary:
        settings = {"size": SIDE, "style_side": STYLE_SIDE, "model": given.model.name}
        temporary.write_text(
            json.dumps({"settings": settings, "means": means, **counts, "all": pairs}, indent=1) + "\n"
        )
    print(json.dumps(means, indent=1), counts)
    if given.sheet:
        rows = [[None, *paintings.values()]]
        for i, photo in enumerate(photos.values()):
            rows += [[photo, *(c[2 * i] for c in columns)], [None, *(c[2 * i + 1] for c in columns)]]
        save_image(given.sheet, sheet(rows, column_labels=["", *paintings], cell=224))


if __name__ == "__main__":
    main()
