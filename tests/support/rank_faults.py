"""nanostyle with a fault: `python rank_faults.py FAULT WORDS...`, under mpiexec or alone.

nan: one shard's loss is NaN, once. gpu: rank 0 alone finds a GPU. late: every rank takes a quarter of a second longer
for each shard: whoever waits for a step of the training comes before its end. On rank 1 alone: `bit`, a weight changes
in its last bit; `fault`, an exception; `slow`, it takes a second longer for each shard.
"""

import sys
import time

import numpy as np

from nanostyle.__main__ import main
from nanostyle.backend import device
from nanostyle.backend.comm.launch import launch
from nanostyle.cli import runtime
from nanostyle.errors import NanostyleError
from nanostyle.optim.optimizer import Optimizer
from nanostyle.training.predict_task import PredictTask
from nanostyle.training.style_task import StyleTask

# The third shard of step 5, and the last step, of the trainings of `support/ranks.py`; longer ones have one NaN more.
SHARD, LATER, LAST_STEP = 18, 50, 6


def nan_at(numbers, task):
    inputs, losses = task.inputs, task.losses
    left, now = set(numbers), []

    def watched(self, number, count):
        now[:] = [number]
        return inputs(self, number, count)

    def changed(self, photos, **options):
        loss, terms = losses(self, photos, **options)
        if left.intersection(now):
            left.difference_update(now)
            loss = loss * np.float32(np.nan)
        return loss, terms

    task.inputs, task.losses = watched, changed


def bit_of_a_weight():
    count = Optimizer.count

    def changed(self, norm):
        taken = count(self, norm)
        if self.t == LAST_STEP:
            weight = next(iter(self.parameters.values())).data
            weight.flat[0] = np.nextafter(weight.flat[0], np.float32(9))
        return taken

    Optimizer.count = changed


def exception():
    inputs = StyleTask.inputs

    def failing(self, step, count):
        if step >= SHARD:
            raise RuntimeError("planted")
        return inputs(self, step, count)

    StyleTask.inputs = failing


def slow(seconds=1.0):
    inputs = StyleTask.inputs

    def late(self, step, count):
        time.sleep(seconds)
        return inputs(self, step, count)

    StyleTask.inputs = late


def gpu_of_rank_0():
    def picked(wish, precision):
        if launch().rank:
            raise NanostyleError("device: no GPU here")
        return device.CPU

    runtime.pick_device = picked
    device.Device.is_gpu = property(lambda self: True)


if __name__ == "__main__":
    fault = sys.argv.pop(1)
    if fault == "nan":
        for task in (StyleTask, PredictTask):
            nan_at((SHARD, LATER), task)
    elif fault == "gpu":
        gpu_of_rank_0()
    elif fault == "late":
        slow(0.25)
    elif launch().rank == 1:
        {"bit": bit_of_a_weight, "fault": exception, "slow": slow}[fault]()
    main()
