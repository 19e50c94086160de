"""The types that every room uses."""

from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

# On a GPU the array is a cupy.ndarray, which has the same interface.
Array: TypeAlias = npt.NDArray[Any]

# A number, or on a GPU an array without axes that holds one.
Number: TypeAlias = Array | float

P = ParamSpec("P")
R = TypeVar("R")
Item = TypeVar("Item")

Pixels = npt.NDArray[np.float32]


class PartialStatistics(Protocol):
    """Statistics of the tiles of feature maps, which a back end joins when they are needed."""

    def joined(self) -> tuple[Array, Array]:
        """Mean and variance `(N, C)`."""


# Mean and variance `(N, C)` of every channel of every feature map, or what they are made of.
Statistics: TypeAlias = tuple[Array, Array] | PartialStatistics
