"""From an ONNX file that `export` wrote back to the model: the same weights, to the bit where they are float32."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nanostyle.errors import with_hint
from nanostyle.export.onnx import ExportOptions, companion, onnx_models
from nanostyle.io.foreign.arrays import open_arrays
from nanostyle.io.foreign.entry import Entry
from nanostyle.io.foreign.onnx import OnnxFile
from nanostyle.io.untrusted import reading
from nanostyle.io.weights import Storage, WeightFile
from nanostyle.models.multistyle import Model, load_multistyle
from nanostyle.models.predictor import Predictor, load_predictor

_FACTS = {"nanostyle", "kind", "config", "recipe", "source", "license", "layout", "storage", "style"}


def restored_model(path: str | os.PathLike[str]) -> Model | Predictor | None:
    """The model in an ONNX file of ours; None if `path` is anything else.

    The file's graph must be the one that `export` writes for these weights, byte for byte. Of a model for any painting,
    `STEM.style.onnx` is read as well.

    Raises
    ------
    FileNotFoundError, OSError
        There is no such file, or it cannot be read.
    ValueError
        It is damaged, or its graph is another one.
    NanostyleError
        The package onnx is not installed.
    """
    path = Path(path)
    if path.suffix == ".whl":
        return None
    with open_arrays(path) as entries:
        if not isinstance(entries, OnnxFile) or not entries.facts.keys() >= _FACTS:
            return None
        facts = entries.facts
        if path.suffixes[-2:] == [".style", ".onnx"]:
            raise ValueError("it is the second file of a model for any painting; give the first")
        weights = _weights(facts, entries)
    if facts["kind"] == "predictor":
        with open_arrays(companion(path)) as more:
            weights.parameters.update(_weights(facts, more).parameters)
    load = load_predictor if facts["kind"] == "predictor" else load_multistyle
    model = load(path, file=weights)
    _check_graph(path, model, facts)
    storage: Storage = "float16" if facts["storage"] == "float16" else "float32"
    return replace(model, storage=storage, path=None)


def _weights(facts: Mapping[str, str], entries: Mapping[str, Entry]) -> WeightFile:
    """What the model's own file holds, as far as `entries` have it. Names of parameters have a stroke."""
    config, recipe = json.loads(facts["config"]), json.loads(facts["recipe"])
    if (
        facts["kind"] not in ("transformer", "predictor")
        or not isinstance(config, dict)
        or not isinstance(recipe, dict)
    ):
        raise ValueError("its metadata are not those of a model")
    config["recipe"] = recipe
    network = config["network"]
    transformer = network.get("transformer", network)
    enlarging = ("up1/weight", "up2/weight") if transformer["upsample"] == "fractional" else ()
    parameters = {}
    for name, entry in entries.items():
        if "/" in name:
            array = entry.read().astype(np.float32)
            if array.ndim == 4:
                array = array.transpose((2, 3, 0, 1) if name.endswith(enlarging) else (2, 3, 1, 0))
                array = array[:, :, 0] if name.endswith("/depthwise/weight") else array
            parameters[name] = np.ascontiguousarray(array)
    if transformer["arch"] == "johnson":  # biases that a norm takes out again are not in the graph
        for name in [name for name in parameters if name.endswith("/weight")]:
            parameters.setdefault(name[:-6] + "bias", np.zeros(parameters[name].shape[-1], np.float32))
    return WeightFile(facts["kind"], config, parameters, facts["source"], facts["license"])


def _check_graph(path: Path, model: Model | Predictor, facts: dict[str, str]) -> None:
    """Whether the file is what `export` writes for this model."""
    files = [path, companion(path)] if isinstance(model, Predictor) else [path]
    options: dict[str, Any] = {key: facts[key] for key in ("layout", "storage", "style")}
    with reading(path):
        if facts["style"] and facts["style"] not in model.styles:
            raise ValueError("its metadata name a style that it has not")
        made = onnx_models(model, ExportOptions(**options), facts)
    for file, expected in zip(files, made, strict=True):
        if file.read_bytes() != expected.SerializeToString(deterministic=True):
            error = ValueError(f"cannot read {file}: its graph is not the one that nanostyle writes for its weights")
            raise with_hint(error, f"convert it with the version that wrote it, {facts['nanostyle'][:40]}")
