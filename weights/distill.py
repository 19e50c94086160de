"""Make the built-in loss network, `weights/builtin/loss.h5`: a slim VGG-19 that stands in for the real one.

    python -m weights.distill --teacher vgg19.h5 --photos DIR --styles DIR [--start slim.h5] [--steps 4000] [--resume]
        -o loss.h5

1. *Prune*. In each layer the channels of VGG-19 are kept from which the others follow best by a linear map. Least
   squares fits the weights that lead to them to the values in VGG-19, given the slim network so far. With `--start`
   the channels of an earlier slim network are kept, and those are added that explain best what it lacks.
2. *Train*. Features at six levels, times a linear map, shall equal VGG-19's, and so shall Gram matrices and their
   distances from the style's. Training pictures are photos, paintings, and what Gatys' method makes on its way from
   one to the other with the slim network as it is then: the optimizer of the pixels finds each way to fool the
   network.
3. *Fold*. Of a map M only distances matter: |M x|² = x·P x with P = M Mᵀ. The file holds a root of P for each level,
   `relu3_1/map`; features times that map have the distances and Gram matrices of VGG-19.

The same arguments give the same file, whether the script was stopped and resumed or not. Beside the output stand
`NAME.training.h5`, to resume from, and `NAME.training.json`, the errors on pictures that were kept out.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.backend.threads import set_threads
from nanostyle.backend.types import Pixels
from nanostyle.io.atomic import replacing
from nanostyle.io.weights import WeightFile, load_weights, save_weights
from nanostyle.methods.gatys import gatys
from nanostyle.methods.gatys_options import GatysOptions
from nanostyle.models.loss_network import load_features, loss_network
from nanostyle.nets.vgg import LossNetwork
from nanostyle.optim.adam import Adam
from nanostyle.training.batches import Pictures
from weights.slim import (
    LEVELS,
    config_of,
    convolutions,
    folded,
    least_squares,
    losses,
    predicted,
    split,
    write,
)

WIDTHS = (16, 32, 64, 96, 144, 112, 112, 112, 256, 256, 128, 128, 256)
"""Channels of conv1_1, conv1_2, conv2_1, conv2_2, conv3_1 to conv3_4, conv4_1 to conv4_4, conv5_1; VGG-19: 64 to 512.

Wide where VGG-19's second and third level begin, thin behind them. In thin layers there the optimizer of the pixels
finds patterns that please the slim network and mean nothing to VGG-19.
"""

FROZEN = ("conv1_1", "conv1_2", "conv2_1")
"""Convolutions that stay as an earlier network has them. They are trained already, and most of the time goes there."""

SIZE = 112
_SAMPLES = 48  # crops to prune with, of
_SAMPLE_SIZE = 128  # pixels
_PATCHES = 400  # places in each of them
_JOURNEYS = 30  # journeys that are remembered
_JOURNEY_EVERY = 12  # steps between a new journey and the next
_STOPS = (2, 6, 18, 50)  # iterations of Gatys' method at which the picture is looked at
_CHECKPOINT_EVERY = 50

# Seeds of what is drawn at random, so that the streams never meet.
_PHOTOS, _STYLES, _JOURNEY, _STEP, _TEST = range(5)


# --- pruning --------------------------------------------------------------------------------------------------


def prune(
    teacher: LossNetwork,
    pictures: Sequence[Pixels],
    widths: Sequence[int],
    seed: int,
    start: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Parameters of a network with `widths` channels per convolution that approximates `teacher`.

    The weights are for pictures in 0..1 minus the teacher's mean. Channels of the earlier network `start` come first.
    """
    start = start or {}
    parameters: dict[str, np.ndarray] = {}
    names = convolutions(teacher.layers)[: len(widths)]
    rng = np.random.default_rng(seed)
    places: dict[str, list[np.ndarray]] = {name: [] for name in names}
    aims: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for picture in pictures:
        with no_grad():
            found = teacher.features(Tensor(picture[None]), names)
        for name, feature in found.items():
            flat = feature.data[0].reshape(-1, feature.shape[3])
            places[name].append(rng.integers(len(flat), size=_PATCHES))
            aims[name].append(flat[places[name][-1]])
    for name, width in zip(names, widths, strict=True):
        z = np.concatenate(aims[name])
        active = np.maximum(z, 0)
        before = teacher.layers[: teacher.layers.index(name)]
        slim = LossNetwork(config_of(teacher, before), parameters) if before else None
        inputs = (features(slim, p, before[-1]) if slim else p - teacher.mean for p in pictures)
        rows = np.concatenate([patches(x, at) for x, at in zip(inputs, places[name], strict=True)])
        parameters |= widened(start, name, rows, z, active, width)
    return parameters


def widened(
    start: Mapping[str, np.ndarray], name: str, rows: np.ndarray, z: np.ndarray, active: np.ndarray, width: int
) -> dict[str, np.ndarray]:
    """Weight and bias of the convolution `name` with `width` channels or more: those of `start`, then new ones.

    `rows` are the patches that the layer sees, `z` and `active` are the teacher's values there before and after the
    ReLU. The new channels have a mean square of 1, so that all channels of a layer are of one size.
    """
    C = rows.shape[1] // 9
    old = start.get(f"{name}/weight", np.zeros((3, 3, 0, 0), np.float32))
    width = max(width, old.shape[3])
    weight = np.zeros((3, 3, C, width), np.float32)
    bias = np.zeros(width, np.float32)
    known = old.shape[3]
    weight[:, :, : old.shape[2], :known] = old
    bias[:known] = start.get(f"{name}/bias", bias[:0])
    if known:
        made = np.maximum(rows @ np.concatenate([weight.reshape(9 * C, width), bias[None]])[:, :known], 0)
        made = np.concatenate([made, np.ones((len(made), 1))], axis=1)
        active = active - made @ least_squares(made, active)
    if known < width:
        kept = choose(active.T @ active / len(active), width - known)
        solution = least_squares(rows, z[:, kept])
        solution /= np.sqrt((np.maximum(rows @ solution, 0) ** 2).mean(axis=0))
        weight[..., known:] = solution[:-1].reshape(3, 3, C, width - known)
        bias[known:] = solution[-1]
    return {f"{name}/weight": weight, f"{name}/bias": bias}


def choose(K: np.ndarray, count: int) -> np.ndarray:
    """The `count` channels that together explain most of all, chosen one by one from second moments `K (C, C)`."""
    R, kept = K.astype(np.float64), []
    for _ in range(count):
        own = np.diag(R).copy()
        own[own < 1e-9 * np.trace(K)] = np.inf
        best = int(np.argmax((R * R).sum(axis=1) / own))
        kept.append(best)
        R = R - np.outer(R[best], R[best]) / R[best, best]
    return np.array(kept)


def patches(x: np.ndarray, places: np.ndarray) -> np.ndarray:
    """`(N, 9·C + 1)`: the 3 x 3 neighborhoods of N pixels of `x (H, W, C)`, zero beyond the border, and a 1."""
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    row, column = np.divmod(places, x.shape[1])
    near = [padded[row + i, column + j] for i in range(3) for j in range(3)]
    return np.concatenate([*near, np.ones((len(places), 1), x.dtype)], axis=1)


# --- the student ----------------------------------------------------------------------------------------------


class Student:
    """The slim network and a linear map per level, `relu1_1/map` (C, M), from its features to the teacher's."""

    def __init__(self, config: dict[str, Any], arrays: Mapping[str, np.ndarray], frozen: Sequence[str] = ()) -> None:
        self.config = config
        self.parameters = {
            name: Tensor(np.array(x, np.float32), requires_grad=name.split("/")[0] not in frozen)
            for name, x in arrays.items()
        }
        self.network = LossNetwork(config, {n: p.data for n, p in self.parameters.items() if not n.endswith("/map")})
        for name in convolutions(config["layers"]):
            self.network.weights[name] = self.parameters[f"{name}/weight"], self.parameters[f"{name}/bias"]

    def __call__(self, x: np.ndarray) -> dict[str, Tensor]:
        """The teacher's features at each level as predicted for pictures `x (N, H, W, 3)`."""
        return predicted(self.network.features(Tensor(x), LEVELS), self.parameters)

    def arrays(self) -> dict[str, np.ndarray]:
        """All parameters as they are now."""
        return {name: p.data for name, p in self.parameters.items()}


def fit_maps(teacher: LossNetwork, slim: LossNetwork, pictures: Sequence[Pixels]) -> dict[str, np.ndarray]:
    """The maps with the least squared error on `pictures`."""
    maps = {}
    for level in LEVELS:
        xs, fs = (
            np.concatenate([f.reshape(-1, f.shape[2]) for f in (features(network, p, level) for p in pictures)])
            for network in (slim, teacher)
        )
        maps[f"{level}/map"] = least_squares(xs, fs).astype(np.float32)
    return maps


def features(network: LossNetwork, picture: Pixels, layer: str) -> np.ndarray:
    """`(H, W, C)`: what `network` has at `layer` for one picture."""
    with no_grad():
        return np.asarray(network.features(Tensor(picture[None]), [layer])[layer].data[0])


# --- training -------------------------------------------------------------------------------------------------


class Material:
    """The training pictures: crops of photos and paintings, and journeys from one to the other."""

    def __init__(self, photos: Sequence[Path], styles: Sequence[Path], seed: int, size: int = SIZE) -> None:
        self.photos = Pictures(photos, batch=1, size=size, seed=seed * 10 + _PHOTOS)
        self.styles = Pictures(styles, batch=1, size=size, seed=seed * 10 + _STYLES, colors=True)
        self.seed = seed

    def journey(self, i: int, network: LossNetwork, stops: Sequence[int] = _STOPS) -> np.ndarray:
        """`(2 + stops, SIZE, SIZE, 3)`: painting, photo, and results of Gatys' method between them, in 8 bits."""
        rng = np.random.default_rng([self.seed, _JOURNEY, i])
        # Far from the crops of the steps, which count from 0.
        photo, style = (source.crop(10**6 + i, 0) for source in (self.photos, self.styles))
        options = GatysOptions(
            iterations=stops[-1],
            content_weight=1.0,
            least_gain=0,
            init=rng.choice(["noise", "photo", "content"], p=[0.15, 0.25, 0.6]),
            pyramid=False,
            style_weight=60 * 10 ** rng.uniform(-0.5, 1),
            tv_weight=0.1 if rng.random() < 0.7 else 0.0,
            seed=i,
        )
        made = [s.pixels for s in gatys(photo, [style], network, options) if s.iteration in stops]
        made += [made[-1]] * (len(stops) - len(made))
        return to_bytes(np.stack([style, photo, *made]))

    def batch(self, step: int, journeys: Mapping[int, np.ndarray]) -> tuple[int, list[int], np.ndarray]:
        """Of one of `journeys` the number and four stops, the painting first; two pictures with noise or blended."""
        rng = np.random.default_rng([self.seed, _STEP, step])
        i = list(journeys)[int(rng.integers(len(journeys)))]
        stops = [0, *rng.choice(np.arange(1, len(journeys[i])), 3, replace=False).tolist()]
        return i, stops, self.odd(step, rng)

    def odd(self, step: int, rng: np.random.Generator) -> np.ndarray:
        """A photo and a painting; sometimes one blended over the other, or under noise."""
        photo, style = self.photos.crop(step, 0), self.styles.crop(step, 0)
        if rng.random() < 0.3:
            photo = photo + np.float32(rng.uniform(0.2, 0.8)) * (style - photo)
        if rng.random() < 0.3:
            noise = rng.standard_normal(photo.shape, np.float32) * np.float32(rng.uniform(0.02, 0.2))
            photo, style = (np.clip(p + noise, 0, 1) for p in (photo, style))
        return np.stack([photo, style])


def to_bytes(x: np.ndarray) -> np.ndarray:
    """Pictures in 0..1 in 8 bits."""
    return np.asarray(np.rint(np.clip(x, 0, 1) * 255), np.uint8)


def seen(teacher: LossNetwork, x: np.ndarray) -> dict[str, np.ndarray]:
    """The features of pictures `x` at each level, as the student shall have them."""
    with no_grad():
        return {level: np.asarray(f.data) for level, f in teacher.features(Tensor(x), LEVELS).items()}


def spread_of(teacher: LossNetwork, pictures: Sequence[Pixels]) -> dict[str, float]:
    """The mean squared distance of the teacher's features from their channel's mean, at each level."""
    fs = {level: [features(teacher, p, level) for p in pictures] for level in LEVELS}
    return {level: float(np.mean([x.var(axis=(0, 1)).mean() for x in f])) for level, f in fs.items()}


class Training:
    """The student, the optimizer and the journeys so far: all that a checkpoint holds."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.teacher = loss_network(given.teacher)
        layers = self.teacher.layers[: self.teacher.layers.index(LEVELS[-1]) + 1]
        self.config = config_of(self.teacher, layers)
        (photos, self.test_photos), (styles, self.test_styles) = (
            split(folder) for folder in (given.photos, given.styles)
        )
        self.material = Material(photos, styles, given.seed)
        self.checkpoint = given.output.with_suffix(".training.h5")

        source = Material(photos, styles, given.seed, _SAMPLE_SIZE)
        samples = [p for i in range(_SAMPLES // 2) for p in source.odd(10**7 + i, np.random.default_rng(i))]
        self.spread = spread_of(self.teacher, samples)
        if given.resume and self.checkpoint.exists():
            self.load()
        else:
            start = load_features(given.start).parameters if given.start else None
            arrays = prune(self.teacher, samples, WIDTHS, given.seed, start)
            arrays |= fit_maps(self.teacher, LossNetwork(self.config, arrays), samples)
            self.begin(arrays, step=0, journeys={})

    def begin(self, arrays: Mapping[str, np.ndarray], *, step: int, journeys: dict[int, np.ndarray]) -> None:
        """Start at `step` with these parameters."""
        self.student = Student(self.config, arrays, FROZEN if self.given.start else ())
        # One each: a step is in proportion to the size of what it changes.
        trained = {name: p for name, p in self.student.parameters.items() if p.requires_grad}
        self.adams = {name: Adam({name: p}) for name, p in trained.items()}
        self.step, self.journeys = step, journeys
        # What the teacher sees in the journeys: it is asked once.
        self.aims = {i: self.remembered(x) for i, x in journeys.items()}

    def remembered(self, journey: np.ndarray) -> dict[str, np.ndarray]:
        """The teacher's features of a journey, in 16 bits."""
        found = seen(self.teacher, journey.astype(np.float32) / 255)
        return {level: f.astype(np.float16) for level, f in found.items()}

    def load(self) -> None:
        """Resume from the checkpoint."""
        saved = load_weights(self.checkpoint, "checkpoint")
        journeys = {int(n.split("/")[1]): x for n, x in saved.extras.items() if n.startswith("journey/")}
        self.begin(saved.parameters, step=saved.config["step"], journeys=dict(sorted(journeys.items())))
        for name, adam in self.adams.items():
            adam.t = self.step
            adam.m[name], adam.v[name] = (saved.extras[f"{k}/{name}"].copy() for k in "mv")

    def save(self) -> None:
        """Write the checkpoint."""
        extras = {f"journey/{i}": x for i, x in self.journeys.items()}
        for name, adam in self.adams.items():
            extras |= {f"m/{name}": adam.m[name], f"v/{name}": adam.v[name]}
        config = {"step": self.step}
        save_weights(self.checkpoint, WeightFile("checkpoint", config, self.student.arrays(), "", "", extras))

    def slim(self) -> LossNetwork:
        """The student as a loss network for Gatys' method."""
        return LossNetwork(self.config, {k: v.copy() for k, v in folded(self.student.arrays()).items()})

    def steps(self) -> Iterator[dict[str, float]]:
        """Train; the terms of the loss of each step."""
        given = self.given
        while self.step < given.steps:
            # At first a few, for there to be any choice.
            wanted = 6 + self.step // _JOURNEY_EVERY
            while (following := max(self.journeys, default=-1) + 1) < wanted:
                self.journeys[following] = self.material.journey(following, self.slim())
                self.aims[following] = self.remembered(self.journeys[following])
                self.journeys.pop(following - _JOURNEYS, None)
                self.aims.pop(following - _JOURNEYS, None)
            loss, terms = self.loss()
            loss.backward()
            lr = given.lr * min(1, (self.step + 1) / 100) * (1 + math.cos(math.pi * self.step / given.steps)) / 2
            for name, adam in self.adams.items():
                adam.lr = lr * float(np.sqrt((self.student.parameters[name].data ** 2).mean()))
                adam.step()
            self.step += 1
            yield terms
            if self.step % _CHECKPOINT_EVERY == 0 or self.step == given.steps:
                self.save()

    def loss(self) -> tuple[Tensor, dict[str, float]]:
        """The loss of this step's batch, and its terms."""
        i, stops, odd = self.material.batch(self.step, self.journeys)
        x = np.concatenate([self.journeys[i][stops].astype(np.float32) / 255, odd])
        fresh = seen(self.teacher, odd)
        aims = {level: np.concatenate([f[stops], fresh[level]]) for level, f in self.aims[i].items()}
        return losses(self.student(x), aims, self.spread, [(0, len(stops))])

    def errors(self) -> dict[str, float]:
        """The terms of the loss on pictures kept out, and on journeys with the teacher and with the student."""
        material = Material(self.test_photos, self.test_styles, self.given.seed + 1)
        found = []
        for i in range(self.given.tests):
            journey = material.journey(i, self.slim() if i % 2 else self.teacher).astype(np.float32) / 255
            with no_grad():
                aims = seen(self.teacher, journey)
                found.append(losses(self.student(journey), aims, self.spread, [(0, len(journey))])[1])
        return {name: float(np.mean([terms[name] for terms in found])) for name in found[0]}

    def write(self) -> None:
        """Write the network."""
        write(self.given.output, self.config, folded(self.student.arrays()))


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", required=True, help="VGG-19, as `nanostyle weights convert` writes it")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--styles", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="an earlier slim network, to be widened")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--lr", type=float, default=3e-3, help="the largest step, in parts of a parameter's size")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tests", type=int, default=12, help="journeys to measure the errors on")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--resume", action="store_true")
    given = parser.parse_args()
    set_threads(given.threads)
    start = time.time()
    training = Training(given)
    errors = given.output.with_suffix(".training.json")
    record: list[dict[str, Any]] = json.loads(errors.read_text()) if training.step else []

    def measure() -> None:
        record.append({"step": training.step, "minutes": (time.time() - start) / 60, **training.errors()})
        print(json.dumps({k: round(v, 4) for k, v in record[-1].items()}), flush=True)
        training.write()
        with replacing(errors) as temporary:
            temporary.write_text(json.dumps(record, indent=1))

    if not training.step:
        measure()
    sums: dict[str, float] = {}
    for terms in training.steps():
        for name, term in terms.items():
            sums[name] = sums.get(name, 0) + term / 25
        if training.step % 25 == 0:
            print(
                training.step,
                f"{(time.time() - start) / 60:.1f} min",
                {k: round(v, 4) for k, v in sums.items()},
                flush=True,
            )
            sums = {}
        if training.step % 500 == 0 or training.step == given.steps:
            measure()


if __name__ == "__main__":
    main()
