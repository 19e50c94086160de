"""Steps of a training that a test changes, what a training has left, and whether two have left the same."""

import pytest

from nanostyle.io.weights import load_weights
from nanostyle.models.multistyle import load_multistyle
from nanostyle.nn.module import state
from nanostyle.training.loop import training_folder
from nanostyle.training.style_task import StyleTask
from tests.support.train_tiny import training


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
