"""docs/format.md says what the files hold: each kind is written by the program and compared with the page's tables."""

import json
import os
import re
import subprocess
import sys

import h5py
import pytest

from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "format.md").read_text()
KINDS = re.findall(r"^### `(\w+)`$", PAGE, re.MULTILINE)
PICTURES = ROOT / "docs" / "pictures"
PHOTO, PAINTING = PICTURES / "photo.jpg", PICTURES / "painting.jpg"
TRAIN = ["--steps", "1", "--size", "32", "--batch", "1", "--width", "0.125"]


def rows(text, head):
    """First cell -> the other cells, of the rows of each table in `text` whose first heading is `head`."""
    found = {}
    for table in re.findall(rf"^\| {head} \|.*\n\|[ |-]+\n((?:\|.*\n)+)", text, re.MULTILINE):
        for line in table.splitlines():
            first, *rest = (cell.strip() for cell in line.strip("|").split("|"))
            found[first.strip("`")] = rest
    return found


def section(kind):
    return re.split(r"^##", PAGE.partition(f"### `{kind}`\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def pattern(name):
    """A dataset of the page as a pattern: words in capitals stand for one or more parts of a path."""
    return re.compile(re.sub(r"[A-Z]+", r"[a-z0-9_]+(/[a-z0-9_]+)*", name))


def described(config, keys):
    """The keys of `config`, those within an object with a dot where the page goes into that object."""
    inside = {key.partition(".")[0] for key in keys if "." in key}
    return {
        f"{key}.{part}" if part else key for key, value in config.items() for part in (value if key in inside else [""])
    }


def contents(path):
    """Attributes, config, and datasets by name."""
    with h5py.File(path) as file:
        attributes = {name: file.attrs.get_id(name).dtype for name in file.attrs}
        config = json.loads(file.attrs["config"].decode())
        datasets = {}
        file.visititems(lambda name, item: datasets.update({name: item} if isinstance(item, h5py.Dataset) else {}))
        found = {name: (item.shape, str(item.dtype), dict(item.attrs)) for name, item in datasets.items()}
        return attributes, file.attrs["kind"].decode(), config, found


def nanostyle(*words):
    command = [sys.executable, "-m", "nanostyle", *map(str, words), "--quiet"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NANOSTYLE_")} | {"NANOSTYLE_THREADS": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files of every kind: those that ship, and small ones that the program writes here."""
    folder = tmp_path_factory.mktemp("files")
    nanostyle(
        "stylize",
        PHOTO,
        "--style-image",
        PAINTING,
        "--size",
        32,
        "--save-style",
        folder / "style.h5",
        "-o",
        folder / "x.png",
    )
    for name, words in {
        "johnson": ["--mode", "feedforward", "--styles", PAINTING, "--norm", "batch", "--ema", 0.9],
        "dumoulin": ["--mode", "cin", "--styles", PAINTING, "--storage", "uint8"],
        "ghiasi": ["--mode", "predict", "--styles", PICTURES, "--backbone", "conv", "--storage", "kmeans8"],
    }.items():
        nanostyle("train", "--content", PICTURES, *TRAIN, *words, "-o", folder / f"{name}.h5")
    paths = [*sorted((ROOT / "weights" / "builtin").glob("*.h5")), *sorted(folder.rglob("*.h5"))]
    return {path: contents(path) for path in paths}


def test_every_kind_is_written_and_described(files):
    assert {kind for _, kind, _, _ in files.values()} == set(KINDS)


def test_root_attributes(files):
    table = rows(PAGE, "attribute")
    for path, (attributes, *_) in files.items():
        assert set(attributes) == set(table), path
        for name, dtype in attributes.items():
            assert {"S": "text", "i": "whole number"}[dtype.kind] == table[name][0], (path, name)


def test_the_config_has_the_keys_of_the_page(files):
    for path, (_, kind, config, _) in files.items():
        table = rows(section(kind), "config")
        keys = described(config, table)
        assert keys <= set(table), path
        assert {key for key, (text,) in table.items() if "(optional)" not in text} <= keys, path


def test_the_datasets_are_those_of_the_page(files):
    met = set()
    for path, (_, kind, _, datasets) in files.items():
        table = rows(section(kind), "dataset")
        for name, (shape, _, _) in datasets.items():
            fits = [key for key in table if pattern(key).fullmatch(name)]
            # A checkpoint's NAME fits everything; what is below extras/ has rows of its own.
            fits = [key for key in fits if key.startswith("extras/") == name.startswith("extras/")]
            assert fits, f"{path}: the page does not name {name}"
            met |= {(kind, key) for key in fits}
            shapes = re.findall(r"\(([^)]*)\)", " ".join(table[key][0] for key in fits))
            ranks = {len([part for part in letters.split(",") if part.strip()]) for letters in shapes}
            assert not shapes or len(shape) in ranks, (path, name)
    assert met == {(kind, key) for kind in KINDS for key in rows(section(kind), "dataset")}


def test_storages(files):
    table = rows(PAGE, "storage")
    seen = set()
    for path, (_, _kind, config, datasets) in files.items():
        storage = config.get("storage", "kmeans8" if path.name == "loss.h5" else "float32")
        seen.add(storage)
        assert storage in table
        for name, (shape, dtype, attributes) in datasets.items():
            if name.startswith("extras/"):
                continue
            in_8_bits = storage in ("uint8", "kmeans8")
            packed = in_8_bits and name.endswith(("/weight", "/map") if storage == "kmeans8" else "/weight")
            assert dtype == ("uint8" if packed else "float32" if in_8_bits else storage), (path, name)
            names = {"scale", "offset"} if storage == "uint8" else {"table"}
            assert set(attributes) == (names if packed else set()), (path, name)
            sides = shape[-1:] if storage == "uint8" else (256,)
            assert all(v.shape == sides and v.dtype == "float32" for v in attributes.values())
    assert seen == set(table)


def test_the_dump_is_what_the_program_of_the_page_prints():
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    name, shown = re.search(r"For `([^`]+)` it prints:\n\n```text\n(.*?)```", PAGE, re.DOTALL).groups()
    result = subprocess.run([sys.executable, "-c", program, ROOT / name], capture_output=True, text=True, check=True)
    assert result.stdout == shown


def test_a_difference_is_seen():
    """The comparisons above are no formality: names and keys that the page lacks do not pass."""
    table = rows(section("features"), "dataset")
    assert not any(pattern(key).fullmatch("conv1_1/gamma") for key in table)
    assert pattern("LAYER/weight").fullmatch("residual1/conv1/weight")
    assert described({"preprocess": {"gain": 1}, "x": {"y": 1}}, ["preprocess.order"]) == {"preprocess.gain", "x"}
