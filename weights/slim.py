"""The slim network that stands in for VGG-19: what `distill.py` and `deepen.py` share.

Features at `LEVELS`, times a linear map for each, shall equal VGG-19's, and so shall Gram matrices and their distances
from the style's. The file holds a root of each map, by which features measure the same.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nanostyle.autograd.ops import conv2d, gram, matmul, reshape, squared_distance
from nanostyle.autograd.tensor import Tensor
from nanostyle.io.pictures import find_pictures
from nanostyle.io.weights import WeightFile, save_weights
from nanostyle.nets.vgg import STYLE_LAYERS, LossNetwork
from nanostyle.nets.vgg_config import check_features
from nanostyle.nn.losses import style_loss

CONTENT_LEVEL = "relu4_2"
LEVELS = (*STYLE_LAYERS[:4], CONTENT_LEVEL, STYLE_LAYERS[4])

_KEPT_OUT = 24  # photos and styles that no training sees


def least_squares(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """The `X` of least |A X - B|², regularized a little where the data say nothing."""
    A = A.astype(np.float64)
    size = np.sqrt((A**2).mean(axis=0)) + 1e-12
    A = A / size
    solution: np.ndarray = np.linalg.solve(A.T @ A + 1e-4 * len(A) * np.eye(A.shape[1]), A.T @ B) / size[:, None]
    return solution


def predicted(features: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The teacher's features: those of the slim network times the map of each level."""
    maps = {level: parameters[f"{level}/map"] for level in features}
    return {level: conv2d(f, reshape(maps[level], shape=(1, 1, *maps[level].shape))) for level, f in features.items()}


def folded(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The parameters of the file: each map M (C, M) as a square one (C, C) by which features measure the same."""
    out = dict(arrays)
    for level in LEVELS:
        U, s, _ = np.linalg.svd(arrays[f"{level}/map"].astype(np.float64), full_matrices=False)
        out[f"{level}/map"] = (U * s).astype(np.float32)
    return out


def convolutions(layers: Sequence[str]) -> list[str]:
    """The convolutions among `layers`."""
    return [name for name in layers if name.startswith("conv")]


def config_of(teacher: LossNetwork, layers: Sequence[str]) -> dict[str, Any]:
    """The config of a network with the teacher's padding and pooling, for pictures in 0..1."""
    preprocess = {"order": "RGB", "scale": 1.0, "mean": [float(x) for x in teacher.mean], "std": [1.0, 1.0, 1.0]}
    return {
        "architecture": "slim VGG-19",
        "layers": list(layers),
        "padding": teacher.padding,
        "pooling": teacher.pooling,
        "preprocess": preprocess,
    }


def losses(
    guess: Mapping[str, Tensor],
    aims: Mapping[str, np.ndarray],
    spread: Mapping[str, float],
    journeys: Sequence[tuple[int, int]] = (),
) -> tuple[Tensor, dict[str, float]]:
    """The loss of a batch, and its terms, `kind level`.

    Each of `journeys` says where its pictures begin, the painting first, and where they end.
    """
    N = len(next(iter(aims.values())))
    # How far each stop of a journey is from the painting. Near the end of a journey that is little, and counts no less.
    away = differences_of(journeys, N)
    terms: dict[str, Tensor] = {}
    for level, f in guess.items():
        aim = aims[level]
        weight = np.full(N, 1 / (aim.size * spread[level]), np.float32)
        terms[f"feature {level}"] = squared_distance(f, aim, weight=weight)
        if level == CONTENT_LEVEL:
            continue
        G, A = gram(f), gram(Tensor(aim)).data
        terms[f"gram {level}"] = style_loss(G, A)
        if not len(away):
            continue
        flat = A.reshape(N, -1)
        differences = away @ flat
        painting = np.concatenate([np.full(end - begin - 1, flat[begin] @ flat[begin]) for begin, end in journeys])
        norm = (differences**2).sum(axis=1) + 0.01 * painting
        weight = (1 / (len(away) * norm)).astype(np.float32)
        found = matmul(away, reshape(G, shape=flat.shape))
        terms[f"change {level}"] = squared_distance(found, differences, weight=weight)
    total, *others = terms.values()
    for term in others:
        total = total + term
    return total, {name: term.item() for name, term in terms.items()}


def differences_of(journeys: Sequence[tuple[int, int]], N: int) -> np.ndarray:
    """The matrix that takes, of N pictures, the difference of each stop of a journey from its painting."""
    rows = [(stop, begin) for begin, end in journeys for stop in range(begin + 1, end)]
    away = np.zeros((len(rows), N), np.float32)
    for row, (stop, painting) in zip(away, rows, strict=True):
        row[stop], row[painting] = 1, -1
    return away


def split(folder: Path) -> tuple[list[Path], list[Path]]:
    """The pictures of a folder to train with, and those kept out: the same in all runs, as one goes on from another."""
    files = find_pictures(folder)
    order = np.random.default_rng(0).permutation(len(files))
    return [files[i] for i in order[_KEPT_OUT:]], [files[i] for i in order[:_KEPT_OUT]]


def write(path: Path, config: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write the network; `arrays` are folded."""
    source = "distilled from VGG-19 (Simonyan & Zisserman 2015) by nanostyle; see weights/README.md"
    weights = WeightFile("features", config, dict(arrays), source, "CC-BY-4.0")
    check_features(weights.config, weights.parameters)
    save_weights(path, weights, storage="kmeans8")
