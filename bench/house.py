"""Measures of the package's structure: `python -m bench.house`.

Rooms (folders and single files of `nanostyle`), arrows between them (who imports from whom), circles, the largest
file, long functions, and lines that mention `Any`.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from bench.folders import ROOT
from nanostyle import _HOMES

PACKAGE = ROOT / "nanostyle"
FUNCTION_LINES = 50
FILE_LINES = 330


class Function(NamedTuple):
    """A function or method, and how many lines it has from `def` to its last, without its docstring."""

    file: str
    name: str
    lines: int


def sources(package: Path = PACKAGE) -> list[Path]:
    """The files of the package that belong to a room: all but the file that exports the public names."""
    return [path for path in sorted(package.rglob("*.py")) if path != package / "__init__.py"]


def room(path: Path, package: Path = PACKAGE) -> str:
    """The room of a file: the first part of its path in the package."""
    return path.relative_to(package).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """The rooms that a file imports from, wherever in the file it does."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "nanostyle":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {_home(alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("nanostyle.")}
    return found - {"__version__"}


def _home(name: str) -> str:
    """The room that a name which the package exports comes from."""
    return _HOMES.get(name, name).partition(".")[0]


def arrows(package: Path = PACKAGE) -> dict[str, set[str]]:
    """Each room with the other rooms that it imports from."""
    found: dict[str, set[str]] = {}
    for path in sources(package):
        name = room(path, package)
        found.setdefault(name, set()).update(imports(path) - {name})
    return found


def circles(graph: Mapping[str, Iterable[str]]) -> list[set[str]]:
    """The sets of rooms in which each reaches each other."""
    reached = {name: _reached(graph, name) for name in graph}
    found: list[set[str]] = []
    for name in graph:
        circle = {other for other in reached[name] if name in reached.get(other, ())}
        if circle and circle not in found:
            found.append(circle)
    return found


def _reached(graph: Mapping[str, Iterable[str]], start: str) -> set[str]:
    found: set[str] = set()
    open_ends = list(graph[start])
    while open_ends:
        name = open_ends.pop()
        if name not in found:
            found.add(name)
            open_ends += graph.get(name, ())
    return found


def file_lines(path: Path) -> int:
    """The number of lines of a file."""
    return len(path.read_text().splitlines())


def functions(path: Path, root: Path = ROOT) -> Iterator[Function]:
    """The functions and methods of a file, nested ones too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node) is not None:
                text = node.body[0]
                length -= (text.end_lineno or text.lineno) - text.lineno + 1
            yield Function(path.relative_to(root).as_posix(), node.name, length)


def any_lines(path: Path) -> int:
    """The number of lines that mention `Any`."""
    return len(re.findall(r"^.*\bAny\b.*$", path.read_text(), re.MULTILINE))


def main() -> None:
    """Print the figures."""
    graph, files = arrows(), sorted(PACKAGE.rglob("*.py"))
    for name, below in graph.items():
        print(f"{name}: {', '.join(sorted(below)) or '-'}")
    largest = max(files, key=file_lines)
    long = [function for path in files for function in functions(path) if function.lines > FUNCTION_LINES]
    print(f"rooms: {len(graph)}")
    print(f"arrows between rooms: {sum(map(len, graph.values()))}")
    print(f"circles: {'; '.join(', '.join(sorted(circle)) for circle in circles(graph)) or 'none'}")
    print(f"files: {len(files)}, {sum(map(file_lines, files))} lines")
    print(f"largest file: {largest.relative_to(ROOT).as_posix()}, {file_lines(largest)} lines")
    print(f"files over {FILE_LINES} lines: {sum(file_lines(path) > FILE_LINES for path in files)}")
    print(f"functions over {FUNCTION_LINES} lines: {len(long)}")
    for function in sorted(long, key=lambda function: -function.lines):
        print(f"    {function.file}: {function.name}, {function.lines}")
    print(f"lines with Any: {sum(map(any_lines, files))}")


if __name__ == "__main__":
    main()
