"""No file and no function grows beyond what a reader can hold."""

import pytest

from bench.house import FILE_LINES, FUNCTION_LINES, file_lines, functions
from tests.support.paths import ROOT

TEST_FILE_LINES = 550


def files(folder):
    return sorted((ROOT / folder).rglob("*.py"))


def named(paths):
    return {path.relative_to(ROOT).as_posix() for path in paths}


@pytest.mark.parametrize(
    ("folder", "most"), [("nanostyle", FILE_LINES), ("bench", FILE_LINES), ("tests", TEST_FILE_LINES)]
)
def test_no_file_is_too_long(folder, most):
    found = named(path for path in files(folder) if file_lines(path) > most)
    assert found == set()


@pytest.mark.parametrize("folder", ["nanostyle", "bench", "weights", "tests"])
def test_no_function_is_too_long(folder):
    every = [function for path in files(folder) for function in functions(path)]
    assert every
    found = {(function.file, function.name) for function in every if function.lines > FUNCTION_LINES}
    assert found == set()


def test_lines_are_counted(tmp_path):
    """A method, a function in it, and a docstring that does not count."""
    (tmp_path / "a.py").write_text(
        'class A:\n    def f(self):\n        """One.\n\n        Two.\n        """\n'
        "        async def g():\n            pass\n        return g\n"
    )
    assert [(f.name, f.lines) for f in functions(tmp_path / "a.py", tmp_path)] == [("f", 4), ("g", 2)]
    assert file_lines(tmp_path / "a.py") == 9
