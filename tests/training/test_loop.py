"""The loop: steps, reports, averages, and losses that are not finite."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from nanostyle.errors import NanostyleError
from nanostyle.models.multistyle import load_multistyle
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nn.module import parameters, state
from nanostyle.optim.optimizer import Optimizer
from nanostyle.training.loop import training_folder
from nanostyle.training.preview import hold_out
from tests.support import tiny
from tests.support.endings import assert_same_end, at_step, checkpoint, load_model_of
from tests.support.train_tiny import training

# --- the loop -----------------------------------------------------------------------------------------------


def test_the_loss_falls_and_every_step_says_where_it_stands(data, tmp_path):
    steps = list(training(*data, tmp_path / "model.h5", steps=30, lr=3e-3))
    assert [step.step for step in steps] == list(range(1, 31))
    assert np.mean([s.loss for s in steps[-6:]]) < 0.7 * np.mean([s.loss for s in steps[:3]])
    assert all(step.loss == pytest.approx(sum(step.terms.values()), rel=1e-5) for step in steps)
    assert steps[0].rate == 3e-3
    assert steps[-1].rate == pytest.approx(3e-3 * 0.1 ** (29 / 30))


def test_what_lies_beside_the_model(finished):
    folder = training_folder(finished)
    names = sorted(path.name for path in folder.iterdir())
    previews = ["preview-000005.png", "preview-000010.png", "preview-000012.png"]
    assert names == ["checkpoint.h5", "log.jsonl", *previews, "report.html"]
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records if "loss" in r] == list(range(1, 13))
    measured = [r for r in records if "styles" in r]
    assert [r["step"] for r in measured] == [5, 10, 12]
    assert measured[-1]["styles"].keys() == {"00", "01"}
    assert measured[-1]["styles"]["00"].keys() == {"content", "style"}


def test_the_report_needs_nothing_outside_itself(data, tmp_path):
    output = tmp_path / "a <b> model.h5"
    list(training(*data, output, steps=5))

    class Reader(HTMLParser):
        text, sources, tags = "", (), ()

        def handle_starttag(self, tag, attributes):
            self.tags += (tag,)
            self.sources += tuple(v for k, v in attributes if k in ("src", "href"))

        def handle_data(self, data):
            self.text += data

    reader = Reader()
    reader.feed((training_folder(output) / "report.html").read_text(encoding="utf-8"))
    assert "a <b> model.h5" in reader.text
    assert {"svg", "polyline", "img", "table"} <= set(reader.tags)
    assert "script" not in reader.tags and "link" not in reader.tags
    assert all(source.startswith("data:image/jpeg;base64,") for source in reader.sources)


def test_photos_for_previews_are_not_trained_on():
    photos = [Path(f"{i}.png") for i in range(60)]
    shown, rest = hold_out(photos)
    assert len(shown) == 6
    assert sorted(shown + rest) == sorted(photos)
    assert hold_out(photos[:5]) == (photos[:5], photos[:5])


def test_corrupt_photos_are_named_and_not_fatal(data, tmp_path):
    photos = tmp_path / "photos"
    paths = tiny.write_pictures(photos, 6)
    paths[1].write_bytes(paths[1].read_bytes()[:100])
    paths[4].write_text("no picture")
    steps = list(training(photos, data[1], tmp_path / "model.h5", steps=6))
    assert steps[-1].skipped.keys() == {paths[1], paths[4]}
    assert "Skipped pictures (2)" in (tmp_path / "model.training" / "report.html").read_text()


def test_no_usable_photo_is_a_clear_error(data, tmp_path):
    with pytest.raises(
        NanostyleError, match=r"none of the 6 pictures can be used for training; the first: .* too small"
    ):
        list(training(*data, tmp_path / "model.h5", size=64))


def test_clip_is_the_norm_of_the_gradient_that_moves_the_weights(data, tmp_path):
    """Adam's first moment after a step is a tenth of the gradient that it got."""
    step, *_ = training(*data, tmp_path / "model.h5", steps=1, clip=0.01)
    assert step.gradient > 0.01
    moments = [value for name, value in checkpoint(tmp_path / "model.h5").extras.items() if name.startswith("m/")]
    assert np.sqrt(sum((m.astype(float) ** 2).sum() for m in moments)) == pytest.approx(0.001, rel=1e-4)


def test_gamma_and_beta_go_faster(data, tmp_path):
    moved = {}
    for factor in (1, 10):
        output = tmp_path / f"{factor}.h5"
        run = training(*data, output, steps=1, norm_rate=factor)
        list(run)
        moved[factor] = checkpoint(output).parameters
    start = TransformerNet(load_multistyle(tmp_path / "1.h5").net.config, np.random.default_rng(0))
    for name, parameter in parameters(start).items():
        way = {factor: np.abs(moved[factor][name] - parameter.data).max() for factor in moved}
        assert way[10] == pytest.approx(way[1] * (1 if name.endswith("/weight") else 10), rel=0.01), name


def test_the_model_is_the_average_of_the_weights(data, tmp_path):
    output = tmp_path / "model.h5"
    list(training(*data, output, steps=6, ema=0.99))
    end = checkpoint(output)
    model = state(load_multistyle(output).net)
    assert all((model[name] == end.extras[f"average/{name}"]).all() for name in model)
    assert any((model[name] != end.parameters[name]).any() for name in model)
    list(training(*data, tmp_path / "plain.h5", steps=6, ema=0))
    plain = state(load_multistyle(tmp_path / "plain.h5").net)
    assert all((plain[name] == end.parameters[name]).all() for name in plain)


def test_each_style_comes_as_often_as_the_others(data, tmp_path):
    net = load_model_of(data, tmp_path)
    rows = np.concatenate([net.rows_at(step, 4) for step in range(30)])
    assert np.bincount(rows).tolist() == [40, 40, 40]
    assert all(sorted(rows[i : i + 3]) == [0, 1, 2] for i in range(0, 120, 3))
    np.testing.assert_array_equal(net.rows_at(7, 4), rows[28:32])


# --- what is not a number -----------------------------------------------------------------------------------


def poison(monkeypatch, *, at, times):
    """Make the loss of step `at` NaN, `times` times."""
    left = [times]

    def spoil(total, terms):
        if not left[0]:
            return total, terms
        left[0] -= 1
        return total * float("nan"), {**terms, "style": total * float("nan")}

    at_step(monkeypatch, at, spoil)


def test_nan_goes_back_to_the_last_checkpoint_at_half_the_rate(data, tmp_path, monkeypatch):
    poison(monkeypatch, at=7, times=1)
    steps = list(training(*data, tmp_path / "model.h5", checkpoint_every=3))
    events = [step for step in steps if step.event]
    assert [step.event for step in events] == ["style infinite or NaN at step 7: back to step 6, half the rate"]
    assert [step.step for step in steps] == [1, 2, 3, 4, 5, 6, 7, 6, 7, 8, 9, 10, 11, 12]
    assert steps[-1].rate == pytest.approx(1e-3 / 2 * 0.1 ** (11 / 12))
    records = [json.loads(line) for line in (tmp_path / "model.training" / "log.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records if "loss" in r] == list(range(1, 13))
    assert np.isfinite(checkpoint(tmp_path / "model.h5").parameters["conv1/weight"]).all()


def test_a_kill_after_a_roll_back_does_not_bring_the_old_rate_back(data, tmp_path, monkeypatch):
    poison(monkeypatch, at=7, times=1)
    list(training(*data, tmp_path / "whole.h5", checkpoint_every=3))
    poison(monkeypatch, at=7, times=1)
    run = training(*data, tmp_path / "model.h5", checkpoint_every=3)
    while not next(run).event:
        pass
    run.close()
    list(training(*data, tmp_path / "model.h5", checkpoint_every=3, resume=True))
    assert_same_end(tmp_path / "model.h5", tmp_path / "whole.h5")


def test_weights_that_are_not_finite_are_never_saved(data, tmp_path, monkeypatch):
    update = Optimizer.step
    spoiled = []

    def spoil(self, **numbers):
        norm = update(self, **numbers)
        if numbers["t"] == 6 and not spoiled:
            spoiled.append(True)
            self.parameters["conv1/weight"].data[0] = np.inf
        return norm

    monkeypatch.setattr(Optimizer, "step", spoil)
    steps = list(training(*data, tmp_path / "model.h5", checkpoint_every=3))
    assert [step.step for step in steps if step.event] == [3]
    assert steps[-1].step == 12


def test_nan_that_comes_back_every_time_is_given_up_with_a_reason(data, tmp_path, monkeypatch):
    poison(monkeypatch, at=3, times=100)
    steps = []
    with pytest.raises(NanostyleError, match="style infinite or NaN at step 3, also after 5 roll-backs; use a smaller"):
        steps.extend(training(*data, tmp_path / "model.h5"))
    assert checkpoint(tmp_path / "model.h5").config["step"] == 2  # the last good state is still there
