"""A map of styles: which lie close to one another, to a trained network."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nanostyle.backend.device import to_host
from nanostyle.backend.types import Pixels
from nanostyle.io.contact_sheet import scatter
from nanostyle.io.image_read import decode_image
from nanostyle.models.multistyle import Model
from nanostyle.models.style import Style
from nanostyle.nn.module import is_style_parameter, parameters

Vectors = npt.NDArray[np.floating]


CELL = 112
"""The long side of a thumbnail on a map, in pixels."""


@dataclass(frozen=True)
class StyleMap:
    """Where each of n styles lies.

    Attributes
    ----------
    names : list of str
        As given.
    positions : array
        `(n, 2)`: the two directions in which the styles differ most, in the units of their vectors.
    share : float
        How much of all the variance these two hold, 0 to 1.
    distances : array
        `(n, n)`: those between the whole vectors.
    """

    names: list[str]
    positions: npt.NDArray[np.float64]
    share: float
    distances: npt.NDArray[np.float64]

    def nearest(self, index: int, count: int = 3) -> list[tuple[str, float]]:
        """The `count` styles nearest to the one at `index`, the nearest first, with their distances."""
        order = [i for i in np.argsort(self.distances[index], kind="stable") if i != index]
        return [(self.names[i], float(self.distances[index, i])) for i in order[:count]]

    def kinship(self, groups: Sequence[str]) -> float:
        """Mean distance between styles of one group over the mean distance between those of different groups.

        `groups` says for each style to which it belongs, as a painter's name; below 1, works of one painter lie nearer
        to each other than to the rest.

        Raises
        ------
        ValueError
            No two styles are of one group, or none of different ones.
        """
        labels = np.array(groups)
        pairs = np.triu(np.ones(self.distances.shape, bool), k=1)
        same = labels[:, None] == labels
        if not (pairs & same).any() or not (pairs & ~same).any():
            raise ValueError("style map: expected two styles of one group and two of different ones")
        return float(self.distances[pairs & same].mean() / self.distances[pairs & ~same].mean())

    def draw(self, pictures: Sequence[Pixels | None], *, cell: int = CELL, side: int | None = None) -> Pixels:
        """The map as a picture: thumbnails where the styles lie. Raises as `sheet.scatter` does.

        Without a `side` it is as large as so many thumbnails need to part.
        """
        side = side or max(1200, round(1.2 * cell * (2.5 * len(pictures)) ** 0.5))
        return scatter(pictures, self.positions, captions=self.names, cell=cell, side=side)


def style_map(vectors: Vectors, names: Sequence[str]) -> StyleMap:
    """The map of n styles by their `vectors` `(n, D)`, embeddings or rows of gamma and beta: the principal components.

    Raises
    ------
    ValueError
        There is no vector, or not one name for each, or one holds NaN or infinity.
    """
    n = len(vectors)
    if n == 0 or len(names) != n or vectors.ndim != 2:
        raise ValueError(f"style map: expected vectors (n, D) and n names, got {vectors.shape} and {len(names)} names")
    if not np.isfinite(vectors).all():
        raise ValueError("style map: a vector holds NaN or infinity")
    centered = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    u, s, v = np.linalg.svd(centered, full_matrices=False)
    # A component is known up to its sign: the largest of its coefficients is made positive, so that maps repeat.
    signs = np.sign(v[np.arange(len(v)), np.abs(v).argmax(axis=1)])
    positions = np.zeros((n, 2))
    positions[:, : min(2, len(s))] = (u * s * signs)[:, :2]
    variance = float((s * s).sum())
    share = float((s[:2] ** 2).sum()) / variance if variance > 0 else 1.0
    distances = np.array([np.linalg.norm(centered - row, axis=1) for row in centered])
    return StyleMap(list(names), positions, share, distances)


def predicted_vectors(styles: Sequence[Style]) -> Vectors:
    """Embeddings `(n, 100)` that a prediction network gave."""
    return np.stack([style.embedding for style in styles])


def row_vectors(model: Model) -> tuple[Vectors, list[str], list[Pixels | None]]:
    """The paintings of a model of many styles: gammas and betas `(S, 3206)`, names, thumbnails.

    Raises
    ------
    ValueError
        The model has one style only.
    """
    if model.net.config["norm"] != "conditional":
        raise ValueError("style map: this is a model of one style; expected one of several, or a prediction network")
    names = model.paintings
    values = [to_host(p.data) for name, p in parameters(model.net).items() if is_style_parameter(name)]
    rows = np.concatenate(values, axis=1)[[model.row(name) for name in names]]
    thumbnails = [
        decode_image(model.thumbnails[name], name=f"the thumbnail of {name}") if name in model.thumbnails else None
        for name in names
    ]
    return rows, names, thumbnails
