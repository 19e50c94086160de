"""Every function of a back end is used: as the implementation of a primitive of the same signature, or by its own room.

An implementation is found by the stem of its file and by its name (`backend/dispatch.py`). One that has been renamed
would never run, and nothing would fail: so it must fail here.
"""

import ast
import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import NotImplementedType
from typing import Any, get_args

import pytest

from nanostyle.backend.dispatch import primitive
from tests.support.paths import ROOT

PACKAGE = ROOT / "nanostyle"
BACKENDS = ("cpu", "gpu")
Primitives = dict[str, dict[str, Any]]


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def primitives() -> Primitives:
    """The primitives of the package, by the stem of their file and by name."""
    found: Primitives = {}
    for path in PACKAGE.rglob("*.py"):
        if "@primitive" not in path.read_text():
            continue
        name = module_name(path)
        here = {n: f for n, f in vars(importlib.import_module(name)).items() if isinstance(f, primitive)}
        found.setdefault(path.stem, {}).update({n: f for n, f in here.items() if f.__module__ == name})
    return found


def functions(path: Path) -> Iterator[str]:
    """The names of the public functions that a file defines."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name


def imported(folder: Path) -> set[tuple[str, str]]:
    """The stems and names that the files of a back end import from each other, or use by the module's name."""
    found: set[tuple[str, str]] = set()
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                found |= {(node.module.rpartition(".")[2], alias.name) for alias in node.names}
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                found.add((node.value.id, node.attr))
    return found


def unused(folder: Path, known: Primitives) -> list[str]:
    """Public functions of a back end, in files with the stem of primitives, that nothing can call."""
    used = imported(folder)
    return [
        f"{path.stem}.{name}"
        for path in sorted(folder.glob("*.py"))
        for name in functions(path)
        if path.stem in known and name not in known[path.stem] and (path.stem, name) not in used
    ]


def result_of(function: Callable[..., Any]) -> Any:
    """What a function returns; an implementation that returns nothing says so if it may decline."""
    annotation = inspect.signature(function).return_annotation
    rest = [a for a in get_args(annotation) if a is not NotImplementedType]
    return None if NotImplementedType in get_args(annotation) and rest == [type(None)] else annotation


def implementations() -> list[Any]:
    found = []
    for backend in BACKENDS:
        for stem, known in primitives().items():
            path = PACKAGE / "backend" / backend / f"{stem}.py"
            module = importlib.import_module(module_name(path)) if path.exists() else None
            for name, function in known.items():
                if hasattr(module, name):
                    found.append(pytest.param(getattr(module, name), function, id=f"{backend}.{stem}.{name}"))
    return found


@pytest.mark.parametrize(("implementation", "function"), implementations())
def test_an_implementation_has_the_signature_of_its_primitive(implementation, function):
    """Names, kinds, defaults and annotations of the parameters, and what is returned."""
    ours, theirs = (inspect.signature(f).parameters for f in (implementation, function.reference))
    assert list(ours.values()) == list(theirs.values())
    assert result_of(implementation) == result_of(function.reference)


def test_a_file_has_no_namesake_among_those_with_primitives():
    """The stem alone says where an implementation is."""
    stems = [path.stem for path in PACKAGE.rglob("*.py") if "@primitive" in path.read_text()]
    assert len(stems) == len(set(stems)), stems


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_function_of_a_backend_is_used(backend):
    assert unused(PACKAGE / "backend" / backend, primitives()) == []


def test_a_renamed_implementation_is_seen(tmp_path):
    known = primitives()
    for stem in ("tensor", "pool"):
        (tmp_path / f"{stem}.py").write_text((PACKAGE / "backend" / "cpu" / f"{stem}.py").read_text())
    assert unused(tmp_path, known) == []
    for stem, name in (("tensor", "add_up"), ("pool", "max_pool_dx")):
        path = tmp_path / f"{stem}.py"
        path.write_text(path.read_text().replace(f"def {name}(", f"def {name}_renamed("))
    assert unused(tmp_path, known) == ["pool.max_pool_dx_renamed", "tensor.add_up_renamed"]


def test_another_default_and_another_annotation_are_seen():
    def dx(g: int, *, size: int = 2) -> int: ...

    def other_default(g: int, *, size: int = 3) -> int: ...

    def other_annotation(g: int, *, size: float = 2) -> int: ...

    def other_kind(g: int, size: int = 2) -> int: ...

    known = primitive(dx)
    test_an_implementation_has_the_signature_of_its_primitive(dx, known)
    for wrong in (other_default, other_annotation, other_kind):
        with pytest.raises(AssertionError):
            test_an_implementation_has_the_signature_of_its_primitive(wrong, known)
