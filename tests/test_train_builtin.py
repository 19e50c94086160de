"""The recipes of the models that ship."""

from pathlib import Path

import pytest
import tiny

from nanostyle import weightfile
from nanostyle.cli import command
from nanostyle.errors import NanostyleError
from nanostyle.methods.modelfile import load_model
from weights import train_builtin


@pytest.fixture
def data(tmp_path):
    """Photos, the paintings of every recipe, and a loss network that is there."""
    tiny.write_pictures(tmp_path / "photos", 3)
    tiny.write_pictures(tmp_path / "paintings", 8, size=(36, 44), seed=1)
    names = train_builtin.RECIPES["styles"][0]
    for file, name in zip(sorted((tmp_path / "paintings").iterdir()), names, strict=True):
        file.rename(file.with_name(name + file.suffix))
    return tmp_path / "photos", tmp_path / "paintings", Path("builtin")


@pytest.mark.parametrize("model", train_builtin.RECIPES)
def test_a_recipe_trains_and_is_published(model, data, tmp_path):
    output = tmp_path / f"{model}.h5"
    small = ["--steps", "1", "--size", "32", "--style-size", "32", "--width", "0.25", "--quiet"]
    command.main([*train_builtin.words(model, *data, output), *small], standalone_mode=False)
    place = tmp_path / "weights"
    (place / "builtin").mkdir(parents=True)
    train_builtin.publish(output, place)
    assert (place / "SHA256SUMS").read_text() == f"{weightfile.sha256(output)}  builtin/{model}.h5\n"
    names = train_builtin.RECIPES[model][0]
    assert [name for name in load_model(place / "builtin" / output.name).styles if name != "photo"] == sorted(names)


def test_a_painting_that_is_missing_is_named(data, tmp_path):
    photos, paintings, network = data
    gone = next(paintings.iterdir())
    gone.unlink()
    with pytest.raises(NanostyleError, match=f"expected a picture {gone.stem}"):
        train_builtin.words("styles", photos, paintings, network, tmp_path / "styles.h5")
