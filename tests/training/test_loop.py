import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from nanostyle.autograd.tensor import Tensor
from nanostyle.errors import NanostyleError
from nanostyle.io.image_read import decode_image
from nanostyle.io.pictures import find_pictures
from nanostyle.io.weights import load_weights, save_weights
from nanostyle.methods.cin import add_style, train_cin
from nanostyle.methods.feedforward import train_feedforward
from nanostyle.methods.style_sheet import style_sheet
from nanostyle.models.multistyle import load_multistyle, save_model
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nn.module import parameters, state
from nanostyle.optim.optimizer import Optimizer
from nanostyle.training.checkpoint import Checkpoint
from nanostyle.training.loop import training_folder
from nanostyle.training.options import TrainOptions
from nanostyle.training.preview import hold_out
from nanostyle.training.style_task import StyleTask
from tests.support import tiny
from tests.support.paths import ROOT
from tests.support.train_tiny import training


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Folders of photos and of two styles."""
    folder = tmp_path_factory.mktemp("data")
    tiny.write_pictures(folder / "photos", 6)
    tiny.write_pictures(folder / "styles", 2, size=(36, 44), seed=1)
    return folder / "photos", folder / "styles"


@pytest.fixture(scope="session")
def finished(data, tmp_path_factory):
    """The model of an undisturbed training of 12 steps."""
    output = tmp_path_factory.mktemp("finished") / "model.h5"
    list(training(*data, output))
    return output


def checkpoint(output):
    return load_weights(training_folder(output) / "checkpoint.h5", "checkpoint")


def assert_same_end(output, other):
    """Weights, Adam's means, averages, counters: everything equal, to the bit."""
    a, b = checkpoint(output), checkpoint(other)
    assert a.config | {"options": None} == b.config | {"options": None}
    for ours, theirs in ((a.parameters, b.parameters), (a.extras, b.extras)):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            assert value.tobytes() == theirs[name].tobytes(), name
    models = load_multistyle(output), load_multistyle(other)
    for name, value in state(models[0].net).items():
        assert value.tobytes() == state(models[1].net)[name].tobytes(), name


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


def load_model_of(data, tmp_path):
    """The task of a training that has just begun."""
    held = []
    original = StyleTask.__init__

    def keep(self, *args, **options):
        original(self, *args, **options)
        held.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StyleTask, "__init__", keep)
        next(training(*data, tmp_path / "task.h5", steps=1))
    return held[0]


# --- stopping and going on ----------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [1, 4, 7, 11])
def test_a_resumed_run_ends_as_an_undisturbed_one(data, finished, tmp_path, stop):
    output = tmp_path / "model.h5"
    run = training(*data, output)
    for _ in range(stop):
        next(run)
    run.close()
    assert checkpoint(output).config["step"] == stop
    steps = list(training(*data, output, resume=True))
    assert [step.step for step in steps] == list(range(stop + 1, 13))
    assert_same_end(output, finished)
    records = [json.loads(line) for line in (tmp_path / "model.training" / "log.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records if "loss" in r] == list(range(1, 13))


def test_resume_with_nothing_to_resume_begins(data, finished, tmp_path):
    list(training(*data, tmp_path / "model.h5", resume=True))
    assert_same_end(tmp_path / "model.h5", finished)


def test_a_finished_run_can_be_made_longer(data, tmp_path):
    output = tmp_path / "model.h5"
    list(training(*data, output, steps=3))
    assert list(training(*data, output, steps=3, resume=True)) == []
    assert [step.step for step in training(*data, output, steps=5, resume=True)] == [4, 5]


def at_step(monkeypatch, step, change):
    """At that step the loss is `change(loss, terms)`: of what the pass forward has computed."""
    losses, inputs = StyleTask.losses, StyleTask.inputs
    now = []

    def watched(self, step, count):
        now[:] = [step]
        return inputs(self, step, count)

    def changed(self, photos, **options):
        found = losses(self, photos, **options)
        return change(*found) if now == [step] else found

    monkeypatch.setattr(StyleTask, "inputs", watched)
    monkeypatch.setattr(StyleTask, "losses", changed)


def stop(total, terms):
    raise KeyboardInterrupt


def test_ctrl_c_saves_and_says_how_to_go_on(data, finished, tmp_path, monkeypatch):
    output = tmp_path / "model.h5"
    at_step(monkeypatch, 5, stop)
    with pytest.raises(KeyboardInterrupt, match="training stopped after step 5") as stopped:
        list(training(*data, output))
    assert stopped.value.hint == "the same command with {resume} goes on"
    monkeypatch.undo()
    assert checkpoint(output).config["step"] == 5
    list(training(*data, output, resume=True))
    assert_same_end(output, finished)


def test_ctrl_c_within_the_update_waits_for_its_end(data, finished, tmp_path, monkeypatch):
    output = tmp_path / "model.h5"
    update = Optimizer.step

    def struck(self, **numbers):
        if numbers["t"] == 7:
            signal.raise_signal(signal.SIGINT)
        return update(self, **numbers)

    monkeypatch.setattr(Optimizer, "step", struck)
    with pytest.raises(KeyboardInterrupt, match="stopped after step 7"):
        list(training(*data, output))
    monkeypatch.undo()
    list(training(*data, output, resume=True))
    assert_same_end(output, finished)


def test_ctrl_c_between_two_steps_is_answered_by_the_training(data, finished, tmp_path):
    """Whoever reads the steps hands the interrupt on."""
    output = tmp_path / "model.h5"
    steps = training(*data, output)
    for _ in range(3):
        next(steps)
    with pytest.raises(KeyboardInterrupt, match="training stopped after step 3"):
        steps.throw(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt, match="the first"):
        steps.throw(KeyboardInterrupt("the first"))  # what the training has answered comes out as it is
    list(training(*data, output, resume=True))
    assert_same_end(output, finished)


def test_a_second_ctrl_c_does_not_disturb_what_the_first_one_saves(data, finished, tmp_path, monkeypatch):
    output = tmp_path / "model.h5"
    at_step(monkeypatch, 5, stop)
    save = Checkpoint.save

    def struck(self, position):
        if position.step == 5:
            signal.raise_signal(signal.SIGINT)
        save(self, position)

    monkeypatch.setattr(Checkpoint, "save", struck)
    with pytest.raises(KeyboardInterrupt, match="training stopped after step 5"):
        list(training(*data, output))
    monkeypatch.undo()
    list(training(*data, output, resume=True))
    assert_same_end(output, finished)


def test_an_interrupted_step_leaves_no_trace_in_running_averages(data, tmp_path, monkeypatch):
    """Batch norm moves its averages on the way forward, before the step is done."""
    photos, styles = data
    options = TrainOptions(steps=6, batch=2, size=32, width=0.125, norm="batch", preview_every=9, **tiny.LAYERS)

    def run(output, **kw):
        painting = find_pictures(styles)[0]
        return train_feedforward(find_pictures(photos), painting, tiny.loss_network(), options, output, **kw)

    list(run(tmp_path / "whole.h5"))
    at_step(monkeypatch, 3, stop)
    with pytest.raises(KeyboardInterrupt):
        list(run(tmp_path / "model.h5"))
    monkeypatch.undo()
    list(run(tmp_path / "model.h5", resume=True))
    assert_same_end(tmp_path / "model.h5", tmp_path / "whole.h5")


def kill_and_resume(data, output, kills, *, steps=12, seed=0, longest=2.5):
    """Run the training in other processes; kill all but the last of them. The moments are drawn at random."""
    command = [
        sys.executable,
        str(ROOT / "tests" / "support" / "train_tiny.py"),
        *map(str, data),
        str(output),
        str(steps),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    rng = random.Random(seed)
    reached = []
    for _ in range(kills):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        process.stdout.readline()  # from the first step on, not while Python is still starting
        time.sleep(rng.random() * longest)
        process.kill()
        reached += process.communicate()[0].split()[-1:]
    last = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stderr
    return reached


def test_kill_nine_at_random_moments_costs_steps_but_never_the_result(data, finished, tmp_path):
    output = tmp_path / "model.h5"
    kill_and_resume(data, output, kills=3, longest=0.15)
    assert_same_end(output, finished)


def test_what_a_killed_run_was_writing_is_cleared_away(data, tmp_path):
    output = tmp_path / "model.h5"
    list(training(*data, output, steps=2))
    left = ".nanostyle-unfinished-{}.x1y2z3.h5".format
    ours = [tmp_path / left("model"), training_folder(output) / left("checkpoint")]
    others = [tmp_path / left("other"), tmp_path / "model.h5"]
    for path in (*ours, others[0]):
        path.touch()
    list(training(*data, output, steps=2, resume=True))
    assert not any(path.exists() for path in ours)
    assert all(path.exists() for path in others)


def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays(data, tmp_path, monkeypatch):
    output = tmp_path / "model.h5"
    steps = training(*data, output, steps=4, checkpoint_every=2)
    next(steps)
    checkpoint = training_folder(output) / "checkpoint.h5"
    before = checkpoint.read_bytes()

    def full(path, content):
        with path.open("wb") as half:
            half.write(bytes(content)[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"cannot write .*checkpoint\.h5: No space left on device; choose another output"):
        list(steps)
    assert checkpoint.read_bytes() == before and not output.exists()
    assert not list(tmp_path.rglob(".*"))


def test_names_of_pictures_that_are_no_text(data, tmp_path):
    photos = tmp_path / "photos"
    shutil.copytree(data[0], photos)
    Path(os.fsdecode(os.fsencode(photos) + b"/bro\xe9.png")).write_bytes(b"no picture")
    list(training(photos, data[1], tmp_path / "model.h5", steps=2, preview_every=1))
    assert "bro\\udce9.png" in (tmp_path / "model.training" / "report.html").read_text()


def test_an_existing_training_is_not_overwritten_by_accident(data, tmp_path):
    output = tmp_path / "model.h5"
    list(training(*data, output, steps=2))
    before = output.read_bytes()
    with pytest.raises(FileExistsError, match=r"checkpoint.h5 exists already") as refusal:
        next(training(*data, output, steps=2))
    assert "{resume}" in refusal.value.hint and "{overwrite}" in refusal.value.hint
    assert output.read_bytes() == before
    assert [step.step for step in training(*data, output, steps=2, overwrite=True)] == [1, 2]


@pytest.mark.parametrize(("change", "name"), [({"lr": 0.5}, "lr"), ({"batch": 3}, "batch"), ({"width": 0.25}, "width")])
def test_resuming_another_training_is_refused(data, tmp_path, change, name):
    output = tmp_path / "model.h5"
    list(training(*data, output, steps=2))
    with pytest.raises(NanostyleError, match=f"cannot resume: {name} was .* in .*checkpoint.h5 and is .* now"):
        next(training(*data, output, steps=4, resume=True, **change))


def test_resuming_with_other_styles_is_refused(data, tmp_path):
    output = tmp_path / "model.h5"
    list(training(*data, output, steps=2))
    tiny.write_pictures(tmp_path / "styles", 3)
    with pytest.raises(NanostyleError, match=r"cannot resume: (styles|network) was"):
        next(training(data[0], tmp_path / "styles", output, steps=4, resume=True))


def test_a_checkpoint_of_an_older_version_goes_on(data, finished, tmp_path):
    """It lacks what that version did not know: the count of Adam's steps, the loss scale, options added since."""
    output = tmp_path / "model.h5"
    run = training(*data, output)
    for _ in range(4):
        next(run)
    run.close()
    file = checkpoint(output)
    for name in ("adam_step", "loss_scale"):
        del file.config[name]
    del file.config["options"]["grid_weight"], file.config["options"]["start_from"]
    save_weights(training_folder(output) / "checkpoint.h5", file)
    assert [step.step for step in training(*data, output, resume=True)] == list(range(5, 13))
    assert_same_end(output, finished)


def test_a_broken_checkpoint_is_a_clear_error(data, tmp_path):
    output = tmp_path / "model.h5"
    list(training(*data, output, steps=2))
    path = training_folder(output) / "checkpoint.h5"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"cannot read .*checkpoint.h5"):
        next(training(*data, output, steps=4, resume=True))


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
