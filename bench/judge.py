"""What a one-pass network's pictures are worth, by judges that no training saw and by numbers for single faults.

    pip install torch ai-edge-litert
    python -m bench.judge [MODEL.h5 ...] --vgg19 vgg19.h5 --squeezenet squeezenet.h5 [--strength 0.8]
        [--magenta FOLDER] [--sheet sheet.png]

For photos x paintings that were kept out of every training, long side 320, means over the pairs:

content, style, relu5_1    by the whole VGG-19, relative: relu4_2; the mean of the Gram matrices of relu1_1 to relu5_1;
                           that of relu5_1 alone
squeeze content, style     by SqueezeNet 1.1: fire5; conv1, fire3, fire5, fire7 and fire9
chroma                     deviation of a and b in Lab, the result's over the painting's
palette                    distance of the colors in Lab: sliced Wasserstein
lines dark, sky            spectral lines at periods of 2, 4 and 8 pixels over their surroundings, the highest, on dark
                           noise and on a sky with grain
pan                        between the result of a photo that moved by a pixel and the result, moved: root mean square,
                           of 255
stripes, flat              on a smooth sunset: the share of fine detail that runs along whole rows; deviation in the
                           ground, of 255
strokes                    Gram matrices of a result of 2,048 pixels made small against those of a result of 512, over
                           the same distance where the large photo is painted in one pass; below 1 strokes keep their
                           size

The file of SqueezeNet is Keras' (rcmalli/keras-squeezenet, without the classifier). Beside Magenta's model: the share
of pairs in which ours has the lower style loss in both judges, at no higher content loss in both.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch

from bench.folders import RESULTS, ROOT, from_data
from bench.judge_measures import (
    Pixels,
    SqueezeNet,
    Vgg,
    chroma,
    lines,
    noises,
    palette_distance,
    pan,
    relative,
    stripes,
    style_distance,
    sunset,
)
from bench.papers.compact import EIGHT_PAINTINGS, PHOTOS
from nanostyle.backend.threads import set_threads
from nanostyle.io.atomic import replacing
from nanostyle.io.contact_sheet import sheet
from nanostyle.io.image_read import load_image
from nanostyle.io.image_write import save_image
from nanostyle.io.resample import fitted, resize
from nanostyle.methods.strokes import stroked
from nanostyle.models.predictor import load_predictor

SIDE = 320
SMALL, LARGE = 512, 2048  # long sides for `strokes`

Render = Callable[[Pixels, Pixels], Pixels]
"""From a photo and a painting (`art`) to the result, all `(H, W, 3)`, RGB in 0..1."""


# --- the examination --------------------------------------------------------------------------------------


def load_pictures(folder: Path, names: tuple[str, ...], side: int) -> dict[str, Pixels]:
    """By name, the pictures of the folder with that long side."""
    return {name: load_image(folder / f"{name}.jpg", size=side).pixels for name in names}


class Judge:
    """Photos x paintings, seen once by each judge."""

    def __init__(self, vgg19: Path, squeezenet: Path, demo: Path) -> None:
        self.judges: dict[str, Vgg | SqueezeNet] = {"vgg": Vgg(vgg19), "squeeze": SqueezeNet(squeezenet)}
        self.photos = load_pictures(demo / "content", PHOTOS, SIDE)
        self.paintings = load_pictures(demo / "style", EIGHT_PAINTINGS, SIDE)
        with torch.no_grad():
            self._seen = {
                (who, name): judge(picture)
                for who, judge in self.judges.items()
                for name, picture in (self.photos | self.paintings).items()
            }

    def pair(self, result: Pixels, photo: str, painting: str) -> dict[str, float]:
        """The losses of one result by each judge, and its colors."""
        found: dict[str, float] = {}
        with torch.no_grad():
            for who, judge in self.judges.items():
                seen = judge(result)
                content = mean(relative(seen[k], self._seen[who, photo][k]) for k in judge.content)
                by_layer = style_distance(judge, seen, self._seen[who, painting])
                found |= {f"{who} content": content, f"{who} style": mean(by_layer.values())}
                if who == "vgg":
                    found["relu5_1"] = by_layer["relu5_1"]
        art = self.paintings[painting]
        found |= {"chroma": chroma(result) / chroma(art), "palette": palette_distance(result, art)}
        return found

    def examine(self, render: Render) -> tuple[dict[str, float], dict[str, dict[str, float]], list[list[Pixels]]]:
        """Means, the figures of each pair, and the pictures: a row for each photo."""
        pairs, rows = {}, []
        for name, photo in self.photos.items():
            rows.append([render(photo, art) for art in self.paintings.values()])
            for painting, result in zip(self.paintings, rows[-1], strict=True):
                pairs[f"{name} x {painting}"] = self.pair(result, name, painting)
        means = {key: mean(p[key] for p in pairs.values()) for key in next(iter(pairs.values()))}
        return means | self.faults(render), pairs, rows

    def faults(self, render: Render) -> dict[str, float]:
        """Means over four of the paintings."""
        arts = list(self.paintings.values())[:4]
        noise, smooth, photo = noises(), sunset(), self.photos["tubingen"]
        made = [render(smooth, art) for art in arts]
        found = {f"lines {k}": mean(lines(render(x, art)) for art in arts) for k, x in noise.items()}
        found["pan"] = mean(pan(render, photo, art) for art in arts)
        found["stripes"] = max(stripes(x[10:180]) for x in made)
        found["flat"] = 255 * min(float(x[230:290, 20:380].std(axis=(0, 1)).mean()) for x in made)
        return found


def predictor(path: Path, strength: float, strokes: int | None) -> Render:
    """A prediction network of nanostyle."""
    network = load_predictor(path)
    known: dict[int, Any] = {}

    def render(photo: Pixels, art: Pixels) -> Pixels:
        if id(art) not in known:
            known[id(art)] = stroked(network, network.style(art, name="style"), strength=strength, strokes=strokes)
        return np.asarray(known[id(art)](photo))

    return render


def magenta(folder: Path) -> Render:
    """Magenta's network: it gives 384 x 384 pixels, so photos are mirrored to these and cropped back."""
    from bench.papers.magenta import SIDE as CANVAS
    from bench.papers.magenta import Magenta

    network = Magenta(folder, None)

    def render(photo: Pixels, art: Pixels) -> Pixels:
        size = photo.shape[0], photo.shape[1]
        seen = resize(photo, fitted(size, CANVAS)) if max(size) > CANVAS else photo
        height, width = seen.shape[:2]
        canvas = np.pad(seen, ((0, CANVAS - height), (0, CANVAS - width), (0, 0)), mode="symmetric")
        return resize(np.asarray(network(canvas, network.style(art))[:height, :width]), size)

    return render


def strokes_kept(judge: Judge, path: Path) -> float:
    """The column `strokes` of a prediction network of nanostyle: the mean over two photos and three paintings."""
    seen, found = judge.judges["vgg"], []
    default, at_once = predictor(path, 1.0, None), predictor(path, 1.0, LARGE)
    for photo in list(judge.photos.values())[:2]:
        large, small = (resize(photo, fitted(photo.shape[:2], side)) for side in (LARGE, SMALL))
        for art in list(judge.paintings.values())[:3]:
            with torch.no_grad():
                aim = seen(default(small, art))
                distances = [
                    mean(style_distance(seen, seen(resize(render(large, art), small.shape[:2])), aim).values())
                    for render in (default, at_once)
                ]
            found.append(distances[0] / distances[1])
    return mean(found)


def better(ours: Mapping[str, Mapping[str, float]], theirs: Mapping[str, Mapping[str, float]]) -> float:
    """The share of pairs with lower style in both judges at no higher content in both."""

    def wins(a: Mapping[str, float], b: Mapping[str, float]) -> bool:
        return all(
            a[f"{k} style"] < b[f"{k} style"] and a[f"{k} content"] <= b[f"{k} content"] for k in ("vgg", "squeeze")
        )

    return mean(wins(ours[key], theirs[key]) for key in ours)


def main() -> None:
    """Examine each contestant, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, default=[ROOT / "weights" / "builtin" / "any.h5"])
    parser.add_argument("--vgg19", type=Path, required=True)
    parser.add_argument("--squeezenet", type=Path, required=True)
    parser.add_argument("--demo", **from_data("demo", "folder with the folders content and style"))
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--strokes", type=int)
    parser.add_argument("--magenta", type=Path, metavar="FOLDER", help="of its two TFLite files")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS / "judge.json")
    parser.add_argument("--sheet", type=Path, help="a PNG: for each photo a row of each contestant")
    given = parser.parse_args()
    set_threads(given.threads)
    torch.set_num_threads(given.threads)

    judge = Judge(given.vgg19, given.squeezenet, given.demo)
    paths = {path.stem: path for path in given.models}
    contestants = {name: predictor(path, given.strength, given.strokes) for name, path in paths.items()}
    contestants |= {"magenta": magenta(given.magenta)} if given.magenta else {}
    found: dict[str, Any] = {}
    pictures = []
    for name, render in contestants.items():
        means, pairs, rows = judge.examine(render)
        if path := paths.get(name):
            means["strokes"] = strokes_kept(judge, path)
        found[name] = {"means": means, "pairs": pairs}
        pictures.append(rows)
        print(name, json.dumps({key: round(value, 3) for key, value in means.items()}), flush=True)
    for name in contestants if given.magenta else ():
        found[name]["better than magenta"] = better(found[name]["pairs"], found["magenta"]["pairs"])
        print(name, "better than magenta in", found[name]["better than magenta"])
    given.output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(given.output) as temporary:
        settings = {"side": SIDE, "strength": given.strength, "strokes": given.strokes}
        temporary.write_text(json.dumps({"settings": settings, **found}, indent=1) + "\n")
    if given.sheet:
        table: list[list[Pixels | None]] = [[None, *judge.paintings.values()]]
        for i, photo in enumerate(judge.photos.values()):
            table += [[photo if k == 0 else None, *each[i]] for k, each in enumerate(pictures)]
        save_image(given.sheet, sheet(table, column_labels=["", *judge.paintings], cell=256))


if __name__ == "__main__":
    main()
