"""What the pages name exists: links, paths of this repository, and modules that run from it."""

import importlib.util
import re

import pytest

from tests.support.paths import ROOT

PAGES = sorted(p for p in [*ROOT.glob("*.md"), *ROOT.glob("[!.]*/**/*.md")] if p.parts[len(ROOT.parts)] != "runs")
PLACEHOLDER = re.compile("NAME|NNN-TITLE")
FOLDERS = "nanostyle|kernels|weights|tests|bench|docs"


def links(text):
    """Targets of links and pictures, without those of other hosts and without the anchor."""
    return [name for name in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in name]


def paths(text):
    """Paths in backticks that begin with a folder of the repository; the rest of a command is not looked at."""
    return re.findall(rf"`((?:{FOLDERS})/[\w./*-]*)`", text)


def modules(text):
    """Modules that a page says to run, as `python -m bench.same` or `bench.same` in backticks."""
    return re.findall(r"(?:python -m |`)((?:bench|weights)(?:\.\w+)+)", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_names_exists(page):
    text = page.read_text()
    assert not [name for name in links(text) if not (page.parent / name).exists()]
    assert not [name for name in paths(text) if not list(ROOT.glob(PLACEHOLDER.sub("*", name.rstrip("/"))))]
    assert not [name for name in modules(text) if importlib.util.find_spec(name) is None]


def test_every_decision_is_in_the_list():
    folder = ROOT / "docs" / "design"
    assert set(links((folder / "README.md").read_text())) == {p.name for p in folder.glob("[0-9]*.md")}


def test_what_is_named_is_found():
    text = "[a](no.md), ![b](x/y.jpg#top), [c](https://x.y/z); `tests/no.py`, `bench/results/*-cpu.json`, `no/x`"
    text += "; `python -m bench.no`, `bench.yes`"
    assert links(text) == ["no.md", "x/y.jpg"]
    assert paths(text) == ["tests/no.py", "bench/results/*-cpu.json"]
    assert modules(text) == ["bench.no", "bench.yes"]
