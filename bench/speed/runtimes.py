"""The transformer network in ONNX Runtime and OpenVINO: what people run such networks with on a processor.

Both get one graph, of the operations that they know best, for pictures of one size, and the settings that are fastest
for one picture at a time. OpenVINO computes in float32, and in a row of its own in bfloat16, with which its results
differ by a hundredth.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec

import numpy as np

import nanostyle
from nanostyle.autograd.ops.norm import EPS
from nanostyle.export.graph import Graph
from nanostyle.export.networks import add_convolution
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nn.module import state

ONNX_RUNTIME, OPENVINO, BF16 = "ONNX Runtime", "OpenVINO", "OpenVINO bf16"
_PACKAGES = {ONNX_RUNTIME: "onnxruntime", OPENVINO: "openvino", BF16: "openvino"}

Rows = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Gamma and beta `(1, C)` of each layer that has them."""


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


def graph_of(net: TransformerNet, H: int, W: int, rows: Rows | None = None) -> bytes:
    """The network as an ONNX file for photos `(1, 3, H, W)`, of sides that 4 divides; `rows` as `net` has them."""
    g, values = Graph(), state(net)
    x, kept = g.input("photo", (1, 3, H, W)), ""
    for layer in net.layers:
        if layer.block == "first":
            kept = x
        x = add_convolution(g, x, layer.name, layer.convolution)
        if layer.convolution.norm is not None:
            own = (values[f"{layer.name}/norm/{part}"] for part in ("gamma", "beta") if rows is None)
            gamma, beta = own if rows is None else rows[layer.name]
            norm = [g.weight(f"{layer.name}/{part}", v.reshape(-1)) for part, v in (("gamma", gamma), ("beta", beta))]
            x = g.op("InstanceNormalization", x, *norm, epsilon=EPS)
        if layer.block == "last":
            x = g.op("Add", x, kept)
        if layer.convolution.relu:
            x = g.op("Relu", x)
    if net.layers[-1].activation == "sigmoid":
        x = g.op("Sigmoid", x, name="picture")
    else:
        x = g.op("Mul", g.op("Add", g.op("Tanh", x), g.constant(1)), g.constant(0.5), name="picture")
    model = g.model("transformer", x, (1, 3, H, W), {"nanostyle": nanostyle.__version__})
    return bytes(model.SerializeToString())
