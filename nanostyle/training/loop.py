"""The training loop, one for all kinds of training.

Beside the model `NAME.h5` a training keeps a folder `NAME.training`: checkpoint, log, previews, report.
"""

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nanostyle.backend.device import CPU, Device, ahead, module_of, precision, repeated, to_host
from nanostyle.backend.memory import check_memory
from nanostyle.backend.types import Array, Number
from nanostyle.errors import NanostyleError, with_hint
from nanostyle.io.atomic import check_target, remove_unfinished
from nanostyle.nn.module import is_style_parameter, parameters
from nanostyle.optim.loss_scale import LossScale
from nanostyle.optim.optimizer import Optimizer
from nanostyle.training.batches import Pictures, decoders
from nanostyle.training.checkpoint import Checkpoint, Position, options_as_json
from nanostyle.training.interrupt import WholeStep, stopped, uninterrupted
from nanostyle.training.options import TrainOptions
from nanostyle.training.preview import Previews, hold_out
from nanostyle.training.report import Log, write_report
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
        self.task, self.options, self.output, self.device = task, options, output, device
        self.folder = training_folder(output)
        shown, learned = hold_out(photos)
        self.pictures = Pictures(
            learned, batch=options.batch, size=options.size, seed=options.seed, workers=decoders(device)
        )
        self.optimizer = _optimizer(task.net, options)
        self.position = Position(task.net, self.optimizer, device)
        self.checkpoint = Checkpoint(self.folder / "checkpoint.h5", task, options)
        self.previews = Previews(self.folder, shown, options.size)
        self.log = Log(self.folder / "log.jsonl")
        self.whole = WholeStep(task.net)
        self.work = repeated(self.compute, device)

    def begin(self, *, resume: bool, overwrite: bool) -> None:
        """Go on from the checkpoint, or write the first one."""
        exists = self.checkpoint.path.exists()
        _check_output(self.output, self.checkpoint.path, resume=resume, overwrite=overwrite)
        self.folder.mkdir(parents=True, exist_ok=True)
        check_target(self.output, overwrite=True)
        remove_unfinished(self.folder)
        remove_unfinished(self.output.parent, self.output.name)
        if resume and exists:
            self.checkpoint.restore(self.position, check=True)
            self.log.rewind(self.position.step)
        else:
            self.previews.clear()
            self.checkpoint.save(self.position)
            self.log.rewind(-1)

    # --- steps --------------------------------------------------------------------------------------------

    def steps(self) -> Generator[TrainingStep, None, None]:
        """Train to the last step."""
        size = (self.options.batch * self.options.size, self.options.size)
        check_memory(self.device, size, self.task.bytes_per_pixel(), "a smaller {batch} or {size}")
        position, last = self.position, self.options.steps
        if position.step >= last:
            self.save()  # nothing to train, but a model to write
        while position.step < last:
            photos = self.pictures.batches(position.step)
            with closing(photos) as batches, closing(ahead(batches, self.device)) as coming:
                for batch in coming:
                    done = self.advance(batch)
                    yield done
                    if done.event or position.step == last:
                        break  # after a roll-back the photos begin again where the checkpoint stands

    def advance(self, photos: Array) -> TrainingStep:
        """Take a step, and write what is due after it: checkpoint, preview, report."""
        options, position, start = self.options, self.position, time.perf_counter()
        rate = options.lr * position.lr_factor * options.lr_decay ** (position.step / options.steps)
        with self.whole, np.errstate(over="ignore", invalid="ignore"):  # values that are not finite are looked for
            inputs = self.task.inputs(position.step, len(photos))
            if self.device.is_gpu:
                self.whole.hold()  # a recorded step is launched as a whole
            names, values = self.work(photos, **self.optimizer.numbers(rate), **inputs)
            loss, gradient, *numbers = to_host(values).tolist()
            terms = dict(zip(names, numbers, strict=True))
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
        self.log.append({**record, "seconds": round(time.perf_counter() - start, 4)})
        if save:
            position.roll_backs = 0
            self.save()
        preview = self.preview() if last or position.step % options.preview_every == 0 else None
        seconds = time.perf_counter() - start
        return TrainingStep(position.step, options.steps, loss, terms, rate, gradient, seconds, self.skipped(), preview)

    def compute(self, photos: Array, *, lr: Number, t: Number, scale: Number, **inputs: Any) -> tuple[list[str], Array]:
        """Forward, backward, update; recorded on a GPU.

        Returns the names of the terms; the values of the loss, of the gradient's norm, and of the terms.
        """
        loss, terms = self.task.losses(photos, **inputs)
        xp = module_of(loss.data)
        loss.backward(xp.asarray(scale, loss.data.dtype))
        # Here each `.grad` is that of this process's photos, times the scale, not clipped yet.
        self.whole.hold()
        norm = self.optimizer.step(lr=lr, t=t, scale=scale)
        return list(terms), xp.stack([loss.data, norm, *(term.data for term in terms.values())])

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
        self.checkpoint.restore(position)
        self.work = repeated(self.compute, self.device)  # a recording works on arrays that are no longer in use
        position.roll_backs, position.lr_factor = roll_backs, factor / 2
        self.save()
        event = f"{bad} infinite or NaN at step {where}: back to step {position.step}, half the rate"
        self.log.rewind(position.step)
        self.log.append({"step": position.step, "event": event})
        return TrainingStep(
            position.step, self.options.steps, loss, dict(terms), rate, gradient, 0.0, self.skipped(), event=event
        )

    def stop(self) -> None:
        """Save the last whole step."""
        with uninterrupted():
            self.save()

    # --- what is written ----------------------------------------------------------------------------------

    def save(self) -> None:
        """Write the checkpoint, then the model."""
        self.checkpoint.save(self.position)
        options = options_as_json(self.options)
        # A model travels: the file names of what it was trained with go along, their folders do not.
        named = {name: Path(options[name]).name for name in ("loss_net", "backbone", "start_from")}
        with self.optimizer.averaged():
            self.task.save(self.output, {"options": options | named, "steps": self.position.step})

    def preview(self) -> Path:
        """Draw the contact sheet; write the losses of each style into the log, and the report."""
        step = self.position.step
        with self.optimizer.averaged():
            path, losses = self.previews.draw(self.task, step)
        self.log.append({"step": step, "styles": losses})
        write_report(
            self.folder / "report.html",
            title=f"Training of {self.output.name}",
            records=self.log.records,
            previews=self.previews.for_report(step),
            options=asdict(self.options) | self.task.describe(),
            skipped=self.skipped(),
        )
        return path

    def skipped(self) -> dict[Path, str]:
        """The pictures that could not be used so far: photos, and those of the task."""
        return {**self.pictures.skipped, **self.task.skipped}


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


def _check_output(output: Path, checkpoint: Path, *, resume: bool, overwrite: bool) -> None:
    """Raise unless a training may write there."""
    if output.suffix != ".h5":
        raise ValueError(f"output: expected the name of a model, MODEL.h5, got {output}")
    if checkpoint.exists() and not (resume or overwrite):
        hint = "use {resume} to go on with it, {overwrite} to begin anew, or another {output}"
        raise with_hint(FileExistsError(f"{checkpoint} exists already"), hint)
    if output.exists() and not (overwrite or checkpoint.exists()):
        hint = "use {overwrite} to replace it, or another {output}"
        raise with_hint(FileExistsError(f"{output} exists already"), hint)
