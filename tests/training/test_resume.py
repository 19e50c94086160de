"""A training that was stopped, killed or broken off ends as an undisturbed one."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nanostyle.errors import NanostyleError
from nanostyle.io.pictures import find_pictures
from nanostyle.io.weights import save_weights
from nanostyle.methods.feedforward import train_feedforward
from nanostyle.optim.optimizer import Optimizer
from nanostyle.training.checkpoint import Checkpoint
from nanostyle.training.loop import training_folder
from nanostyle.training.options import TrainOptions
from tests.support import tiny
from tests.support.endings import assert_same_end, at_step, checkpoint
from tests.support.paths import ROOT
from tests.support.train_tiny import training

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


def test_a_network_is_told_by_its_contents_not_by_its_name(data, tmp_path):
    output, copy = tmp_path / "model.h5", tmp_path / "elsewhere" / "copy.h5"
    copy.parent.mkdir()
    for path in (tmp_path / "loss.h5", copy):
        path.write_bytes(b"a network")
    named = {"loss_net": str(tmp_path / "loss.h5")}
    list(training(*data, output, steps=2, **named))
    list(training(*data, output, steps=3, resume=True, loss_net=str(copy)))
    (tmp_path / "loss.h5").write_bytes(b"another")
    with pytest.raises(NanostyleError, match="cannot resume: loss_net was"):
        next(training(*data, output, steps=4, resume=True, **named))


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
