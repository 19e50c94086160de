"""New styles in a trained model, and trainings that begin with one."""

import hashlib

import numpy as np
import pytest

from nanostyle.errors import NanostyleError
from nanostyle.io.pictures import find_pictures
from nanostyle.methods.cin import add_style, train_cin
from nanostyle.methods.feedforward import train_feedforward
from nanostyle.models.multistyle import load_multistyle, save_model
from nanostyle.nn.module import state
from nanostyle.training.options import TrainOptions
from tests.support import tiny
from tests.support.endings import assert_same_end

# --- new styles ---------------------------------------------------------------------------------------------


def pictures_of(path, styles):
    model = load_multistyle(path)
    photo = tiny.picture(np.random.default_rng(8), 33, 42)
    shown = [model.render(photo, name) for name in styles]
    shown.append(model.render(photo, model.blend(styles, [1, 3]), strength=0.6))
    return hashlib.sha256(b"".join(pixels.tobytes() for pixels in shown)).hexdigest()


@pytest.mark.parametrize("storage", ["float32", "float16", "uint8"])
def test_add_style_leaves_the_old_styles_as_they_are_to_the_bit(data, finished, tmp_path, storage):
    old = load_multistyle(finished)
    old.storage = storage
    save_model(tmp_path / "old.h5", old)
    before = pictures_of(tmp_path / "old.h5", ["00", "01"])
    painting = tiny.write_pictures(tmp_path / "new", 1, seed=5)[0].rename(tmp_path / "new" / "fresh.png")
    options = TrainOptions(steps=4, batch=2, size=32, preview_every=2, **tiny.LAYERS)
    photos = find_pictures(data[0])
    output = tmp_path / "new.h5"
    steps = list(add_style(tmp_path / "old.h5", photos, {"fresh": painting}, tiny.loss_network(), options, output))
    assert len(steps) == 4
    new = load_multistyle(output)
    assert new.styles == ["photo", "00", "01", "fresh"]
    assert new.thumbnails.keys() == {"00", "01", "fresh"}
    assert new.storage == ("float32" if storage == "uint8" else storage)
    assert pictures_of(output, ["00", "01"]) == before
    saved = state(load_multistyle(tmp_path / "old.h5").net)
    for name, value in state(new.net).items():
        assert value[: len(saved[name])].tobytes() == saved[name].tobytes(), name
    # The new row has learned something, and differs from where it began.
    gamma = state(new.net)["residual1/conv1/norm/gamma"]
    assert np.abs(gamma[3] - gamma[1:3].mean(axis=0)).max() > 1e-3


def test_add_style_resumes(data, finished, tmp_path):
    painting = tiny.write_pictures(tmp_path / "new", 1, seed=5)[0].rename(tmp_path / "new" / "fresh.png")
    options = TrainOptions(steps=4, batch=2, size=32, checkpoint_every=1, **tiny.LAYERS)

    def run(output, **kw):
        photos = find_pictures(data[0])
        return add_style(finished, photos, {"fresh": painting}, tiny.loss_network(), options, tmp_path / output, **kw)

    list(run("whole.h5"))
    part = run("model.h5")
    next(part)
    part.close()
    list(run("model.h5", resume=True))
    assert_same_end(tmp_path / "model.h5", tmp_path / "whole.h5")


def test_add_style_refuses_a_known_name_and_a_network_of_one_style(data, finished, tmp_path):
    photos, styles = map(find_pictures, data)
    options = TrainOptions(steps=1, batch=1, size=32, width=0.125, **tiny.LAYERS)
    network = tiny.loss_network()
    with pytest.raises(NanostyleError, match="has a style '00' already"):
        next(add_style(finished, photos, {"00": styles[0]}, network, options, tmp_path / "new.h5"))
    list(train_feedforward(photos, styles[0], network, options, tmp_path / "one.h5"))
    with pytest.raises(NanostyleError, match="is a network of one style, expected one of several"):
        next(add_style(tmp_path / "one.h5", photos, {"x": styles[0]}, network, options, tmp_path / "new.h5"))


def test_start_from_begins_with_a_trained_model(data, finished, tmp_path):
    photos, styles = map(find_pictures, data)
    new = tiny.write_pictures(tmp_path / "new", 1, seed=5)[0].rename(tmp_path / "new" / "fresh.png")
    options = TrainOptions(steps=0, batch=2, size=32, width=1.0, start_from=str(finished), **tiny.LAYERS)
    output = tmp_path / "more.h5"
    list(train_cin(photos, {"01": styles[1], "fresh": new}, tiny.loss_network(), options, output))
    base, more = load_multistyle(finished), load_multistyle(output)
    assert more.styles == ["photo", "01", "fresh"]
    assert more.recipe["options"]["start_from"] == finished.name
    assert more.recipe["options"]["width"] == base.net.config["width"] == 0.125
    for name, value in state(base.net).items():
        rows = np.stack([value[0], value[2], value[1:].mean(axis=0)]) if name.endswith(("/gamma", "/beta")) else value
        np.testing.assert_array_equal(state(more.net)[name], rows, err_msg=name)


def test_start_from_of_one_style(data, finished, tmp_path):
    photos, styles = map(find_pictures, data)
    options = TrainOptions(steps=2, batch=1, size=32, width=0.125, norm="batch", **tiny.LAYERS)
    network = tiny.loss_network()
    list(train_feedforward(photos, styles[0], network, options, tmp_path / "one.h5"))
    further = TrainOptions(steps=0, batch=1, size=32, start_from=str(tmp_path / "one.h5"), **tiny.LAYERS)
    list(train_feedforward(photos, styles[1], network, further, tmp_path / "two.h5"))
    one, two = (load_multistyle(tmp_path / name) for name in ("one.h5", "two.h5"))
    assert one.net.config == two.net.config
    for name, value in state(one.net).items():
        np.testing.assert_array_equal(state(two.net)[name], value, err_msg=name)
    wrong = TrainOptions(steps=1, batch=1, size=32, start_from=str(finished), **tiny.LAYERS)
    with pytest.raises(NanostyleError, match="is not a network of one style"):
        next(train_feedforward(photos, styles[0], network, wrong, tmp_path / "three.h5"))
    with pytest.raises(NanostyleError, match="is a network of one style"):
        next(train_cin(photos, {"00": styles[0]}, network, further, tmp_path / "three.h5"))
    assert not (tmp_path / "three.h5").exists()
