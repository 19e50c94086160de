"""The comparison of two trees: what it must tell, and what it must pass over."""

import subprocess

import h5py
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bench import same
from bench.differences import compare_files


def pair(tmp_path, name, write, old, new):
    """The differences between two files that `write` makes of `old` and `new`."""
    paths = [tmp_path / f"{side}-{name}" for side in ("old", "new")]
    for path, content in zip(paths, (old, new), strict=True):
        write(path, content)
    return compare_files(*paths)


def write_model(path, content):
    with h5py.File(path, "w") as file:
        file.attrs["config"] = content.get("config", '{"options": {"lr": 0.1}}')
        file["conv/weight"] = np.asarray(content.get("weight", [1, 2]), content.get("dtype", np.float32))
        for name in content.get("order", "ab"):
            file[f"extras/{name}"] = np.arange(3)


def test_equal_models_have_no_differences(tmp_path):
    assert pair(tmp_path, "m.h5", write_model, {}, {}) == []


def test_a_models_differences_are_named(tmp_path):
    assert pair(tmp_path, "m.h5", write_model, {}, {"weight": [1, 2.5]}) == [
        "conv/weight: 1 of 2 numbers, by at most 0.5"
    ]
    assert pair(tmp_path, "m.h5", write_model, {}, {"dtype": np.float16}) == [
        "conv/weight: (2,) float32 became (2,) float16"
    ]
    assert pair(tmp_path, "m.h5", write_model, {}, {"config": '{"options": {"lr": 0.2}}'}) == [
        "@config.options.lr: 0.1 became 0.2"
    ]
    assert pair(tmp_path, "m.h5", write_model, {}, {"order": "abc"}) == ["extras/c: in new alone"]


def test_a_sign_of_zero_is_a_difference(tmp_path):
    assert pair(tmp_path, "m.h5", write_model, {"weight": [0, 1]}, {"weight": [-0.0, 1]})


def test_the_same_contents_in_other_bytes_are_a_difference(tmp_path):
    (difference,) = pair(tmp_path, "m.h5", write_model, {}, {"order": "ba"})
    assert difference.startswith("bytes: ")


def write_picture(path, content):
    recipe = PngInfo()
    recipe.add_text("recipe", f'{{"strength": {content[1]}}}')
    Image.fromarray(np.full((2, 2, 3), content[0], np.uint8)).save(path, pnginfo=recipe)


def test_a_pictures_pixels_and_recipe_are_compared(tmp_path):
    assert pair(tmp_path, "p.png", write_picture, (1, 1), (2, 1)) == ["pixels: 12 of 12 numbers, by at most 1"]
    assert pair(tmp_path, "p.png", write_picture, (1, 1), (1, 0.5)) == ["recipe.strength: 1 became 0.5"]


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_a_recipe_in_a_comment_or_in_exif_is_taken_apart(tmp_path, suffix):
    def write(path, strength):
        text = f'nanostyle {{"strength": {strength}}}'
        exif = Image.Exif()
        exif[0x010E] = text
        Image.new("RGB", (8, 8)).save(path, **({"comment": text} if suffix == "jpg" else {"exif": exif}))

    (difference,) = pair(tmp_path, f"p.{suffix}", write, 1, 0.5)
    assert difference.endswith(".strength: 1 became 0.5")


def write_text(path, content):
    path.write_text(content)


def test_only_the_seconds_of_a_log_may_differ(tmp_path):
    line = '{"step": 1, "loss": %s, "seconds": %s}\n'
    assert pair(tmp_path, "log.jsonl", write_text, line % (2, 0.1), line % (2, 0.3)) == []
    assert pair(tmp_path, "log.jsonl", write_text, line % (2, 0.1), line % (3, 0.1)) == ["line 1.loss: 2 became 3"]
    report = "<p>Step 1, loss %s, %s seconds per step.</p>\n"
    assert pair(tmp_path, "report.html", write_text, report % (2, 0.1), report % (2, 1e-5)) == []
    assert pair(tmp_path, "report.html", write_text, report % (2, 0.1), report % (3, 0.1))


def test_an_expected_difference_needs_a_pattern_that_meets_it(monkeypatch):
    monkeypatch.setattr(same, "EXPECTED", {"train *: *checkpoint.h5: @config.kind:*": "another word"})
    assert same.reason("train one: a/checkpoint.h5: @config.kind: 1 became 2")[1] == "another word"
    assert same.reason("train one: a/checkpoint.h5: conv/weight: 1 of 2 numbers")[1] == ""


def fake_run(tree, place, work):
    """`command` is a file's name; a tree writes its own name into it."""
    (place / work.command).write_text(tree)
    return subprocess.CompletedProcess([], 0, "", "")


def test_files_of_the_new_tree_stay_when_the_old_one_makes_a_start(tmp_path, monkeypatch):
    monkeypatch.setattr(same, "run", fake_run)
    places = [tmp_path / name for name in ("old", "new")]
    for place in places:
        place.mkdir()
    both, start = same.Work("both", "x.txt"), same.Work("start", "start.txt", old_only=True)
    assert list(same.compare_work(["a", "b"], places, both)) == ["x.txt: line 1: 'a' became 'b'"]
    assert list(same.compare_work(["a", "b"], places, start)) == []
    assert [(places[1] / name).read_text() for name in ("x.txt", "start.txt")] == ["b", "a"]


def test_a_work_that_fails_in_both_trees_is_a_difference(tmp_path, monkeypatch):
    monkeypatch.setattr(same, "run", lambda *_: subprocess.CompletedProcess([], 1, "", "Error: no"))
    found = list(same.compare_work(["a", "b"], [tmp_path, tmp_path], same.Work("w", "x")))
    assert found[0] == "exit status: of a: expected 0, got 1: Error: no"


def test_a_choice_of_works_brings_those_it_reads_from():
    names = [work.name for work in same.chosen("resume add style")]
    assert names == ["train many, running average", "stop add style at 10 of 20", "resume add style"]
