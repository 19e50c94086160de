"""Compare an exported file's result with the model's, where ONNX Runtime is installed."""

import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np

from nanostyle.errors import NanostyleError

if TYPE_CHECKING:
    from onnx import ModelProto

# Of a picture from 0 to 1; weights in float16 move it by more.
TOLERANCE = {"float32": 0.1 / 255, "float16": 2 / 255}


def compare(model: "ModelProto", inputs: dict[str, np.ndarray], ours: np.ndarray, tolerance: float) -> None:
    """Run `model` on `inputs` and compare its one result with `ours`; nothing happens without ONNX Runtime.

    Raises
    ------
    NanostyleError
        They differ by more than `tolerance`.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        return
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session: Any = onnxruntime.InferenceSession(
        model.SerializeToString(deterministic=True), options, providers=["CPUExecutionProvider"]
    )
    difference = float(np.abs(session.run(None, inputs)[0] - ours).max())
    if not difference <= tolerance:
        raise NanostyleError(
            f"export: expected the model's result to {tolerance:.2g}, the file's differs by {difference:.2g}",
            hint="please report this with the model; without {check} the file is written all the same",
        )
