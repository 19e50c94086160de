"""The recipes of the models that ship."""

from pathlib import Path

import numpy as np
import pytest

from nanostyle.cli import command
from nanostyle.errors import NanostyleError
from nanostyle.io.atomic import sha256
from nanostyle.io.weights import WeightFile, load_weights, save_weights
from nanostyle.models.multistyle import load_multistyle
from nanostyle.models.predictor import load_predictor
from tests.support import tiny
from weights import train_builtin


@pytest.fixture
def data(tmp_path):
    """Photos, the paintings of every recipe, and a loss network that is there."""
    tiny.write_pictures(tmp_path / "photos", 3)
    names = sorted(train_builtin.THIRTY_TWO)
    tiny.write_pictures(tmp_path / "paintings", len(names), size=(36, 44), seed=1)
    for file, name in zip(sorted((tmp_path / "paintings").iterdir()), names, strict=True):
        file.rename(file.with_name(name + file.suffix))
    return tmp_path / "photos", tmp_path / "paintings", Path("builtin")


@pytest.mark.parametrize("model", train_builtin.RECIPES)
def test_a_recipe_trains_and_is_published(model, data, tmp_path):
    output = tmp_path / f"{model}.h5"
    for words in train_builtin.commands(model, *data, output):
        width = [] if "--start-from" in words else ["--width", "0.25"]
        small = ["--steps", "1", "--size", "32", "--style-size", "32", "--batch", "1", *width, "--quiet"]
        command.main([*words, *small], standalone_mode=False)
    place = tmp_path / "weights"
    (place / "builtin").mkdir(parents=True)
    train_builtin.publish(output, place)
    assert (place / "SHA256SUMS").read_text() == f"{sha256(output)}  builtin/{model}.h5\n"
    published = place / "builtin" / output.name
    if model == "any":
        recipe = load_predictor(published).recipe["options"]
        before = f"any-{len(train_builtin.RECIPES[model]) - 1}.h5"
        assert (recipe["start_from"], recipe["width"]) == (before, 0.25)
    else:
        assert sorted(load_multistyle(published).styles) == sorted(["photo", *train_builtin.THIRTY_TWO])


def test_a_painting_that_is_missing_is_named(data, tmp_path):
    photos, paintings, network = data
    gone = next(paintings.iterdir())
    gone.unlink()
    with pytest.raises(NanostyleError, match=f"expected a picture {gone.stem}"):
        train_builtin.commands("styles", photos, paintings, network, tmp_path / "styles.h5")


def test_grids_are_left_out_where_the_grid_loss_is_to_work(data, tmp_path):
    photos, paintings, network = data
    tiny.write_pictures(paintings, 1)[0].rename(paintings / "dtd-chequered-0002.png")
    lines = train_builtin.commands("any", photos, paintings, network, tmp_path / "any.h5")
    has = [any("chequered" in word for word in words) for words in lines]
    assert has == [True, True, True, *[False] * 8]
    assert all(words.count("--styles") == 33 - (not grid) for words, grid in zip(lines, has, strict=True))


def test_of_some_paintings_every_third_is_taken():
    stage = train_builtin.Stage("train", without=("grid",), thinned={"cn-": 3})
    names = ["cn-1", "cn-2", "pa-1", "cn-3", "cn-4", "cn-grid", "pa-2"]
    assert stage.takes(names) == ["cn-1", "pa-1", "cn-4", "pa-2"]


def test_a_stage_may_give_the_mean_of_what_it_trained_and_of_its_start(tmp_path):
    rng = np.random.default_rng(0)
    values = [rng.random((2, 3), np.float32) for _ in range(2)]
    for name, value in zip("ab", values, strict=True):
        file = WeightFile("predictor", {"storage": "float32", "recipe": name}, {"w": value}, "made", "none")
        save_weights(tmp_path / name, file)
    train_builtin.average(tmp_path / "b", tmp_path / "a", 0.25)
    mean = load_weights(tmp_path / "b")
    np.testing.assert_allclose(mean.parameters["w"], 0.75 * values[0] + 0.25 * values[1], rtol=1e-6)
    assert mean.config["recipe"] == "b"


def test_rows_of_other_styles_have_no_mean(tmp_path):
    for name, styles in (("a", ["photo", "wave", "night"]), ("b", ["photo", "night", "wave"])):
        config = {"storage": "float32", "styles": styles}
        save_weights(tmp_path / name, WeightFile("transformer", config, {"w": np.ones((3, 2))}, "made", "none"))
    before = (tmp_path / "b").read_bytes()
    with pytest.raises(NanostyleError, match=r"expected the styles of .*a, in their order"):
        train_builtin.average(tmp_path / "b", tmp_path / "a", 0.5)
    assert (tmp_path / "b").read_bytes() == before
