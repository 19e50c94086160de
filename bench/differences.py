"""In what two files differ: the dataset, the attribute, the entry of a recipe, the pixels, the line of text."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

# How long a step took, in the report of a training.
SECONDS = re.compile(r"[\d.e+-]+ seconds per step")


def compare_files(old: Path, new: Path) -> list[str]:
    """The parts in which two files differ, as "part: how"; none where they have the same bytes."""
    if old.read_bytes() == new.read_bytes():
        return []
    differences = unequal(parts(old), parts(new))
    timed = old.suffix in (".jsonl", ".html")
    return differences or ([] if timed else ["bytes: the same contents, laid out differently"])


def unequal(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The names under which two mappings hold different things, and how these differ."""
    found = [f"{name}: in {'old' if name in old else 'new'} alone" for name in sorted(old.keys() ^ new.keys())]
    for name in sorted(old.keys() & new.keys()):
        a, b = old[name], new[name]
        if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
            if a != b:
                found.append(f"{name}: {short(a)} became {short(b)}")
        elif a.shape != b.shape or a.dtype != b.dtype:
            found.append(f"{name}: {a.shape} {a.dtype} became {b.shape} {b.dtype}")
        elif a.tobytes() != b.tobytes():
            apart = np.abs(a.astype(np.float64) - b.astype(np.float64)) if a.dtype.kind in "biuf" else a != b
            found.append(f"{name}: {np.count_nonzero(a != b)} of {a.size} numbers, by at most {apart.max():.3g}")
    return found


def parts(path: Path) -> dict[str, Any]:
    """A file taken apart: names to arrays, numbers and text."""
    if path.suffix == ".h5":
        return hdf5_parts(path)
    if path.suffix in (".png", ".jpg", ".webp"):
        with Image.open(path) as image:
            found = {name: value for name, value in image.info.items() if name != "exif"}
            found.update({f"exif {tag}": value for tag, value in image.getexif().items()})
            texts = {f"{name}{key}": v for name, value in found.items() for key, v in flat(recipe_of(value))}
            return {"pixels": np.asarray(image), **texts}
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".json":
        return dict(flat(text))
    if path.suffix == ".jsonl":
        whole = {f"line {i}{k}": v for i, line in enumerate(text.splitlines(), 1) for k, v in flat(line)}
        return {name: value for name, value in whole.items() if not name.endswith(".seconds")}
    return lines(SECONDS.sub("seconds per step", text))


def recipe_of(value: Any) -> Any:
    """The JSON in a comment `nanostyle {...}`; anything else as it is."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return text.removeprefix("nanostyle ") if isinstance(text, str) and text.startswith("nanostyle {") else value


def lines(text: str) -> dict[str, str]:
    """The lines of a text by their numbers."""
    return {f"line {i}": line for i, line in enumerate(text.splitlines(), 1)}


def hdf5_parts(path: Path) -> dict[str, Any]:
    """All datasets and attributes; JSON in an attribute is taken apart too."""
    found: dict[str, Any] = {}

    def keep(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = np.asarray(item[()])
        for key, value in item.attrs.items():
            value = value.decode() if isinstance(value, bytes) else value
            found.update({f"{name}@{key}{inner}": v for inner, v in flat(value)})

    with h5py.File(path, "r") as file:
        keep("", file)
        file.visititems(keep)
    return found


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested dicts and lists, each with its path; text that is JSON counts as what it says."""
    if isinstance(value, (str, bytes)) and not name:
        try:
            value = json.loads(value)
        except ValueError:
            yield "", value
            return
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}")
    elif isinstance(value, list) and value:
        for i, inner in enumerate(value):
            yield from flat(inner, f"{name}.{i}")
    else:
        yield name, value


def short(value: Any) -> str:
    """The value in one line that is not too long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
