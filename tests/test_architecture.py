"""The house stands: floors import downwards only, and what must stay in one room stays there."""

import ast
import importlib
import inspect
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "nanostyle"

# From the ground up. A name stands for a file or a folder.
FLOORS = [
    ["errors", "files", "arrays", "cpu", "gpu"],
    ["tensor", "ops", "gradcheck"],
    ["nn", "nets", "losses", "optim"],
    ["image", "sheet", "weightfile", "untrusted", "pickles", "readers", "convert", "fetch", "data"],
    ["cases", "methods"],
    ["cli", "__main__"],
]


def floor_of(module: str) -> int:
    return next(i for i, names in enumerate(FLOORS) if module in names)


def imports(path: Path) -> set[str]:
    """The modules of nanostyle that a file imports, by their first name below `nanostyle`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "nanostyle":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("nanostyle.")}
    return found - {"__version__"}


def sources():
    return [p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py"]


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_a_floor_imports_only_from_below():
    for path in sources():
        for name in imports(path):
            assert floor_of(name) <= floor_of(room(path)), f"{path.name} imports {name}, which is above it"


def test_the_test_would_see_an_upward_import(tmp_path):
    planted = tmp_path / "conv.py"
    planted.write_text("from nanostyle.cli import main\nimport nanostyle.methods.gatys\n")
    assert imports(planted) == {"cli", "methods"}
    assert floor_of("cli") > floor_of("ops")


def test_only_arrays_imports_cupy():
    for path in sources():
        if room(path) not in ("arrays", "gpu"):
            text = path.read_text()
            assert "import cupy" not in text, path


def test_a_twin_has_the_name_and_the_signature_of_its_primitive():
    for home in ("cpu", "gpu"):
        for path in (PACKAGE / home).glob("*.py"):
            primitives = PACKAGE / "ops" / path.name
            if not primitives.exists():
                continue
            module = importlib.import_module(f"nanostyle.ops.{path.stem}")
            twins = importlib.import_module(f"nanostyle.{home}.{path.stem}")
            for name, fn in vars(module).items():
                twin = getattr(twins, name, None)
                if hasattr(fn, "reference") and twin is not None:
                    ours, theirs = (list(inspect.signature(f).parameters) for f in (fn.reference, twin))
                    assert ours == theirs, f"{home}/{path.name}: {name}"
