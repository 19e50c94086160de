"""What the training of style prediction can be asked for besides: colors, movement, second passes, grain."""

import numpy as np
import pytest

from nanostyle.io.pictures import style_files
from nanostyle.io.weights import load_weights
from nanostyle.models.predictor import load_predictor
from nanostyle.nn.module import state
from nanostyle.training.loop import training_folder
from nanostyle.training.objective import Objective
from tests.methods.test_predict import data, finished, some_picture, task_of, training

__all__ = ["data", "finished"]  # fixtures

ALL_TERMS = {
    "palette_weight": 1.0,
    "pan_weight": 50.0,
    "second_share": 0.4,
    "grain": 1.2,
    "style_crops": 1,
    "frozen_norm": True,
}


@pytest.mark.parametrize("stop", [3, 6])
def test_a_run_with_all_that_can_be_asked_for_resumes(data, finished, tmp_path, stop):
    whole, output = tmp_path / "whole.h5", tmp_path / "any.h5"
    options = {**ALL_TERMS, "start_from": str(finished)}
    steps = list(training(data, whole, **options))
    assert {name for step in steps for name in step.terms} == {"content", "style", "palette", "grid", "photo", "pan"}
    run = training(data, output, **options)
    for _ in range(stop):
        next(run)
    run.close()
    list(training(data, output, **options, resume=True))
    ours, theirs = (load_weights(training_folder(path) / "checkpoint.h5", "checkpoint") for path in (output, whole))
    for a, b in ((ours.parameters, theirs.parameters), (ours.extras, theirs.extras)):
        assert [name for name in a if a[name].tobytes() != b[name].tobytes()] == []


def test_a_frozen_norm_keeps_its_statistics_and_a_free_one_does_not(data, finished, tmp_path):
    start = state(load_predictor(finished).net)
    statistics = [name for name in start if "running" in name]
    assert statistics
    for frozen in (False, True):
        output = tmp_path / f"{frozen}.h5"
        list(training(data, output, steps=2, start_from=str(finished), frozen_norm=frozen))
        end = state(load_predictor(output).net)
        assert all(np.array_equal(end[name], start[name]) for name in statistics) == frozen


def test_so_many_crops_of_each_painting_come_again(data):
    task = task_of(style_files([data[1]]), style_crops=2, photo_share=0.0)
    again = 2 * 7 // 3
    seen = [task.inputs(step, 3)["paintings"] for step in range(again + 2)]
    np.testing.assert_array_equal(seen[again], seen[0])
    np.testing.assert_array_equal(seen[again + 1], seen[1])
    assert (seen[1] != seen[0]).any()


def test_what_the_loss_knows_of_crops_that_come_again_is_kept(data, monkeypatch):
    task = task_of(style_files([data[1]]), style_crops=1, photo_share=0.0)
    photos = np.stack([some_picture(s, 32, 32) for s in range(3)])
    looked = []
    grams = Objective.grams
    monkeypatch.setattr(Objective, "grams", lambda self, x: looked.append(len(x)) or grams(self, x))
    values = [task.losses(photos, **task.inputs(step, 3))[0].item() for step in (0, 1, 2)]
    assert looked == [3, 3]
    assert task.losses(photos, **{**task.inputs(2, 3), "place": None})[0].item() == pytest.approx(values[2], rel=1e-5)
