"""Every public name has a page that says what it takes, returns and raises, with an example."""

import dataclasses
import inspect
import re
import subprocess
import sys
import typing

import pytest

import nanostyle
from tests.support.command import environment
from tests.support.paths import ROOT

PUBLIC = [name for name in nanostyle.__all__ if name != "__version__"]


def sections(docstring):
    """The sections of a docstring in NumPy's form: title to text."""
    parts = re.split(r"^(\w+)\n-{3,}$", inspect.cleandoc(docstring or ""), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def described(section):
    """The names that a section describes: what stands before ` : type`, or alone, at the left margin."""
    lines = re.findall(r"^([*\w][\w*, ]*?)(?: :.*)?$", section, flags=re.MULTILINE)
    return {name.strip(" *") for line in lines for name in line.split(",")}


def taken(thing):
    """The names of the parameters."""
    if dataclasses.is_dataclass(thing):
        return {field.name for field in dataclasses.fields(thing) if field.name[0] != "_"}
    return {name for name in inspect.signature(thing).parameters if name != "self"}


def gaps(thing):
    """What the docstring of a function or class lacks."""
    found = sections(thing.__doc__)
    names = described(found.get("Parameters", "") + "\n" + found.get("Attributes", ""))
    missing = [f"parameter {name}" for name in sorted(taken(thing) - names)]
    if not isinstance(thing, type):
        if (
            inspect.signature(thing).return_annotation not in (None, "None")
            and not {"Returns", "Yields"} & found.keys()
        ):
            missing.append("Returns or Yields")
        if "Raises" not in found:
            missing.append("Raises")
    if ">>> " not in found.get("Examples", ""):
        missing.append("Examples")
    return missing


def methods(thing):
    """Public methods and properties of a class that it defines itself."""
    own = [(name, value) for name, value in vars(thing).items() if not name.startswith("_")]
    return [(name, value) for name, value in own if inspect.isfunction(value) or isinstance(value, property)]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_documented(name):
    thing = getattr(nanostyle, name)
    assert gaps(thing) == []
    if isinstance(thing, type):
        assert [method for method, value in methods(thing) if not value.__doc__] == []


def test_importing_the_package_reads_nothing_else():
    program = "import sys, nanostyle; print(sorted(m for m in sys.modules if m.startswith(('nanostyle.', 'numpy'))))"
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    assert result.stdout.strip() == "[]", result.stderr


def test_a_gap_is_seen():
    def bare(a: int, b: int = 0) -> int:
        """Add.

        Parameters
        ----------
        a : int
            One.
        """

    assert gaps(bare) == ["parameter b", "Returns or Yields", "Raises", "Examples"]

    def whole(a: int, *more: int) -> typing.Iterator[int]:
        """Count.

        Parameters
        ----------
        a, *more : int
            Numbers.

        Yields
        ------
        int
            Each.

        Raises
        ------
        ValueError
            If there is none.

        Examples
        --------
        >>> list(whole(1))
        [1]
        """

    assert gaps(whole) == []
