"""Which process this is of those that mpiexec or srun has started, as the environment says. Loads nothing."""

import os
from typing import NamedTuple

from nanostyle.errors import NanostyleError

# How many processes were started, and which of them this is, as the launchers tell it: Open MPI's, those of MPICH and
# its kin, Slurm's. Slurm does not set its own in the batch script itself.
_LAUNCHERS = (
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("PMI_SIZE", "PMI_RANK"),
    ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
)


class RanksLost(NanostyleError):
    """The other ranks have not come for too long: one has died, hangs or is far too slow."""

    @classmethod
    def after(cls, seconds: float, rank: int, size: int) -> "RanksLost":
        """The error of a `rank` among `size` that has waited for so long."""
        return cls(
            f"rank {rank} of {size} has waited {seconds:.0f} s for the others, one of which has died, hangs or is far"
            " too slow",
            hint="{resume} or {skip_existing} goes on",
        )


class Launch(NamedTuple):
    """How many processes a launcher has started together, and which of them this is. 0 processes: MPI is to say."""

    size: int
    rank: int


_ALONE = Launch(1, 0)
_alone = False


def launch() -> Launch:
    """Which process this is, of how many. `NANOSTYLE_COMM=none` keeps each alone, `mpi` asks MPI in any case.

    Raises
    ------
    ValueError
        `NANOSTYLE_COMM` is another word.
    """
    wish = os.environ.get("NANOSTYLE_COMM", "")
    if wish not in ("", "none", "mpi"):
        raise ValueError(f"NANOSTYLE_COMM: expected none or mpi, got {wish!r}")
    if _alone or wish == "none":
        return _ALONE
    found = (Launch(_number(size), _number(rank)) for size, rank in _LAUNCHERS)
    return next((each for each in found if each.size > 1), Launch(0, 0) if wish == "mpi" else _ALONE)


def stay_alone() -> None:
    """Let this process be alone, whatever a launcher has started."""
    global _alone
    _alone = True


def _number(name: str) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else 0
