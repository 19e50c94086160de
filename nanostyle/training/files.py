"""What a training writes: checkpoint, model, log, previews, report. Rank 0 alone writes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from nanostyle.errors import with_hint
from nanostyle.io.atomic import check_target, remove_unfinished
from nanostyle.training.checkpoint import CHECKPOINT, Checkpoint, Position, options_as_json
from nanostyle.training.options import TrainOptions
from nanostyle.training.preview import Previews
from nanostyle.training.report import Log, write_report
from nanostyle.training.task import Task


class TrainingFiles:
    """The model `output`, and the checkpoint, log, previews and report in `folder`.

    Parameters
    ----------
    shown
        Photos for the previews.
    writes
        Whether this rank writes them. Otherwise `save` and `preview` do nothing, and the log stays in memory.
    """

    def __init__(
        self, task: Task, options: TrainOptions, output: Path, folder: Path, shown: Sequence[Path], *, writes: bool
    ) -> None:
        self._task, self._options, self._output, self._folder, self._writes = task, options, output, folder, writes
        self.checkpoint = Checkpoint(folder / CHECKPOINT, task, options)
        self.log = Log(folder / "log.jsonl" if writes else None)
        self._previews = Previews(folder, shown, options.size)

    def prepare(self, position: Position, *, resume: bool, overwrite: bool) -> bool:
        """Make the folder, and the first checkpoint if there is none to go on from; whether there is one.

        Raises
        ------
        FileExistsError, ValueError, OSError
            As `training.loop.train` has it.
        """
        exists = self.checkpoint.path.exists()
        _check_output(self._output, self.checkpoint.path, resume=resume, overwrite=overwrite)
        self._folder.mkdir(parents=True, exist_ok=True)
        check_target(self._output, overwrite=True)
        remove_unfinished(self._folder)
        remove_unfinished(self._output.parent, self._output.name)
        if not (resume and exists):
            self._previews.clear()
            self.checkpoint.save(position)
        return resume and exists

    def save(self, position: Position) -> None:
        """Write the checkpoint, then the model."""
        if not self._writes:
            return
        self.checkpoint.save(position)
        options = options_as_json(self._options)
        # A model travels: the file names of what it was trained with go along, their folders do not.
        named = {name: Path(options[name]).name for name in ("loss_net", "backbone", "start_from")}
        with position.optimizer.averaged():
            self._task.save(self._output, {"options": options | named, "steps": position.step})

    def preview(self, position: Position, skipped: Mapping[Path, str]) -> Path | None:
        """Draw the contact sheet; write the losses of each style into the log, and the report."""
        if not self._writes:
            return None
        step = position.step
        with position.optimizer.averaged():
            path, losses = self._previews.draw(self._task, step)
        self.log.append({"step": step, "styles": losses})
        write_report(
            self._folder / "report.html",
            title=f"Training of {self._output.name}",
            records=self.log.records,
            previews=self._previews.for_report(step),
            options={name: getattr(self._options, name) for name in options_as_json(self._options)}
            | self._task.describe(),
            skipped=skipped,
        )
        return path


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
