"""Train the deep layers of a slim VGG-19 alone: what `distill.py` leaves short of relu5_1.

    python -m weights.deepen --start slim.h5 --teacher vgg19.h5 --photos DIR --styles DIR -o loss.h5

A crop of 112 pixels has 49 places at relu5_1, so a step of `distill.py` sees few of them. Here the layers up to pool3
stay as they are. They and the teacher look at each picture once, and a step takes what they saw of many pictures:

1. *crops* of photos and paintings alone, for features and Gram matrices;
2. *journeys* besides, as in `distill.py`: what Gatys' method makes of a photo with the network as it is then.

conv4_3 and conv4_4 are widened to `WIDTHS`; conv5_1 sees their new channels. The same arguments give the same file.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nanostyle.autograd.ops import conv2d, max_pool
from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.backend.threads import set_threads
from nanostyle.io.atomic import replacing
from nanostyle.models.loss_network import load_features, loss_network
from nanostyle.nets.vgg import LossNetwork
from nanostyle.optim.adam import Adam
from weights.distill import Material
from weights.slim import CONTENT_LEVEL, config_of, folded, least_squares, losses, predicted, split, write

TRUNK = "pool3"
"""The layer up to which nothing changes."""

TRAINED = ("conv4_1", "conv4_2", "conv4_3", "conv4_4", "conv5_1")
LEVELS = ("relu4_1", CONTENT_LEVEL, "relu5_1")

WIDTHS = {"conv4_3": 192, "conv4_4": 192}
"""Channels that there are in the end."""

SIZE = 128
_BATCH = 16  # crops in a step; half of them, and two journeys, in the second part
_REMEMBERED = 40  # journeys
_JOURNEY_EVERY = 8  # steps
_FIRST = 4  # journeys at the beginning of the second part
_FITTED = 300  # crops that the maps are fitted to at first
_WARM = 50  # steps until the rate is whole

# Where in the streams of `Material` the crops begin, far from those of the journeys; and what is drawn for a step.
_CROPS, _STEP = 5 * 10**6, 99


class Seen(NamedTuple):
    """What the trunk and the teacher saw of N pictures, in 16 bits."""

    pooled: np.ndarray
    aims: dict[str, np.ndarray]

    def some(self, which: np.ndarray) -> "Seen":
        """That of some of the pictures."""
        return Seen(self.pooled[which], {level: f[which] for level, f in self.aims.items()})

    def whole(self) -> dict[str, np.ndarray]:
        """The teacher's features in 32 bits."""
        return {level: f.astype(np.float32) for level, f in self.aims.items()}


def joined(parts: Sequence[Seen]) -> Seen:
    """That of all pictures of several sets."""
    aims = {level: np.concatenate([part.aims[level] for part in parts]) for level in LEVELS}
    return Seen(np.concatenate([part.pooled for part in parts]), aims)


class Tail:
    """The trained layers, and a linear map per level from their features to the teacher's."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        names = [f"{name}/{kind}" for name in TRAINED for kind in ("weight", "bias")]
        self.parameters = {name: Tensor(np.array(arrays[name], np.float32), requires_grad=True) for name in names}

    def features(self, pooled: np.ndarray) -> dict[str, Tensor]:
        """The features at each level, from those of the trunk."""
        x, found = Tensor(pooled.astype(np.float32)), {}
        for name in TRAINED:
            x = conv2d(x, *(self.parameters[f"{name}/{kind}"] for kind in ("weight", "bias")), pad=1, relu=True)
            if name == "conv4_4":
                x = max_pool(x)
            if (level := name.replace("conv", "relu")) in LEVELS:
                found[level] = x
        return found

    def fit(self, seen: Seen) -> None:
        """The maps with the least squared error."""
        with no_grad():
            found = self.features(seen.pooled)
        for level, f in found.items():
            flat = f.data.reshape(-1, f.shape[3])
            matrix = least_squares(flat, seen.aims[level].reshape(len(flat), -1).astype(np.float32))
            self.parameters[f"{level}/map"] = Tensor(matrix.astype(np.float32), requires_grad=True)

    def __call__(self, pooled: np.ndarray) -> dict[str, Tensor]:
        """The teacher's features as predicted at each level."""
        return predicted(self.features(pooled), self.parameters)

    def arrays(self) -> dict[str, np.ndarray]:
        """All parameters as they are now."""
        return {name: p.data.copy() for name, p in self.parameters.items()}


def widened(arrays: Mapping[str, np.ndarray], widths: Mapping[str, int] = WIDTHS) -> dict[str, np.ndarray]:
    """The network with more channels in some layers. The new ones are random, and count little at first."""
    rng = np.random.default_rng(1)
    made, C = dict(arrays), arrays[f"{TRAINED[0]}/weight"].shape[2]
    for name in TRAINED:
        old, bias = arrays[f"{name}/weight"], arrays[f"{name}/bias"]
        M = max(widths.get(name, 0), len(bias))
        if old.shape[2:] != (C, M):
            w = (rng.standard_normal((3, 3, C, M)) * np.sqrt((old**2).mean())).astype(np.float32)
            w[:, :, old.shape[2] :] *= 1.0 if name in widths else 0.3
            w[:, :, : old.shape[2], : old.shape[3]] = old
            made[f"{name}/weight"], made[f"{name}/bias"] = w, np.pad(bias, (0, M - len(bias)))
        C = M
    return made


class Training:
    """The tail, what was seen, and the journeys so far."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.teacher = loss_network(given.teacher)
        layers = self.teacher.layers[: self.teacher.layers.index(LEVELS[-1]) + 1]
        self.config = config_of(self.teacher, layers)
        self.start = widened(load_features(given.start).parameters)
        plain = {name: x for name, x in self.start.items() if not name.endswith("/map")}
        self.trunk = LossNetwork(config_of(self.teacher, layers[: layers.index(TRUNK) + 1]), plain)
        (photos, others), (styles, unseen) = (split(folder) for folder in (given.photos, given.styles))
        self.material = Material(photos, styles, given.seed, SIZE)
        kept_out = Material(others, unseen, given.seed + 1, SIZE)
        self.crops = joined([self.look(self.material.odd(_CROPS + i, _rng(i, 7))) for i in range(given.crops // 2)])
        self.tests = joined([self.look(kept_out.odd(i, _rng(i))) for i in range(12)])
        some = self.crops.some(np.arange(min(len(self.crops.pooled), _FITTED)))
        self.spread = {level: float(f.var(axis=(1, 2)).mean()) for level, f in some.whole().items()}
        self.tail = Tail(self.start)
        self.tail.fit(some)
        self.adams = {name: Adam({name: p}) for name, p in self.tail.parameters.items()}
        self.journeys: dict[int, Seen] = {}

    def look(self, x: np.ndarray) -> Seen:
        """Look at pictures `x (N, H, W, 3)`."""
        with no_grad():
            pooled = self.trunk.features(Tensor(x), [TRUNK])[TRUNK].data
            aims = self.teacher.features(Tensor(x), LEVELS)
        return Seen(pooled.astype(np.float16), {level: f.data.astype(np.float16) for level, f in aims.items()})

    def arrays(self) -> dict[str, np.ndarray]:
        """The parameters of the file as they are now."""
        return folded({**self.start, **self.tail.arrays()})

    def batch(self, step: int) -> tuple[Seen, list[tuple[int, int]]]:
        """What a step sees: crops; in the second part also two journeys, and where each begins and ends."""
        rng = _rng(self.given.seed, step, _STEP)
        parts: list[Seen] = []
        places: list[tuple[int, int]] = []
        if self.journeys:
            for _ in range(2):
                parts.append(self.journeys[list(self.journeys)[int(rng.integers(len(self.journeys)))]])
                begin = places[-1][1] if places else 0
                places.append((begin, begin + len(parts[-1].pooled)))
        count = _BATCH // 2 if self.journeys else _BATCH
        parts.append(self.crops.some(np.sort(rng.choice(len(self.crops.pooled), count, replace=False))))
        return joined(parts), places

    def travel(self, wanted: int) -> None:
        """Make the journeys up to number `wanted`; the oldest are forgotten."""
        while (i := max(self.journeys, default=-1) + 1) < wanted:
            network = LossNetwork(self.config, self.arrays())
            self.journeys[i] = self.look(self.material.journey(i, network).astype(np.float32) / 255)
            self.journeys.pop(i - _REMEMBERED, None)

    def steps(self) -> Iterator[dict[str, float]]:
        """Train; the terms of the loss of each step."""
        first, second = self.given.steps
        for step in range(first + second):
            if step >= first:
                self.travel(_FIRST + (step - first) // _JOURNEY_EVERY)
            seen, places = self.batch(step)
            loss, terms = losses(self.tail(seen.pooled), seen.whole(), self.spread, places)
            loss.backward()
            rate = self.given.lr * min(1, (step + 1) / _WARM) * (1 + math.cos(math.pi * step / (first + second))) / 2
            for name, adam in self.adams.items():
                adam.lr = rate * float(np.sqrt((self.tail.parameters[name].data ** 2).mean()))
                adam.step()
            yield terms

    def errors(self) -> dict[str, float]:
        """The terms of the loss on pictures kept out."""
        with no_grad():
            return losses(self.tail(self.tests.pooled), self.tests.whole(), self.spread)[1]

    def write(self) -> None:
        """Write the network."""
        write(self.given.output, self.config, self.arrays())


def _rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(list(seed))


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", type=Path, required=True, help="a network that `distill.py` has made")
    parser.add_argument("--teacher", required=True, help="VGG-19, as `nanostyle weights convert` writes it")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--styles", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--crops", type=int, default=1600, help="crops that are looked at")
    parser.add_argument("--steps", type=int, nargs=2, default=(500, 1800), help="with crops alone, and with journeys")
    parser.add_argument("--lr", type=float, default=5e-3, help="the largest step, in parts of a parameter's size")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    set_threads(given.threads)
    begun, training = time.time(), Training(given)
    record: list[dict[str, Any]] = []
    for step, terms in enumerate(training.steps(), 1):
        if step % 250 and step != sum(given.steps):
            continue
        record.append({"step": step, "minutes": (time.time() - begun) / 60, "loss": terms, "test": training.errors()})
        print(json.dumps(record[-1]), flush=True)
        training.write()
        with replacing(given.output.with_suffix(".training.json")) as temporary:
            temporary.write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
