"""Do unseen paintings come out as well as trained ones? Figure 5 of Ghiasi 2017 at a small scale.

    python -m bench.papers.ghiasi [--counts 16 64 256 700] [--steps 4000] [--width 0.25] [--size 128] ...

One network is trained for each number of styles, all else equal. Measured over photos that no training saw, by
relative losses without weights: content and style loss for trained styles and for unseen paintings; the same along
--strength from 0 to 1; and whether works of one painter lie closer together than others. The script resumes where it
was stopped. With --model nothing is trained and that network is measured.

The data: folders of photos and styles to train on, and of photos and paintings to test with. A training style is left
out if its name shares a word with a test painting's: it may be another picture of the same work.
"""

import argparse
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bench.folders import RESULTS, RUNS, from_data
from nanostyle.autograd.tensor import Tensor
from nanostyle.backend.device import CPU, pick_device
from nanostyle.backend.types import Pixels
from nanostyle.io.atomic import replacing
from nanostyle.io.contact_sheet import sheet
from nanostyle.io.image_write import save_image
from nanostyle.io.pictures import (
    find_pictures,
    load_short,
    style_files,
)
from nanostyle.methods.predict import train_predict
from nanostyle.methods.style_map import (
    predicted_vectors,
    style_map,
)
from nanostyle.models.loss_network import loss_network
from nanostyle.models.predictor import (
    Predictor,
    load_backbone,
    load_predictor,
)
from nanostyle.training.objective import Objective
from nanostyle.training.options import TrainOptions

STRENGTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
SHOWN = (4, 8)  # photos and paintings on the sheet and along the strengths

Losses = dict[str, float]


def words(name: str) -> set[str]:
    """The words of four letters and more in the name of a file."""
    return set(re.findall(r"[a-z]{4,}", name.lower()))


def training_styles(folder: Path, tests: Sequence[str], seed: int) -> list[str]:
    """The names of the styles to train on, in a random order: the first n are the training set of n."""
    # `style` and `target`: pictures whose names do not say what they are.
    taken = {"style", "target"}.union(*map(words, tests))
    names = [name for name in style_files([folder]) if not words(name) & taken]
    return [names[i] for i in np.random.default_rng(seed).permutation(len(names))]


class Judge:
    """Measures stylized pictures by the loss network, over the test photos."""

    def __init__(self, objective: Objective, photos: Mapping[str, Pixels]) -> None:
        self.objective, self.photos = objective, photos

    def losses(self, predictor: Predictor, painting: Pixels, photos: Sequence[Pixels], strength: float = 1) -> Losses:
        """Content and style loss in the style of `painting`: means over the photos."""
        style = predictor.style(painting, name="")
        targets = self.objective.grams(painting[None])
        found = [
            self.objective.measure(Tensor(predictor.render(p, style, strength=strength)[None]), p[None], targets)
            for p in photos
        ]
        return mean(found)

    def over(self, predictor: Predictor, paintings: Sequence[Pixels]) -> dict[str, Any]:
        """Mean and standard error over paintings, all photos."""
        found = [self.losses(predictor, painting, list(self.photos.values())) for painting in paintings]
        errors = {k: float(np.std([f[k] for f in found]) / len(found) ** 0.5) for k in found[0]}
        return {**mean(found), "standard_error": errors, "paintings": len(found)}

    def untouched(self, paintings: Sequence[Pixels]) -> float:
        """The style loss of the photos themselves, where every method begins."""
        return mean(
            [
                self.objective.measure(Tensor(photo[None]), photo[None], self.objective.grams(painting[None]))
                for painting in paintings
                for photo in self.photos.values()
            ]
        )["style"]


def mean(losses: Sequence[Losses]) -> Losses:
    """The mean of each term."""
    return {name: float(np.mean([loss[name] for loss in losses])) for name in losses[0]}


def pictures(files: Mapping[str, Path], size: int) -> dict[str, Pixels]:
    """All of `files`, with a short side of `size` pixels."""
    return {name: load_short(file, size) for name, file in files.items()}


def painter(name: str) -> str:
    """The painter: the last word of the name, as in `irises_van_gogh`; empty for a name without `_`."""
    return name.rpartition("_")[2] if "_" in name else name


def examine(predictor: Predictor, judge: Judge, learned: Mapping[str, Pixels], unseen: Mapping[str, Pixels]) -> Any:
    """All measurements of one trained network."""
    photo_count, painting_count = SHOWN
    few_photos, few = list(judge.photos.values())[:photo_count], list(unseen.values())[:painting_count]
    along = {
        f"{strength:.1f}": mean([judge.losses(predictor, painting, few_photos, strength) for painting in few])
        for strength in STRENGTHS
    }
    styles = [predictor.style(painting, name=name) for name, painting in unseen.items()]
    plane = style_map(predicted_vectors(styles), list(unseen))
    return {
        "learned": judge.over(predictor, list(learned.values())),
        "unseen": judge.over(predictor, list(unseen.values())),
        "along_strength": along,
        "kinship_of_painters": plane.kinship([painter(name) for name in unseen]),
        "share_of_variance_on_the_map": plane.share,
    }


def draw(predictor: Predictor, photos: Mapping[str, Pixels], paintings: Mapping[str, Pixels]) -> Pixels:
    """Photos x unseen paintings."""
    some = list(photos.values())[: SHOWN[0]]
    shown = dict(list(paintings.items())[: SHOWN[1]])
    styles = [predictor.style(painting, name=name) for name, painting in shown.items()]
    rows = [[photo, *(predictor.render(photo, style) for style in styles)] for photo in some]
    return sheet([[None, *shown.values()], *rows], column_labels=["", *shown], cell=192)


def table(results: Mapping[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        "| styles | learned: content | style | unseen: content | style | style, unseen / learned | painters' kinship |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for count, found in results["counts"].items():
        a, b = found["learned"], found["unseen"]
        lines.append(
            f"| {count} | {a['content']:.3f} | {a['style']:.3f} | {b['content']:.3f} | {b['style']:.3f}"
            f" | {b['style'] / a['style']:.2f} | {found['kinship_of_painters']:.2f} |"
        )
    lines += ["", "| styles | " + " | ".join(f"strength {s:.1f}" for s in STRENGTHS) + " |"]
    lines.append("| --- |" + " --- |" * len(STRENGTHS))
    for count, found in results["counts"].items():
        cells = [f"{v['content']:.3f} / {v['style']:.3f}" for v in found["along_strength"].values()]
        lines.append(f"| {count}: content / style | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"The photos themselves have a style loss of {results['untouched']:.3f}."])


def train(a: argparse.Namespace, options: TrainOptions, styles: Mapping[str, Path], model: Path) -> None:
    """Train a network of `styles` on the device of the command line, or go on with it."""
    device = pick_device(a.device).use()
    teacher = loss_network(a.loss_net, device=device)
    backbone = load_backbone(a.backbone or a.loss_net, seed=a.seed, device=device)
    for step in train_predict(
        find_pictures(a.photos), styles, teacher, options, model, backbone=backbone, resume=True, device=device
    ):
        if step.step % 50 == 0:
            print(f"\r{len(styles)} styles, step {step.step}, loss {step.loss:.3f}", end="", flush=True)
    CPU.use()


def command_line() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", **from_data("photos", "photos to train on"))
    parser.add_argument("--styles", **from_data("styles", "styles to train on"))
    parser.add_argument("--test-photos", **from_data("demo/content", "photos to test with"))
    parser.add_argument("--test-styles", **from_data("demo/style", "paintings to test with"))
    parser.add_argument("--loss-net", default="vgg19")
    parser.add_argument("--judge", default="", help="the network that measures; default: as --loss-net")
    parser.add_argument("--backbone", default="", help="default: as --loss-net")
    parser.add_argument("--counts", type=int, nargs="+", default=[16, 64, 256, 700])
    parser.add_argument("--judged", type=int, default=16, help="training styles that are measured")
    parser.add_argument("--test-count", type=int, default=8, help="test photos")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="where to train: cpu or cuda; measured is on the CPU")
    parser.add_argument("--model", type=Path, help="measure this network alone; --counts says of how many styles it is")
    work = "folder for models, checkpoints and contact sheets"
    parser.add_argument("--work", type=Path, default=RUNS / "ghiasi", help=work)
    parser.add_argument("--output", type=Path, default=RESULTS / "ghiasi.json")
    return parser.parse_args()


def main() -> None:
    """Train, measure and write, for each count."""
    a = command_line()

    options = TrainOptions(
        steps=a.steps,
        batch=a.batch,
        size=a.size,
        width=a.width,
        loss_net=a.loss_net,
        backbone=a.backbone,
        grid_weight=0,  # the papers' losses alone
        seed=a.seed,
        checkpoint_every=250,
        preview_every=1000,
    )
    network = loss_network(a.loss_net)
    tests = style_files([a.test_styles])
    unseen = pictures(tests, a.size)
    photos = pictures({p.stem: p for p in find_pictures(a.test_photos)[: a.test_count]}, a.size)
    judge = Judge(Objective(loss_network(a.judge) if a.judge else network, options), photos)
    files, names = style_files([a.styles]), training_styles(a.styles, list(tests), a.seed)
    a.work.mkdir(parents=True, exist_ok=True)

    tested = {"judge": a.judge, "test_photos": list(photos), "test_styles": list(unseen)}
    settings = json.loads(json.dumps({**asdict(options), **tested}))
    results: dict[str, Any] = {"settings": settings, "counts": {}}
    if a.output.exists() and (before := json.loads(a.output.read_text()))["settings"] == settings:
        results = before
    results.setdefault("untouched", judge.untouched(list(unseen.values())))

    missing = [n for n in sorted({min(count, len(names)) for count in a.counts}) if str(n) not in results["counts"]]
    for count in [] if a.model else missing:
        train(a, options, {name: files[name] for name in names[:count]}, a.work / f"{count}.h5")
    for count in missing:
        begin = time.perf_counter()
        chosen = {name: files[name] for name in names[:count]}
        predictor = load_predictor(a.model or a.work / f"{count}.h5")
        learned = pictures(dict(list(chosen.items())[: a.judged]), a.size)
        found = examine(predictor, judge, learned, unseen)
        found["seconds"] = round(time.perf_counter() - begin)
        results["counts"][str(count)] = found
        save_image(a.work / f"{count}.png", draw(predictor, photos, unseen))
        a.output.parent.mkdir(parents=True, exist_ok=True)
        with replacing(a.output) as temporary:
            temporary.write_text(json.dumps(results, indent=1) + "\n")
        print("\n" + table(results))


if __name__ == "__main__":
    main()
