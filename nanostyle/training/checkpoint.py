"""The checkpoint of a training: what is saved, restored, and compared with the options of a training that resumes.

All that is random follows from the seed and the number of the step. So a checkpoint of the weights, the optimizer and
the step is enough to go on exactly as if nothing had happened. `docs/format.md` has the file.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nanostyle.backend.comm.world import world
from nanostyle.backend.device import CPU, Device, module_of, to_device, to_host
from nanostyle.errors import NanostyleError
from nanostyle.io.atomic import sha256
from nanostyle.io.weights import WeightFile, load_weights, save_weights
from nanostyle.models.registry import find
from nanostyle.nn.module import set_state, state
from nanostyle.optim.optimizer import Optimizer
from nanostyle.training.options import FREE_ON_RESUME, TrainOptions
from nanostyle.training.task import Task

CHECKPOINT = "checkpoint.h5"
"""The name of the file, in the folder of a training."""

_KIND = "checkpoint"
_SHARDS = "shards"
_READ = ("loss_net", "backbone", "start_from")  # options that name a file


@dataclass
class Position:
    """All that the next step depends on.

    Attributes
    ----------
    net
        The network in training.
    optimizer : Optimizer
        The optimizer of its parameters.
    device : Device
        Where both are.
    step : int
        Steps done.
    lr_factor : float
        A factor on the learning rate of the options: each roll-back halves it.
    roll_backs : int
        Roll-backs since the training last reached a checkpoint.
    """

    net: object
    optimizer: Optimizer
    device: Device = CPU
    step: int = 0
    lr_factor: float = 1.0
    roll_backs: int = 0

    def is_finite(self) -> bool:
        """Whether all values of the network are finite: only such a network is saved."""
        return all(bool(module_of(x).isfinite(x).all()) for x in state(self.net).values())


class Checkpoint:
    """The checkpoint file `path` of the training of `task` with `options`."""

    def __init__(self, path: Path, task: Task, options: TrainOptions) -> None:
        self.path, self._task, self._options = path, task, options
        self._files = {name: _digest(getattr(options, name)) for name in _READ}

    def save(self, position: Position) -> None:
        """Write all that the next step depends on. Raises as `save_weights` does."""
        optimizer = position.optimizer
        config = {
            "task": self._task.describe(),
            "options": options_as_json(self._options),
            "files": self._files,
            "step": position.step,
            "adam_step": optimizer.t,
            "rate": position.lr_factor,
            "setbacks": position.roll_backs,
            "loss_scale": [optimizer.loss_scale.value, optimizer.loss_scale.good],
        }
        extras = {name: to_host(value) for name, value in optimizer.state().items()}
        numbers = {name: to_host(value) for name, value in state(position.net).items()}
        file = WeightFile(_KIND, config, numbers, "a training with nanostyle", self._options.license, extras)
        save_weights(self.path, file)

    def restore(self, position: Position, *, check: bool = False) -> None:
        """Bring `position` to where the checkpoint stands, on every rank: rank 0 reads it. All arrays are new ones.

        Parameters
        ----------
        check
            Refuse the checkpoint of another training.

        Raises
        ------
        NanostyleError
            The checkpoint is of another training; the message names the first option that differs.
        ValueError, OSError
            The file cannot be read.
        """

        def read() -> WeightFile:
            file = load_weights(self.path, _KIND)
            if check:
                self._check(file.config)
            return file

        file = world().first(read)
        device, optimizer = position.device, position.optimizer
        set_state(position.net, {name: to_device(value.copy(), device) for name, value in file.parameters.items()})
        optimizer.set_state({name: to_device(value, device) for name, value in file.extras.items()})
        position.step, position.lr_factor = file.config["step"], file.config["rate"]
        position.roll_backs = file.config["setbacks"]
        optimizer.t = file.config.get("adam_step", position.step)  # older files lack it
        scale = optimizer.loss_scale
        if scale.adapts:
            scale.value, scale.good = file.config.get("loss_scale", [scale.value, 0])

    def _check(self, config: Mapping[str, Any]) -> None:
        now = {**options_as_json(self._options), **self._task.describe()}
        # An option that the file lacks did not exist then: its default does what was done.
        then = {**options_as_json(TrainOptions()), **config["options"], **config["task"]}
        for name in now | then:
            least = 1 if name == _SHARDS else None
            was, is_now = then.get(name, least), now.get(name, least)
            file, file_now = config.get("files", {}).get(name), self._files.get(name)
            if file and file_now:  # the same contents may have another name, and other contents the same
                was, is_now = f"{was} ({file[:12]}…)", f"{is_now} ({file_now[:12]}…)"
                was = is_now if file == file_now else was
            if name not in FREE_ON_RESUME and is_now != was:
                raise NanostyleError(
                    f"cannot resume: {name} was {was!r} in {self.path} and is {is_now!r} now",
                    hint="give the options of the first run, or begin anew with another {output}",
                )


def _digest(name: str) -> str:
    """The SHA-256 of a network that a training reads, by its name or file; empty where there is no such file."""
    try:
        return sha256(find(name)) if name else ""
    except (OSError, ValueError):
        return ""


def shards_in(path: Path) -> int:
    """The number of shards of the training of the checkpoint `path`. Raises as `load_weights` does."""
    return int(load_weights(path, _KIND).config["options"].get(_SHARDS, 1))


def options_as_json(options: TrainOptions) -> dict[str, Any]:
    """The options by name, as JSON values. A single shard, as a batch without shards is, is not named."""
    named = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(options).items()}
    if options.parts == 1:
        del named[_SHARDS]
    return named
