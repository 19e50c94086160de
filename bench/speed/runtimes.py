"""ONNX Runtime and OpenVINO, as they are fastest for one picture at a time.

OpenVINO computes in float32, and in a row of its own in bfloat16, with which results differ by a hundredth. This file
imports nothing of nanostyle: a plain loop around a runtime would not either.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

import numpy as np

ONNX_RUNTIME, OPENVINO, BF16 = "ONNX Runtime", "OpenVINO", "OpenVINO bf16"
_PACKAGES = {ONNX_RUNTIME: "onnxruntime", OPENVINO: "openvino", BF16: "openvino"}


def installed() -> tuple[str, ...]:
    """Those of the three that can be had here."""
    return tuple(name for name, package in _PACKAGES.items() if find_spec(package) and find_spec("onnx"))


def versions() -> dict[str, str]:
    """The version of each package that is installed."""
    packages = {_PACKAGES[name] for name in installed()}
    return {name: str(import_module(name).__version__) for name in sorted(packages)}


def loaded(name: str, model: bytes, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """From a photo `(1, 3, H, W)` to the picture, by `model` in the runtime of that name, on so many threads."""
    if name == ONNX_RUNTIME:
        onnxruntime = import_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return lambda photo: np.asarray(session.run(None, {"photo": photo})[0])
    openvino = import_module("openvino")
    core = openvino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "bf16" if name == BF16 else "f32",
    }
    request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
    return lambda photo: np.asarray(request.infer({"photo": photo})["picture"])
