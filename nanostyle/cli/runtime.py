"""Options that every working command has: threads, device, precision and quiet, settled once."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from nanostyle.backend.comm.machine import Share, share_of_machine, take_gpu
from nanostyle.backend.comm.world import world
from nanostyle.backend.device import PRECISIONS, Device, pick_device
from nanostyle.backend.threads import set_threads
from nanostyle.cli.options import debug_option, quiet_option
from nanostyle.cli.terminal import printable
from nanostyle.errors import NanostyleError
from nanostyle.io.image_read import Picture


@dataclass(frozen=True)
class Runtime:
    """The device of a command, and whether it prints more than errors."""

    device: Device
    quiet: bool

    def say(self, text: str) -> None:
        """Tell the user something, on stderr, unless the command is quiet."""
        if not self.quiet:
            click.echo(printable(text), err=True)

    def warn(self, file: Path, picture: Picture) -> None:
        """Tell the user what of a picture file is not used, as pages after the first."""
        for note in picture.notes:
            self.say(f"{file}: {note}")


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every working command has; the command gets them as `runtime`."""

    @wraps(command)
    def run(
        *args: Any, device: str, precision: str, threads: int | None, quiet: bool, debug: bool, **values: Any
    ) -> Any:
        ranks, share = world(), share_of_machine()
        set_threads(threads, default=share.threads)
        runtime = Runtime(_device(device, precision, share), quiet or not ranks.is_first)
        if share.used < share.there and threads is None:
            runtime.say(
                f"{share.ranks} ranks use {share.used} of {share.there} processors, as the launcher has bound them;"
                " --bind-to none of mpiexec gives them all"
            )
        result = command(*args, runtime=runtime, **values)
        ranks.meet(ranks.patience)  # not in MPI's own end, which would take a processor while rank 0 writes
        return result

    options = (
        debug_option,
        quiet_option,
        click.option(
            "--threads",
            type=int,
            default=None,
            help="Number of threads. Default: all processors, or this process's share of them, or NANOSTYLE_THREADS.",
        ),
        click.option(
            "--precision",
            type=click.Choice(["auto", *PRECISIONS]),
            default="auto",
            show_default=True,
            help="auto: fp32 on a CPU, tf32 on a GPU; fp16 is the fastest there.",
        ),
        click.option(
            "--device",
            type=click.Choice(["auto", "cpu", "cuda"]),
            default="auto",
            show_default=True,
            help="Where to compute.",
        ),
    )
    for option in options:
        run = option(run)
    return run


def _device(wish: str, precision: str, share: Share) -> Device:
    """The device of this process: of several ranks each has a GPU of its own, or none has one."""
    ranks = world()
    if ranks.size > 1 and wish != "cpu":
        take_gpu(share.place)
    found: Device | NanostyleError
    try:
        found = pick_device(wish, precision).use()
    except NanostyleError as error:  # of this rank; all are to know how many have a GPU
        found = error
    with_gpu = sum(ranks.gather(isinstance(found, Device) and found.is_gpu))
    if with_gpu not in (0, ranks.size):
        raise NanostyleError(
            f"device: {with_gpu} of {ranks.size} ranks find a GPU of their own",
            hint="use one rank a GPU, or {device} cpu",
        )
    if isinstance(found, NanostyleError):
        raise found
    return found
