"""Dumoulin 2017's experiments at a small scale: `python -m bench.papers.dumoulin --content DIR --styles DIR ...`.

(a) One network of N styles against N networks of one style, trained for as many steps: content and style loss on
    unseen photos. In the paper content is 8.7 ± 3.9 % higher, style 8.9 ± 16.5 % lower.
(b) A new style by gamma and beta alone against a network trained from scratch, for as many steps and for 8 times as
    many. In the paper 5,000 steps of the first look like 40,000 of the last; 5,000 from scratch do not.
(c) The style loss along the blend from one style to another. In the paper it is monotone.

The script resumes where it was stopped. As in the paper, the networks have no style `photo`. Losses are without
weights.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.backend.threads import set_threads
from nanostyle.backend.types import Pixels
from nanostyle.io.atomic import replacing
from nanostyle.io.pictures import find_pictures, load_short, style_files
from nanostyle.methods.cin import add_style
from nanostyle.models.loss_network import loss_network
from nanostyle.models.multistyle import load_multistyle
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nets.transformer_config import transformer_config
from nanostyle.training.loop import train
from nanostyle.training.objective import Objective
from nanostyle.training.options import TrainOptions
from nanostyle.training.style_task import StyleTask

Losses = dict[str, list[float]]
"""`content` and `style`: a loss for each test photo."""


class Experiment:
    """Trainings and measurements shared by the three experiments."""

    def __init__(self, given: argparse.Namespace) -> None:
        photos = find_pictures(given.content)
        rng = np.random.default_rng(given.seed)
        order = rng.permutation(len(photos))
        self.test = [photos[i] for i in sorted(order[: given.test])]
        self.photos = [photos[i] for i in sorted(order[given.test :])]
        self.folder: Path = given.output
        self.steps: int = given.steps
        self.options = TrainOptions(
            batch=given.batch,
            size=given.size,
            width=given.width,
            seed=given.seed,
            loss_net=given.loss_net,
            grid_weight=0,  # the papers' losses alone
            preview_every=given.steps,
        )
        self.network = loss_network(given.loss_net)
        self.objective = Objective(self.network, self.options)

    def train(self, name: str, paintings: Mapping[str, Path], steps: int) -> Path:
        """A network of `paintings`, trained from scratch."""
        output = self.folder / f"{name}.h5"
        options = self.with_steps(steps)
        config = transformer_config("dumoulin", width=options.width, styles=len(paintings))
        pictures = {key: load_short(file, options.style_side) for key, file in paintings.items()}
        task = StyleTask(
            "cin", TransformerNet(config, np.random.default_rng(0)), pictures, Objective(self.network, options)
        )
        for step in train(task, self.photos, options, output, resume=True):
            report(name, step.step, step.steps, step.loss)
        return output

    def add(self, model: Path, name: str, painting: Path, steps: int) -> Path:
        """`model` with one more style, trained by gamma and beta alone."""
        output = self.folder / f"added-{name}.h5"
        options = self.with_steps(steps)
        for step in add_style(model, self.photos, {name: painting}, self.network, options, output, resume=True):
            report(f"add {name}", step.step, step.steps, step.loss)
        return output

    def with_steps(self, steps: int) -> TrainOptions:
        """The options of a training of `steps` steps."""
        return TrainOptions(**{**vars(self.options), "steps": steps})

    def measure(self, model: Path, shares: Mapping[str, float], painting: Path) -> Losses:
        """The losses on the test photos, in a blend of the model's styles, against `painting`."""
        trained = load_multistyle(model)
        rows = {trained.row(name): share for name, share in shares.items()}
        targets = self.objective.grams(load_short(painting, self.options.style_side)[None])
        losses: Losses = {"content": [], "style": []}
        for photo in self.test_photos():
            with no_grad():
                y = trained.net(Tensor(photo), trained.net.blend(rows, photo))
            for term, value in self.objective.measure(y, photo, targets).items():
                losses[term].append(value)
        return losses

    def test_photos(self) -> list[Pixels]:
        """Center crops of the photos kept out of all trainings, as batches of one."""
        crops = []
        for file in self.test:
            pixels, size = load_short(file, self.options.size), self.options.size
            top, left = ((n - size) // 2 for n in pixels.shape[:2])
            crops.append(np.ascontiguousarray(pixels[None, top : top + size, left : left + size]))
        return crops


def many_against_one(experiment: Experiment, paintings: Mapping[str, Path]) -> tuple[Path, list[dict[str, object]]]:
    """Experiment (a): the model of many styles, and the table."""
    many = experiment.train("many", paintings, experiment.steps)
    rows = []
    for name, painting in paintings.items():
        one = experiment.train(f"one-{name}", {name: painting}, experiment.steps)
        together, alone = (mean(experiment.measure(model, {name: 1.0}, painting)) for model in (many, one))
        change = {f"{term} change %": 100 * (together[term] / alone[term] - 1) for term in ("content", "style")}
        rows.append({"style": name, "many": together, "one": alone, **change})
    return many, rows


def new_style(experiment: Experiment, many: Path, name: str, painting: Path) -> list[dict[str, object]]:
    """Experiment (b): the table."""
    few = max(1, experiment.steps // 8)
    models = {
        f"gamma and beta, {few} steps": experiment.add(many, name, painting, few),
        f"from scratch, {few} steps": experiment.train(f"scratch-{few}-{name}", {name: painting}, few),
        f"from scratch, {experiment.steps} steps": experiment.train(f"one-{name}", {name: painting}, experiment.steps),
    }
    return [{"training": how, **mean(experiment.measure(m, {name: 1.0}, painting))} for how, m in models.items()]


def blend(experiment: Experiment, many: Path, pair: Sequence[tuple[str, Path]]) -> list[dict[str, object]]:
    """Experiment (c): the table, with the style loss against both paintings."""
    (a, first), (b, second) = pair
    rows: list[dict[str, object]] = []
    for share in np.linspace(0, 1, 9).tolist():
        shares = {a: 1 - share, b: share}
        to_first, to_second = (
            mean(experiment.measure(many, shares, painting))["style"] for painting in (first, second)
        )
        rows.append({f"share of {b}": share, f"style loss to {a}": to_first, f"style loss to {b}": to_second})
    return rows


def mean(losses: Losses) -> dict[str, float]:
    """The mean over the photos."""
    return {term: float(np.mean(values)) for term, values in losses.items()}


def monotone(values: Sequence[float]) -> bool:
    """True where `values` never turn back."""
    steps = np.diff(values)
    return bool((steps >= 0).all() or (steps <= 0).all())


def report(name: str, step: int, steps: int, loss: float) -> None:
    """Print every hundredth step."""
    if step % 100 == 0 or step == steps:
        print(f"{name}: step {step} of {steps}, loss {loss:.4f}", flush=True)


def main() -> None:
    """Run all three, print their tables, and write them to a JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--content", type=Path, required=True, help="folder of photos")
    parser.add_argument("--styles", type=Path, nargs="+", required=True, help="paintings; the last is the new style")
    parser.add_argument("--loss-net", default="builtin")
    parser.add_argument("--output", type=Path, required=True, help="folder for the models")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--test", type=int, default=32, help="photos kept out of training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    set_threads(given.threads)
    given.output.mkdir(parents=True, exist_ok=True)
    paintings = style_files(given.styles)
    if len(paintings) < 3:
        parser.error("three paintings or more are needed: two for the network, one to add")
    experiment = Experiment(given)
    *known, (name, painting) = paintings.items()

    many, rows = many_against_one(experiment, dict(known))
    for row in rows:
        print(f"{row['style']}: content {row['content change %']:+.1f} %, style {row['style change %']:+.1f} %")
    changes = {term: [float(str(row[f"{term} change %"])) for row in rows] for term in ("content", "style")}
    summary = {term: {"mean %": float(np.mean(v)), "deviation %": float(np.std(v))} for term, v in changes.items()}
    print(f"(a) {len(known)} styles in one network against one each: {summary}")
    added = new_style(experiment, many, name, painting)
    for row in added:
        print(f"(b) {row['training']}: content {row['content']:.4f}, style {row['style']:.4f}")
    along = blend(experiment, many, known[:2])
    columns = [column for column in along[0] if column.startswith("style loss")]
    for column in columns:
        values = [float(str(row[column])) for row in along]
        print(f"(c) {column}: {' '.join(f'{v:.4f}' for v in values)}; monotone: {monotone(values)}")

    options = {k: v for k, v in vars(given).items() if isinstance(v, int | float)}
    named = {"styles": list(paintings), "loss network": Path(given.loss_net).stem}
    record = {"options": options | named, "many": rows, "summary": summary}
    with replacing(given.output / "dumoulin.json") as temporary:
        temporary.write_text(json.dumps(record | {"new style": added, "blend": along}, indent=1) + "\n")


if __name__ == "__main__":
    main()
