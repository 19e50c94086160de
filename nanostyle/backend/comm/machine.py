"""What of a machine a rank may use, where several work on it: processors, and its place among them."""

import os
import socket
from collections.abc import Sequence, Set
from typing import NamedTuple

from nanostyle.backend.comm.world import world

GPUS = "CUDA_VISIBLE_DEVICES"


class Share(NamedTuple):
    """What a rank may use of its machine.

    Attributes
    ----------
    threads : int
        Its share of the processors.
    used, there : int
        Processors that the ranks of the machine may use between them, and that the launcher itself may.
    ranks : int
        The ranks of the machine.
    place : int
        The number of this rank among those of the machine that see the same GPUs.
    """

    threads: int
    used: int
    there: int
    ranks: int
    place: int


def share_of_machine() -> Share:
    """This rank's share of its machine; collective. Ranks that may run on the same processors divide them."""
    own = _processors(0)
    if world().size == 1:
        return Share(len(own), len(own), len(own), 1, 0)
    host, gpus = socket.gethostname(), os.environ.get(GPUS)
    everyone = world().gather((host, own, gpus))
    masks = [mask for name, mask, _ in everyone if name == host]
    place = sum((name, seen) == (host, gpus) for name, _, seen in everyone[: world().rank])
    used, there = set().union(*masks), _processors(os.getppid()) | own
    return Share(threads_of(own, masks), len(used), len(there), len(masks), place)


def take_gpu(place: int) -> None:
    """Let this process see one GPU alone: that of its place among those it sees. Before anything uses CUDA."""
    seen = [name for name in os.environ.get(GPUS, "").split(",") if name]
    os.environ[GPUS] = str(place) if not seen else seen[place] if place < len(seen) else ""


def threads_of(own: Set[int], masks: Sequence[Set[int]]) -> int:
    """The threads of a rank that may run on the processors `own`, among ranks that may run on those of `masks`.

    >>> threads_of({0, 1, 2, 3}, [{0, 1, 2, 3}, {0, 1, 2, 3}])
    2
    """
    share = sum(1 / sum(processor in mask for mask in masks) for processor in own)
    return max(1, int(share + 1e-9))


def _processors(process: int) -> set[int]:
    """The processors on which a process may run; 0: this one."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        try:
            return set(os.sched_getaffinity(process))
        except OSError:
            return set()
    return set(range(os.cpu_count() or 1))
