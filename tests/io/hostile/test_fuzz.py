"""Two hundred broken pictures, the same on every run: each gives a picture or one clear line.

`python -m bench.robustness.fuzz_pictures` reads thousands for each format, and watches time and memory.
"""

import pytest

from bench.robustness.fuzz_pictures import mutated, seeds, verdict
from nanostyle.io import picture_rows

FILES = seeds()
EACH = -(-200 // len(FILES))


@pytest.mark.parametrize("kind", sorted(FILES))
def test_whole_files_are_pictures(kind):
    assert {verdict(data) for data in FILES[kind]} == {"picture"}


@pytest.mark.parametrize("kind", sorted(FILES))
def test_broken_files_give_a_picture_or_one_clear_line(kind, capfd):
    said = {index: verdict(mutated(1, index, kind, FILES)) for index in range(EACH)}
    assert {index: text for index, text in said.items() if text not in ("picture", "refused")} == {}
    assert "refused" in said.values()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_broken_files_in_rows_give_a_picture_or_one_clear_line(kind, capfd, monkeypatch):
    monkeypatch.setattr(picture_rows, "_PART", 3000)
    said = {index: verdict(mutated(1, index, kind, FILES), in_rows=True) for index in range(100)}
    assert {index: text for index, text in said.items() if text not in ("picture", "refused")} == {}
    assert capfd.readouterr().err == ""


def test_a_broken_file_is_a_function_of_its_number():
    assert mutated(1, 3, "PNG", FILES) == mutated(1, 3, "PNG", seeds()) != mutated(1, 4, "PNG", FILES)
