"""The model that a training leaves: its file, blends, strength, contact sheet."""

import numpy as np
import pytest

from nanostyle.autograd.tensor import Tensor
from nanostyle.errors import NanostyleError
from nanostyle.io.image_read import decode_image
from nanostyle.io.pictures import find_pictures
from nanostyle.io.weights import load_weights, save_weights
from nanostyle.methods.feedforward import train_feedforward
from nanostyle.methods.style_sheet import style_sheet
from nanostyle.models.multistyle import load_multistyle, save_model
from nanostyle.nn.module import parameters, state
from nanostyle.training.options import TrainOptions
from tests.support import tiny
from tests.support.endings import load_model_of
from tests.support.train_tiny import training

# --- model files and their use ------------------------------------------------------------------------------


def test_a_model_file_says_what_it_is(finished):
    model = load_multistyle(finished)
    assert model.styles == ["photo", "00", "01"]
    assert model.recipe["mode"] == "cin"
    assert model.recipe["options"]["batch"] == 2
    assert model.recipe["steps"] == 12
    assert decode_image(model.thumbnails["00"]).shape == (32, 39, 3)
    for value in state(model.net).values():
        assert not value.flags.writeable
    assert not any(parameter.requires_grad for parameter in parameters(model.net).values())


def test_float16_halves_the_file_and_hardly_changes_the_picture(finished, tmp_path):
    model = load_multistyle(finished)
    model.storage = "float16"
    save_model(tmp_path / "half.h5", model)
    photo = tiny.picture(np.random.default_rng(8), 33, 42)
    a, b = (load_multistyle(path).render(photo, "01") for path in (finished, tmp_path / "half.h5"))
    assert np.abs(a - b).max() < 0.01
    assert (tmp_path / "half.h5").stat().st_size < 0.75 * finished.stat().st_size


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.config.pop("network"),
        lambda file: file.config["network"].update(width=0.5),
        lambda file: file.config["network"].update(styles=2),
        lambda file: file.config["network"].update(arch="ghiasi"),
        lambda file: file.config["network"].update(speed=3),
        lambda file: file.config.update(styles=["a", "a", "b"]),
        lambda file: file.config.update(styles=7),
        lambda file: file.parameters.pop("conv2/weight"),
    ],
)
def test_a_model_file_that_contradicts_itself_is_refused(finished, tmp_path, spoil):
    file = load_weights(finished)
    spoil(file)
    save_weights(tmp_path / "bad.h5", file)
    with pytest.raises(ValueError, match=r"cannot read .*bad.h5: its description is not that of a model"):
        load_multistyle(tmp_path / "bad.h5")


def test_blends_are_normalized_and_strength_goes_to_the_photo_style(finished):
    model = load_multistyle(finished)
    photo = tiny.picture(np.random.default_rng(8), 30, 41)

    def of(*styles, weights=None, strength=1.0):
        return model.render(photo, model.blend(styles, weights) if styles else None, strength=strength)

    assert of("00").shape == photo.shape
    np.testing.assert_array_equal(of("00", "01", weights=[1, 3]), of("00", "01", weights=[0.25, 0.75]))
    np.testing.assert_allclose(of("00", "01", weights=[1, 0]), of("00"), atol=1e-6)
    assert np.abs(of("00", strength=0.5) - of("00")).max() > 1e-4
    # At 0 it is the photo, though this network's style `photo`, hardly trained, does not give it back.
    np.testing.assert_allclose(of("00", strength=0), photo, atol=1e-6)
    assert np.abs(of("photo") - photo).max() > 0.1
    with pytest.raises(ValueError, match=r"strength: expected a number from 0 to 1, got 1\.5"):
        of("00", strength=1.5)
    with pytest.raises(ValueError, match="this model has 00, 01; name one or several"):
        of()
    with pytest.raises(NanostyleError, match="there is no style 'O0' in this model; it has photo, 00"):
        of("O0")


def test_a_feedforward_model_blends_its_result_with_the_photo(data, tmp_path):
    photos, styles = map(find_pictures, data)
    options = TrainOptions(steps=2, batch=1, size=32, width=0.125, **tiny.LAYERS)
    list(train_feedforward(photos, styles[0], tiny.loss_network(), options, tmp_path / "one.h5"))
    model = load_multistyle(tmp_path / "one.h5")
    photo = tiny.picture(np.random.default_rng(8), 30, 41)
    full = model.render(photo)
    np.testing.assert_array_equal(model.render(photo, "00"), full)
    np.testing.assert_array_equal(model.render(photo, strength=0), photo)
    np.testing.assert_allclose(model.render(photo, strength=0.25), 0.25 * full + 0.75 * photo, atol=1e-6)


def test_the_sheet_shows_every_style(finished):
    model = load_multistyle(finished)
    sheet = style_sheet(model, tiny.picture(np.random.default_rng(8), 30, 41), cell=64)
    assert sheet.ndim == 3 and sheet.shape[1] > 3 * 64 and sheet.std() > 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0}, "lr: expected a number above 0, got 0"),
        ({"style_weight": -1}, "style_weight: expected a number of 0 or more, got -1"),
        ({"clip": float("nan")}, "clip: expected a number above 0, got nan"),
        ({"ema": 1}, "ema: expected a number below 1"),
        ({"second_share": 1}, "second_share: expected a number below 1"),
        ({"second_share": 0.5, "size": 33}, "second_share: expected crops whose half is whole, got size 33"),
        ({"palette_weight": -1}, "palette_weight: expected a number of 0 or more"),
        ({"pan_weight": 1, "size": 31}, "pan_weight: expected crops of 32 pixels or more, got size 31"),
        ({"frozen_norm": True}, "frozen_norm: expected a model to start from, got none"),
        ({"storage": "int8"}, "storage: expected one of float32, float16, uint8, kmeans8, got 'int8'"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TrainOptions(**options)


def test_style_weights_count(data, tmp_path):
    with pytest.raises(ValueError, match="style weight 07=2: expected the name of a style and a number above 0"):
        next(training(*data, tmp_path / "model.h5", weights={"07": 2}))
    plain = next(training(*data, tmp_path / "plain.h5", steps=1, batch=3))
    heavy = next(training(*data, tmp_path / "heavy.h5", steps=1, batch=3, weights={"00": 2, "01": 2}))
    assert heavy.terms["style"] == pytest.approx(2 * plain.terms["style"], rel=1e-5)
    assert heavy.terms["content"] == plain.terms["content"]


def test_a_batch_without_the_photo_style_has_no_photo_term(data, tmp_path):
    task = load_model_of(data, tmp_path)
    photos = np.stack([tiny.picture(np.random.default_rng(i), 32, 32) for i in range(1)])
    for step in range(3):
        _, terms = task.losses(photos, **task.inputs(step, 1))
        assert ("photo" in terms) == (task.rows_at(step, 1)[0] == 0)
        assert (terms["style"].item() == 0) == ("photo" in terms)
    assert isinstance(task.net(Tensor(photos), np.array([0])), Tensor)
