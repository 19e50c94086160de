"""A small training that can be killed: `python train_tiny.py PHOTOS STYLES OUTPUT [STEPS]` trains, or goes on.

For `tests/training/test_loop.py` and `bench/robustness/kill_nine.py`. It writes a checkpoint every other step, so that
a kill often meets one.
"""

import sys
from pathlib import Path

from nanostyle.backend.device import CPU
from nanostyle.backend.threads import set_threads
from nanostyle.io.pictures import find_pictures
from nanostyle.methods.cin import train_cin
from nanostyle.training.options import TrainOptions
from tests.support import tiny

OPTIONS = {
    "batch": 2,
    "size": 32,
    "width": 0.125,
    "ema": 0.9,
    "preview_every": 5,
    "checkpoint_every": 2,
    **tiny.LAYERS,
}


def training(photos, styles, output, *, steps=12, **options):
    """The steps of a training of two styles; `options` are those of TrainOptions and of `train_cin`."""
    chosen = {k: options.pop(k) for k in list(options) if k in TrainOptions.__dataclass_fields__}
    paintings = {path.stem: path for path in find_pictures(styles)}
    settings = TrainOptions(**{**OPTIONS, "steps": steps, **chosen})
    network = tiny.loss_network(device=options.get("device", CPU))
    return train_cin(find_pictures(photos), paintings, network, settings, output, **options)


if __name__ == "__main__":
    set_threads(1)
    photos, styles, output = map(Path, sys.argv[1:4])
    for step in training(photos, styles, output, steps=int(sys.argv[4]), resume=True):
        sys.stdout.write(f"{step.step}\n")
        sys.stdout.flush()
