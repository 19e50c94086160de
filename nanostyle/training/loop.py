"""The training loop, one for all kinds of training.

Beside the model `NAME.h5` a training keeps a folder `NAME.training`: checkpoint, log, previews, report.
"""

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from nanostyle.backend.comm.wish import StopWish
from nanostyle.backend.comm.world import world
from nanostyle.backend.device import CPU, Device, ahead, precision
from nanostyle.backend.memory import check_memory
from nanostyle.backend.types import Array
from nanostyle.errors import NanostyleError
from nanostyle.nn.module import is_style_parameter, parameters
from nanostyle.optim.loss_scale import LossScale
from nanostyle.optim.optimizer import Optimizer
from nanostyle.training.agreement import check_same_work, settle
from nanostyle.training.batches import Pictures, decoders
from nanostyle.training.checkpoint import CHECKPOINT, Position, options_as_json, shards_in
from nanostyle.training.files import TrainingFiles
from nanostyle.training.interrupt import WholeStep, stopped, uninterrupted
from nanostyle.training.options import TrainOptions
from nanostyle.training.preview import hold_out
from nanostyle.training.shards import Shards, check_shards, numbers_from
from nanostyle.training.steps import WholeBatch
from nanostyle.training.task import Task

_MOST_ROLL_BACKS = 5


@dataclass(frozen=True)
class TrainingStep:
    """Where the training stands after a step.

    Attributes
    ----------
    step, steps : int
        Steps done and steps planned.
    loss : float
        The sum of the terms.
    terms : dict
        Each term of the loss by its name, weighted.
    rate : float
        The learning rate of the step.
    gradient : float
        The norm of the gradient before clipping.
    seconds : float
        The duration of the step.
    skipped : mapping
        The pictures that could not be used so far, each with the reason.
    preview : Path or None
        The contact sheet, if one was made after this step.
    event : str
        A roll-back in words; empty if there was none.
    """

    step: int
    steps: int
    loss: float
    terms: dict[str, float]
    rate: float
    gradient: float
    seconds: float
    skipped: Mapping[Path, str] = field(default_factory=dict, repr=False)
    preview: Path | None = None
    event: str = ""


def training_folder(output: Path) -> Path:
    """The folder in which the training of the model `output` keeps its checkpoint, log, previews and report.

    >>> training_folder(Path("models/wave.h5")).name
    'wave.training'
    """
    return output.with_suffix(".training")


def with_shards(options: TrainOptions, output: Path, *, resume: bool) -> TrainOptions:
    """`options` with a number of shards, where they leave it open: the checkpoint's to resume, else one a rank."""
    file = training_folder(output) / CHECKPOINT

    def known() -> int:
        return shards_in(file) if resume and file.exists() else world().size

    return options if options.shards else replace(options, shards=world().first(known))


def train(
    task: Task,
    photos: Sequence[Path],
    options: TrainOptions,
    output: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    device: Device = CPU,
) -> Generator[TrainingStep, None, None]:
    """Train `task.net` on `photos` and write the model to `output`; yields a `TrainingStep` after each step.

    The model is written with every checkpoint but the first. A loss or gradient that is infinite or NaN rolls the
    training back to the last checkpoint, and the learning rate is halved. Closing the iterator saves what has been
    reached, and so does Ctrl-C.

    Parameters
    ----------
    task
        What is trained, and its loss.
    photos
        Picture files. A few are kept for previews if there are thirty or more.
    output
        The model file, `NAME.h5`.
    resume
        Go on from the checkpoint, if there is one.
    overwrite
        Replace a model and a training that exist.
    device
        Where the network is.

    Raises
    ------
    FileExistsError
        A checkpoint exists, and neither `resume` nor `overwrite` is set; or a model alone exists, and not `overwrite`.
    ValueError
        The output is not called `NAME.h5`.
    OSError
        The folder or a file in it cannot be written.
    NanostyleError
        The checkpoint is of another training; no photo can be used; the GPU has too little memory; the loss is infinite
        or NaN again after 5 roll-backs.
    KeyboardInterrupt
        Ctrl-C came. Its message names the last step.
    """
    loop = _Loop(task, photos, options, output, device)
    with loop.wish.heeded():
        loop.begin(resume=resume, overwrite=overwrite)
        try:
            yield from loop.steps()
        except KeyboardInterrupt:
            loop.stop()
            raise stopped(loop.position.step) from None
        except GeneratorExit:
            loop.stop()
            raise
        finally:
            loop.log.close()


class _Loop:
    def __init__(self, task: Task, photos: Sequence[Path], options: TrainOptions, output: Path, device: Device) -> None:
        check_shards(options, task.net)
        self.task, self.photos, self.options, self.device = task, photos, options, device
        shown, learned = hold_out(photos)
        self.pictures = Pictures(
            learned, batch=options.shard_size, size=options.size, seed=options.seed, workers=decoders(device)
        )
        self.optimizer = _optimizer(task.net, options)
        self.position = Position(task.net, self.optimizer, device)
        folder = training_folder(output)
        self.files = TrainingFiles(task, options, output, folder, shown, writes=world().is_first)
        self.log = self.files.log
        self.elsewhere: dict[Path, str] = {}  # what other ranks have skipped
        self.computing = 0.0  # seconds of this rank since the last checkpoint
        self.wish = StopWish(world())
        self.whole = WholeStep(task.net)
        self.batch = self.new_batch()
        self.stopped = False

    def begin(self, *, resume: bool, overwrite: bool) -> None:
        """Go on from the checkpoint, or write the first one. All ranks start from what rank 0 has."""
        described = {"device": str(self.device), "precision": self.device.precision, **self.task.describe()}
        check_same_work(options_as_json(self.options) | described, self.photos)
        resumed = world().first(lambda: self.files.prepare(self.position, resume=resume, overwrite=overwrite))
        if resumed or world().size > 1:
            self.restore(check=resumed)
        self.log.rewind(self.position.step if resumed else -1)

    def restore(self, *, check: bool = False) -> None:
        """Return to the checkpoint."""
        self.files.checkpoint.restore(self.position, check=check)
        self.batch = self.new_batch()

    def new_batch(self) -> WholeBatch | Shards:
        """What takes a batch's steps, on the arrays that network and optimizer have now."""
        how = self.task, self.optimizer, self.whole, self.device
        if self.options.parts == 1:
            return WholeBatch(*how)
        return Shards(*how, shards=self.options.parts, wish=self.wish, save=self.stop)

    # --- steps --------------------------------------------------------------------------------------------

    def steps(self) -> Generator[TrainingStep, None, None]:
        """Train to the last step."""
        size = (self.options.shard_size * self.options.size, self.options.size)
        check_memory(self.device, size, self.task.bytes_per_pixel(), "a smaller {batch} or {size}")
        position, last, shards = self.position, self.options.steps, self.options.parts
        if position.step >= last:
            self.files.save(position)  # nothing to train, but a model to write
        while position.step < last:
            photos = self.pictures.batches(numbers_from(position.step * shards, shards))
            with closing(photos) as batches, closing(ahead(batches, self.device)) as coming:
                while True:
                    done = self.advance(coming)
                    yield done
                    if done.event or position.step == last:
                        break  # after a roll-back the photos begin again where the checkpoint stands

    def advance(self, photos: Iterator[Array]) -> TrainingStep:
        """Take a step, and write what is due after it: checkpoint, preview, report."""
        options, position, start = self.options, self.position, time.perf_counter()
        rate = options.lr * position.lr_factor * options.lr_decay ** (position.step / options.steps)
        with self.whole, np.errstate(over="ignore", invalid="ignore"):  # values that are not finite are looked for
            loss, gradient, terms = self.batch.take(photos, position.step, rate)
            scaled = self.optimizer.loss_scale.value > 1
            if not np.isfinite(loss) or not (np.isfinite(gradient) or scaled):
                return self.roll_back(loss, terms, rate, gradient)
            self.optimizer.count(gradient)
            position.step += 1
        last = position.step == options.steps
        save = last or position.step % options.checkpoint_every == 0
        if save and not position.is_finite():
            return self.roll_back(loss, terms, rate, gradient)
        record = {"step": position.step, "loss": loss, "terms": terms, "rate": rate, "gradient": gradient}
        spent = self.batch.spent()
        self.log.append({**record, "seconds": round(time.perf_counter() - start, 4), **spent})
        self.computing += spent.get("computing", 0.0)
        if save:
            position.roll_backs = 0
            self.settle()
            self.files.save(position)
        due = last or position.step % options.preview_every == 0
        preview = self.files.preview(position, self.skipped()) if due else None
        seconds = time.perf_counter() - start
        return TrainingStep(position.step, options.steps, loss, terms, rate, gradient, seconds, self.skipped(), preview)

    def roll_back(self, loss: float, terms: Mapping[str, float], rate: float, gradient: float) -> TrainingStep:
        """Return to the last checkpoint and halve the learning rate."""
        position = self.position
        where, factor, roll_backs = position.step, position.lr_factor, position.roll_backs + 1
        bad = " and ".join([name for name, value in terms.items() if not np.isfinite(value)] or ["gradient"])
        if roll_backs > _MOST_ROLL_BACKS:
            raise NanostyleError(
                f"training: {bad} infinite or NaN at step {where}, also after {_MOST_ROLL_BACKS} roll-backs",
                hint=f"use a smaller {{lr}} (it was {self.options.lr * factor:.3g}) or smaller weights",
            )
        self.restore()
        position.roll_backs, position.lr_factor = roll_backs, factor / 2
        self.files.save(position)
        event = f"{bad} infinite or NaN at step {where}: back to step {position.step}, half the rate"
        self.log.rewind(position.step)
        self.log.append({"step": position.step, "event": event})
        return TrainingStep(
            position.step, self.options.steps, loss, dict(terms), rate, gradient, 0.0, self.skipped(), event=event
        )

    def settle(self) -> None:
        """See to it that all ranks stand at the same, and note what is amiss."""
        events, self.elsewhere = settle(self.position, self.computing, self.skipped())
        self.computing = 0.0
        for event in events:
            self.log.append({"step": self.position.step, "event": event})

    def stop(self) -> None:
        """Save the last whole step, once."""
        if not self.stopped:
            with uninterrupted():
                self.files.save(self.position)
            self.stopped = True

    def skipped(self) -> dict[Path, str]:
        """The pictures that could not be used so far: photos, and those of the task."""
        return {**self.pictures.skipped, **self.task.skipped, **self.elsewhere}


def _optimizer(net: object, options: TrainOptions) -> Optimizer:
    """The optimizer of all parameters of `net` that want a gradient."""
    trained = {name: p for name, p in parameters(net).items() if p.requires_grad}
    for parameter in trained.values():
        parameter.data = parameter.data.copy()  # those from a model file are read-only
    return Optimizer(
        trained,
        max_norm=options.clip,
        lr_factors={name: options.norm_rate for name in trained if is_style_parameter(name)},
        ema=options.ema,
        loss_scale=LossScale(adapts=precision() == "fp16"),
    )
