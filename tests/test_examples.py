"""The examples in docstrings give what they say."""

import doctest
import importlib
import pkgutil

import pytest

import nanostyle
from tests.support.paths import ROOT

ROOMS = ("api", "errors", "nn", "nets")


def modules():
    """The names of the modules whose docstrings have examples: those of the rooms, and where the public names live."""
    found = sorted(
        {
            value.__module__
            for name in nanostyle.__all__
            if name != "__version__"
            for value in [getattr(nanostyle, name)]
        }
    )
    for room in ROOMS:
        module = importlib.import_module(f"nanostyle.{room}")
        inside = pkgutil.walk_packages(getattr(module, "__path__", []), f"nanostyle.{room}.")
        found += [module.__name__, *(name for _, name, _ in inside)]
    return sorted(set(found))


def examples(module):
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module))
    return [example for example in found if example.examples]


@pytest.mark.parametrize("module", modules())
def test_examples(module, tmp_path, monkeypatch):
    """In a folder that has the pictures of the documentation, as a checkout has them."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for example in examples(module):
        result = runner.run(example)
        assert result.failed == 0, f"{example.name}: see the output above"


def test_there_are_examples():
    assert any(examples(module) for module in modules())


def test_a_wrong_example_is_seen(capsys):
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, None)
    assert doctest.DocTestRunner().run(wrong).failed == 1
