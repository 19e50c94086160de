"""A batch in shards on a GPU, emulated or real: two recordings, and the exchange through the host between them."""

import contextlib
from itertools import islice

import numpy as np
import pytest

from nanostyle.backend.device import CPU, Device
from nanostyle.io.pictures import find_pictures
from nanostyle.io.weights import load_weights
from nanostyle.methods.feedforward import train_feedforward
from nanostyle.optim import loss_scale
from nanostyle.training.loop import training_folder
from nanostyle.training.options import TrainOptions
from tests.cuda_on_cpu import cuda, device, emulator
from tests.support import tiny
from tests.support.train_tiny import training

GPU = Device("cuda")
FEW = {
    "batch": 4,
    "shards": 2,
    "size": 16,
    "style_size": 24,
    "width": 0.125,
    "preview_every": 100,
    "checkpoint_every": 100,
}

pytestmark = pytest.mark.skipif(bool(emulator.no_gpu), reason=str(emulator.no_gpu))


@pytest.fixture(scope="module", autouse=True)
def built():
    emulator.build_all(emulator.VARIANTS)


@pytest.fixture(autouse=True)
def cp():
    with emulator.gpu() as module, emulator.one_order():
        yield module
    CPU.use()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    tiny.write_pictures(folder / "photos", 6)
    tiny.write_pictures(folder / "styles", 2, size=(36, 44), seed=1)
    return folder / "photos", folder / "styles"


def losses_of(steps, count=4):
    """Of the first steps; then the training is stopped, which saves it."""
    with contextlib.closing(steps):
        return [step.loss for step in islice(steps, count)]


def checkpoint_bytes(output):
    return (training_folder(output) / "checkpoint.h5").read_bytes()


def test_shards_have_the_losses_of_the_cpu(data, tmp_path):
    CPU.use()
    want = losses_of(training(*data, tmp_path / "cpu.h5", steps=99, **FEW))
    GPU.use()
    got = losses_of(training(*data, tmp_path / "gpu.h5", steps=99, **FEW, device=GPU))
    assert np.allclose(got, want, rtol=1e-3)


def test_two_trainings_and_a_resumed_one_have_the_same_bytes(data, tmp_path, monkeypatch):
    monkeypatch.setattr(loss_scale, "FIRST_SCALE", 2.0**4)
    Device("cuda", "fp16").use()

    def run(name, **more):
        return training(*data, tmp_path / name, steps=99, **FEW, device=GPU, **more)

    losses_of(run("a.h5"))
    losses_of(run("b.h5"), 2)
    losses_of(run("b.h5", resume=True), 2)
    assert checkpoint_bytes(tmp_path / "a.h5") == checkpoint_bytes(tmp_path / "b.h5")


@pytest.mark.skipif(emulator.REAL, reason="the stand-in sees who waits for it")
def test_a_step_is_one_recording_a_shard_and_one_for_the_update(data, tmp_path, monkeypatch):
    GPU.use()
    seen = []
    for module in (device, cuda):
        monkeypatch.setattr(module, "synchronized", seen.append)
    with contextlib.closing(training(*data, tmp_path / "a.h5", steps=99, **FEW | {"ema": 0.9}, device=GPU)) as steps:
        for _ in range(6):  # then all kinds of shards have been recorded
            seen.clear()
            next(steps)
        of_a_step = seen.copy()
    assert of_a_step.count("a graph launched") == 3
    assert of_a_step.count("get()") == 2  # the gradient of each shard; what follows is known on the host


def test_running_averages_move_once_a_step_by_the_mean_of_the_shards(data, tmp_path):
    photos, styles = map(find_pictures, data)
    options = TrainOptions(steps=2, norm="batch", lr=1e-6, **FEW, **tiny.LAYERS)

    def end(device):
        device.use()
        output = tmp_path / f"{device}.h5"
        list(train_feedforward(photos, styles[0], tiny.loss_network(device=device), options, output, device=device))
        return load_weights(training_folder(output) / "checkpoint.h5", "checkpoint").parameters

    cpu, gpu = end(CPU), end(GPU)
    averages = [name for name in cpu if "running" in name]
    assert averages
    for name in averages:
        assert np.allclose(gpu[name], cpu[name], rtol=0.01, atol=1e-4), name
