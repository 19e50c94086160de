"""Photos as a network meets them at use: grain, second passes, movement."""

import numpy as np
import pytest

from nanostyle.autograd.tensor import Tensor
from nanostyle.io.pictures import find_pictures, style_files
from nanostyle.methods.feedforward import train_feedforward
from nanostyle.training.options import TrainOptions
from nanostyle.training.variations import enlarge, pan_loss, second_pass, variation_at
from tests.support import tiny
from tests.support.endings import assert_same_end
from tests.support.train_tiny import training

ALL = {"palette_weight": 1.0, "pan_weight": 50.0, "second_share": 0.4, "grain": 1.2}


def photos(count, side=32):
    return np.stack([tiny.picture(np.random.default_rng(seed), side, side) for seed in range(count)])


def darker(x):
    return Tensor(0.5 * x.data)


def test_what_was_not_asked_for_does_not_happen():
    assert variation_at(TrainOptions(), 3, 4) == {}


def test_each_step_has_its_own_variation():
    options = TrainOptions(size=32, **{name: value for name, value in ALL.items() if name != "palette_weight"})
    given = [variation_at(options, step, 3) for step in range(10)]
    assert sum(v.get("second", 0) for v in given) == 12  # 0.4 of 30
    assert [v["pan"] for v in given[:4]] == [(1, 2), None, (2, 1), None]
    assert all(v["grain"].shape == (3, 32, 32, 1) for v in given)
    assert given[0]["grain"].std() == pytest.approx(1.2 / 255, rel=0.05)
    assert (given[0]["grain"] != given[1]["grain"]).any()
    np.testing.assert_array_equal(variation_at(options, 1, 3)["grain"], given[1]["grain"])
    # Photos in their own style come first, and are never among those of the second pass.
    assert max(variation_at(options, step, 3, own=2).get("second", 0) for step in range(10)) == 1


def test_the_last_photos_come_a_second_time():
    x = photos(3)
    made = second_pass(x, 1, darker)
    np.testing.assert_array_equal(made[:2], x[:2])
    small = x[2:].reshape(1, 16, 2, 16, 2, 3).mean(axis=(2, 4))
    # Made small again it is the small result; what lies between is the photo's.
    pooled = made[2:].reshape(1, 16, 2, 16, 2, 3).mean(axis=(2, 4))
    assert np.abs(pooled - 0.5 * small).mean() < 0.5 * np.abs(pooled - small).mean()


def test_twice_the_size_keeps_slopes_and_means():
    slope = np.linspace(0, 1, 10)[None, :, None, None] * np.ones((1, 10, 7, 3))
    large = enlarge(slope)
    assert large.shape == (1, 20, 14, 3)
    assert large.mean() == pytest.approx(slope.mean())
    np.testing.assert_allclose(np.diff(large[0, 1:-1, 0, 0]), 1 / 18)


def test_the_pan_term_is_nothing_where_the_result_moves_along():
    x = photos(2, 48)
    assert pan_loss(x, darker(Tensor(x)), (1, 2), darker).item() == pytest.approx(0, abs=1e-12)
    assert pan_loss(x, Tensor(x), (1, 2), darker).item() > 1e-3


def test_many_styles_with_all_of_it_resume(data, tmp_path):
    whole, output = tmp_path / "whole.h5", tmp_path / "many.h5"
    steps = list(training(*data, whole, **ALL))
    assert {name for step in steps for name in step.terms} == {"content", "style", "palette", "grid", "photo", "pan"}
    run = training(*data, output, **ALL)
    for _ in range(5):
        next(run)
    run.close()
    list(training(*data, output, resume=True, **ALL))
    assert_same_end(output, whole)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_one_style_with_all_of_it(data, tmp_path, norm):
    pictures, styles = find_pictures(data[0]), style_files([data[1]])
    options = TrainOptions(steps=3, batch=2, size=32, width=0.125, norm=norm, **ALL, **tiny.LAYERS)
    painting = next(iter(styles.values()))
    steps = list(train_feedforward(pictures, painting, tiny.loss_network(), options, tmp_path / "one.h5"))
    assert [("pan" in step.terms) for step in steps] == [True, False, True]
    assert all(np.isfinite(step.loss) for step in steps)
