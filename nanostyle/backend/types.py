"""The types that every room uses."""

from typing import Any, ParamSpec, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

# On a GPU the array is a cupy.ndarray, which has the same interface.
Array: TypeAlias = npt.NDArray[Any]

P = ParamSpec("P")
R = TypeVar("R")
Item = TypeVar("Item")

Pixels = npt.NDArray[np.float32]
