"""An array in a file of another program, and the formats that are read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

KNOWN = (
    ".pth (torch), .safetensors, .onnx, .pb and .tflite (TensorFlow), .npz (NumPy), .h5 (Keras), manifest.json (raw"
    " float32)"
)


@dataclass(frozen=True)
class Entry:
    """An array in a file: its shape and type are known, its numbers are read when `read()` is called."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[], np.ndarray]
