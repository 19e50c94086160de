"""The training loop, one for all modes, and its checkpoints.

Beside the model `NAME.h5` a training keeps a folder `NAME.training`: the checkpoint, the log, the previews, the
report. All that is random follows from the seed and the number of the step, so a checkpoint of the weights, Adam's
means and the step is enough to go on exactly as if nothing had happened.
"""

import re
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from nanostyle.autograd.tensor import Tensor
from nanostyle.backend.device import CPU, Device, ahead, module_of, precision, repeated, to_device, to_host
from nanostyle.backend.memory import check_memory
from nanostyle.backend.types import Array, Number, Pixels
from nanostyle.errors import NanostyleError
from nanostyle.io.atomic import check_target, remove_unfinished
from nanostyle.io.image_read import load_image
from nanostyle.io.image_write import save_image, thumbnail_jpeg
from nanostyle.io.pictures import samples
from nanostyle.io.weights import WeightFile, load_weights, save_weights
from nanostyle.nn.module import buffers, is_style_parameter, parameters, set_state, state
from nanostyle.optim.adam import Adam, average_steps, clip_grad_norm
from nanostyle.optim.loss_scale import LossScale
from nanostyle.training.batches import Pictures, decoders
from nanostyle.training.options import FREE_ON_RESUME, TrainOptions
from nanostyle.training.report import Log, write_report

_KIND = "checkpoint"
_PREVIEW_PHOTOS = 3
_PREVIEWS_IN_REPORT = 6
_MOST_SETBACKS = 5


class Task(Protocol):
    """What a mode brings to the loop."""

    net: Any
    """Holds the parameters; those that want a gradient are trained."""
    skipped: dict[Path, str]
    """Pictures of its own that could not be used so far, each with the reason."""

    def describe(self) -> dict[str, Any]:
        """What is trained: JSON values. A checkpoint of another description is refused."""

    def inputs(self, step: int, count: int) -> dict[str, Any]:
        """What the loss of the `count` photos of `step` depends on besides them: arrays of the host, and constants."""

    @property
    def losses(self) -> Callable[..., tuple[Tensor, dict[str, Tensor]]]:
        """From a batch of photos and `inputs` to its loss and terms; keeps to what `gpu.graph.Repeated` asks for."""

    def bytes_per_pixel(self) -> float:
        """What a step takes of a GPU's memory, for each pixel of the photos."""

    def preview(self, photos: Sequence[Pixels]) -> tuple[Pixels, dict[str, dict[str, float]]]:
        """A contact sheet, and the content and style loss by the style's name."""

    def save(self, path: Path, recipe: dict[str, Any]) -> None:
        """Write the model as it is now."""


@dataclass(frozen=True)
class Step:
    """Where the training stands after a step.

    Attributes
    ----------
    step, steps : int
        Steps done and steps planned.
    loss : float
        The sum of the terms.
    terms : dict
        Each term of the loss, weighted.
    rate, gradient : float
        Adam's rate, and the length of the gradient before it is clipped.
    seconds : float
        What the step took.
    skipped : mapping
        The pictures that could not be used so far, each with the reason.
    preview : Path or None
        The contact sheet, where one was made after this step.
    event : str
        What happened besides, in words: a roll-back.
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
    """Where the training of the model `output` keeps its checkpoint, log, previews and report."""
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
) -> Generator[Step, None, None]:
    """Train `task.net` on `photos` and write the model to `output`; yields a `Step` after each step.

    The model is written with every checkpoint but the first. A loss that is not a finite number sends the training back
    to the last checkpoint, at half the rate. Closing the iterator, or Ctrl-C, saves what has been reached. `resume`
    goes on from the checkpoint, if there is one.

    Raises
    ------
    FileExistsError
        There is a checkpoint already, and neither `resume` nor `overwrite`; or a model alone, and not `overwrite`.
    ValueError
        The output is not called MODEL.h5.
    NanostyleError
        The checkpoint is of another training; no photo is usable; the loss stays infinite or NaN after 5 roll-backs.
    KeyboardInterrupt
        Ctrl-C; its message says how to go on.
    """
    run = _Run(task, photos, options, output, device)
    run.begin(resume=resume, overwrite=overwrite)
    try:
        yield from run.steps()
    except KeyboardInterrupt:
        run.interrupted()
        raise KeyboardInterrupt(
            f"training stopped after step {run.step}; the same command with --resume goes on"
        ) from None
    except GeneratorExit:
        run.interrupted()
        raise
    finally:
        run.log.close()


class _Run:
    def __init__(self, task: Task, photos: Sequence[Path], options: TrainOptions, output: Path, device: Device) -> None:
        self.task, self.options, self.output, self.device = task, options, output, device
        self.folder = training_folder(output)
        self.checkpoint = self.folder / "checkpoint.h5"
        held_out, rest = _hold_out(photos)
        self.preview_files = held_out
        self.pictures = Pictures(
            rest, batch=options.batch, size=options.size, seed=options.seed, workers=decoders(device)
        )

        self.trained = {name: p for name, p in parameters(task.net).items() if p.requires_grad}
        for parameter in self.trained.values():
            parameter.data = parameter.data.copy()  # what a model file gave is read-only
        norms = {name: p for name, p in self.trained.items() if is_style_parameter(name)}
        kernels = {name: p for name, p in self.trained.items() if name not in norms}
        # Each with what the rate is multiplied by.
        self.adams = [(Adam(kernels), 1.0), (Adam(norms), options.norm_rate)]
        self.average = {name: p.data.copy() for name, p in self.trained.items()} if options.ema else {}
        self.scale = LossScale(adapts=precision() == "fp16")
        self.work = repeated(self.take, device)
        self.step = 0
        self.rate = 1.0  # times the rate of the options: halved by every setback
        self.setbacks = 0  # since the last checkpoint
        self.before: dict[str, Array] = {}  # the buffers before the current step

    # --- the loop -----------------------------------------------------------------------------------------

    def steps(self) -> Generator[Step, None, None]:
        """Train to the last step."""
        size = (self.options.batch * self.options.size, self.options.size)
        check_memory(self.device, size, self.task.bytes_per_pixel(), "a smaller {batch} or {size}")
        if self.step >= self.options.steps:
            self.save()  # nothing to train, but a model to write
        while self.step < self.options.steps:
            with closing(self.pictures.batches(self.step)) as batches, closing(ahead(batches, self.device)) as coming:
                for batch in coming:
                    done = self.advance(batch)
                    yield done
                    if done.event or self.step == self.options.steps:
                        break  # after a setback the photos begin again where the checkpoint stands

    def advance(self, photos: Array) -> Step:
        """One step: forward, backward, update; then what is due: checkpoint, preview, report."""
        options, start = self.options, time.perf_counter()
        self.before = {name: value.copy() for name, value in buffers(self.task.net).items()}
        rate = options.lr * self.rate * options.lr_decay ** (self.step / options.steps)
        scale, t = self.scale.value, float(self.adams[0][0].t + 1)
        with _Whole() as self.whole, np.errstate(over="ignore", invalid="ignore"):  # not finite: see below
            inputs = self.task.inputs(self.step, len(photos))
            if self.device.is_gpu:
                self.whole.begin()  # a recorded step goes off in one piece
            names, values = self.work(photos, scale=scale, rate=rate, t=t, **inputs)
            value, norm, *parts = to_host(values).tolist()
            terms = dict(zip(names, parts, strict=True))
            finite = bool(np.isfinite(norm))
            if not np.isfinite(value) or not (finite or scale > 1):
                return self.setback(value, terms, norm)
            self.scale.update(finite)
            for adam, _ in self.adams:
                adam.t += finite  # a step that was not taken does not count
            self.step += 1
            self.before = {}
        last = self.step == options.steps
        due_checkpoint = last or self.step % options.checkpoint_every == 0
        due_preview = last or self.step % options.preview_every == 0
        if due_checkpoint and not self.healthy():
            return self.setback(value, terms, norm)
        record = {"step": self.step, "loss": value, "terms": terms, "rate": rate, "gradient": norm}
        self.log.append({**record, "seconds": round(time.perf_counter() - start, 4)})
        if due_checkpoint:
            self.setbacks = 0
            self.save()
        preview = self.preview() if due_preview else None
        seconds = time.perf_counter() - start
        return Step(self.step, options.steps, value, terms, rate, norm, seconds, self.skipped(), preview)

    def take(self, photos: Array, *, scale: Number, rate: Number, t: Number, **inputs: Any) -> tuple[list[str], Array]:
        """Take a step, Adam's number `t`, with the gradient of `scale`·loss; not where that is not finite.

        Returns the names of the terms; the values of the loss, of the length of its gradient, and of the terms.
        """
        loss, terms = self.task.losses(photos, **inputs)
        xp = module_of(loss.data)
        loss.backward(xp.asarray(scale, loss.data.dtype))
        self.whole.begin()
        found = [p.grad for p in self.trained.values() if p.grad is not None]
        norm, factor = clip_grad_norm(found, max_norm=self.options.clip, scale=scale)
        self.update(rate, t, factor)
        return list(terms), xp.stack([loss.data, norm, *(term.data for term in terms.values())])

    def skipped(self) -> dict[Path, str]:
        """The pictures that could not be used so far, photos and others."""
        return self.pictures.skipped | self.task.skipped

    def update(self, rate: Number, t: Number, factor: Number) -> None:
        """Adam's step number `t`, with the gradients times `factor`, and the running average."""
        for adam, times in self.adams:
            adam.move(rate * times, t, factor)
        if self.average:
            # At first the plain mean of all steps: the random start is forgotten at once.
            weight = module_of(t).maximum(1 - self.options.ema, 1 / t)
            trained = [self.trained[name].data for name in self.average]
            average_steps(list(self.average.values()), trained, weight=weight, factor=factor)

    def healthy(self) -> bool:
        """Whether all that a checkpoint would hold is finite."""
        return all(bool(module_of(x).isfinite(x).all()) for x in state(self.task.net).values())

    def setback(self, loss: float, terms: Mapping[str, float], norm: float) -> Step:
        """Back to the last checkpoint, at half the rate."""
        where = self.step
        bad = [name for name, value in terms.items() if not np.isfinite(value)] or ["gradient"]
        setbacks, rate = self.setbacks + 1, self.rate / 2
        if setbacks > _MOST_SETBACKS:
            raise NanostyleError(
                f"training: {' and '.join(bad)} infinite or NaN at step {where}, also after {_MOST_SETBACKS}"
                f" roll-backs; use a smaller --lr (it was {self.options.lr * self.rate:.3g}) or smaller weights"
            )
        self.restore(load_weights(self.checkpoint, _KIND))
        self.setbacks, self.rate = setbacks, rate
        self.save()
        event = f"{' and '.join(bad)} infinite or NaN at step {where}: back to step {self.step}, half the rate"
        self.log.rewind(self.step)
        self.log.append({"step": self.step, "event": event})
        return Step(self.step, self.options.steps, loss, dict(terms), rate, norm, 0.0, self.skipped(), event=event)

    # --- what is written ----------------------------------------------------------------------------------

    def begin(self, *, resume: bool, overwrite: bool) -> None:
        """Go on from the checkpoint, or make the first one."""
        if self.output.suffix != ".h5":
            raise ValueError(f"output: expected the name of a model, MODEL.h5, got {self.output}")
        resume = resume and self.checkpoint.exists()
        if self.output.exists() and not (overwrite or self.checkpoint.exists()):
            raise FileExistsError(f"{self.output} exists already; pass --overwrite to replace it, or another output")
        self.folder.mkdir(parents=True, exist_ok=True)
        check_target(self.output, overwrite=True)
        remove_unfinished(self.folder)
        remove_unfinished(self.output.parent, self.output.name)
        if resume:
            checkpoint = load_weights(self.checkpoint, _KIND)
            self.check(checkpoint.config)
            self.restore(checkpoint)
        elif self.checkpoint.exists() and not overwrite:
            raise FileExistsError(
                f"{self.checkpoint} exists already; pass --resume to go on with it, --overwrite to begin anew,"
                " or another output"
            )
        else:
            for preview in self.folder.glob("preview-*.png"):
                preview.unlink()
            self.save_checkpoint()
        self.log = Log(self.folder / "log.jsonl", up_to=self.step if resume else -1)

    def save(self) -> None:
        """Write the checkpoint, then the model."""
        self.save_checkpoint()
        options = _jsonable(asdict(self.options))
        with self.averaged():
            # A model travels: what it was trained with is named, not where that lay.
            named = {name: Path(options[name]).name for name in ("loss_net", "backbone", "start_from")}
            self.task.save(self.output, {"options": options | named, "steps": self.step})

    def save_checkpoint(self) -> None:
        """Write all that the next step depends on."""
        options = _jsonable(asdict(self.options))
        config = {
            "task": self.task.describe(),
            "options": options,
            "step": self.step,
            "adam_step": self.adams[0][0].t,
            "rate": self.rate,
            "setbacks": self.setbacks,
            "loss_scale": [self.scale.value, self.scale.good],
        }
        extras = {f"{part}/{name}": to_host(value) for part, home in self.moving() for name, value in home.items()}
        numbers = {name: to_host(value) for name, value in state(self.task.net).items()}
        file = WeightFile(_KIND, config, numbers, "a training with nanostyle", self.options.license, extras)
        save_weights(self.checkpoint, file)

    def restore(self, checkpoint: WeightFile) -> None:
        """Take everything up where `checkpoint` left it."""
        values = {name: to_device(value.copy(), self.device) for name, value in checkpoint.parameters.items()}
        set_state(self.task.net, values)
        for part, home in self.moving():
            for name in home:
                home[name] = to_device(checkpoint.extras[f"{part}/{name}"], self.device)
        self.step = checkpoint.config["step"]
        for adam, _ in self.adams:
            adam.t = checkpoint.config.get("adam_step", self.step)  # older files lack it
        self.rate, self.setbacks = checkpoint.config["rate"], checkpoint.config["setbacks"]
        if self.scale.adapts:
            self.scale.value, self.scale.good = checkpoint.config.get("loss_scale", [self.scale.value, 0])
        self.work = repeated(self.take, self.device)  # what was recorded works on arrays that are no more

    def moving(self) -> list[tuple[str, dict[str, Array]]]:
        """What is kept for each trained parameter besides its value: Adam's means, the running average."""
        means = [(part, home) for adam, _ in self.adams for part, home in (("m", adam.m), ("v", adam.v))]
        return [*means, ("average", self.average)]

    def check(self, config: Mapping[str, Any]) -> None:
        """Refuse a checkpoint of another training."""
        now = {**_jsonable(asdict(self.options)), **self.task.describe()}
        # What an older version did not know of, it did as is the default now.
        then = {**_jsonable(asdict(TrainOptions())), **config["options"], **config["task"]}
        for name in now | then:
            if name not in FREE_ON_RESUME and now.get(name) != then.get(name):
                raise NanostyleError(
                    f"cannot resume: {name} was {then.get(name)!r} in {self.checkpoint} and is {now.get(name)!r} now;"
                    " give the options of the first run, or begin anew with another output"
                )

    def interrupted(self) -> None:
        """Save the last whole step: what the current one has touched is put back."""
        for name, value in buffers(self.task.net).items():
            if name in self.before:
                value[...] = self.before[name]
        self.save()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within the block the network has its averaged weights, if there is an average."""
        weights = {name: self.trained[name].data for name in self.average}
        try:
            for name, average in self.average.items():
                self.trained[name].data = average
            yield
        finally:
            for name, weight in weights.items():
                self.trained[name].data = weight

    def preview(self) -> Path:
        """Draw the contact sheet, measure the styles, write both down, and the report."""
        photos = samples(self.preview_files, _PREVIEW_PHOTOS, self.options.size)
        with self.averaged():
            sheet, measured = self.task.preview(photos)
        path = self.folder / f"preview-{self.step:06d}.png"
        save_image(path, sheet)
        self.log.append({"step": self.step, "styles": measured})
        self.report()
        return path

    def report(self) -> None:
        """Write the HTML page."""
        sheets = {
            int(match[1]): p for p in self.folder.iterdir() if (match := re.fullmatch(r"preview-(\d+)\.png", p.name))
        }
        steps = [step for step in sorted(sheets) if step <= self.step]
        shown = [steps[i] for i in np.unique(np.linspace(0, len(steps) - 1, _PREVIEWS_IN_REPORT).round().astype(int))]
        write_report(
            self.folder / "report.html",
            title=f"Training of {self.output.name}",
            records=self.log.records,
            previews={step: thumbnail_jpeg(load_image(sheets[step]).pixels, side=1400) for step in shown},
            options=asdict(self.options) | self.task.describe(),
            skipped=self.skipped(),
        )


def _hold_out(photos: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """A few photos for the previews, which are not trained on, where there are enough; and the rest."""
    files = list(photos)
    if len(files) < 10 * _PREVIEW_PHOTOS:
        return files, files
    # Twice as many as are shown: one may be unusable.
    places = {len(files) * i // (2 * _PREVIEW_PHOTOS) for i in range(2 * _PREVIEW_PHOTOS)}
    return [files[i] for i in sorted(places)], [file for i, file in enumerate(files) if i not in places]


def _jsonable(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


class _Whole:
    """A step is taken whole or not at all: from `begin` to the end of the block Ctrl-C waits."""

    def __init__(self) -> None:
        self.before: Any = None
        self.received: list[tuple[int, Any]] = []

    def __enter__(self) -> "_Whole":
        return self

    def begin(self) -> None:
        """Let Ctrl-C wait from now on."""
        if self.before is None and threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGINT, lambda number, frame: self.received.append((number, frame)))

    def __exit__(self, *error: Any) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)
        if self.received and callable(self.before):
            self.before(*self.received[0])
