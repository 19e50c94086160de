"""The command line as one of several processes that mpiexec or srun has started."""

import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from nanostyle.backend.comm.launch import RanksLost, launch, stay_alone
from nanostyle.cli.terminal import fail

# The commands that ranks do together. Of others rank 0 does all.
TOGETHER = {"train", "add-style", "stylize", "video"}

# Seconds in which the other ranks meet the same error, if they do.
_SAME = 2.0


def take_part(words: Sequence[str]) -> None:
    """Settle what this process does of the command `words`: one that is not for all ranks rank 0 does alone."""
    if words[:1] and words[0] in TOGETHER and not {"-h", "--help"} & set(words):
        return
    if launch().rank > 0:
        sys.exit(0)
    stay_alone()


def end(error: BaseException, *, debug: bool) -> NoReturn:
    """End the program after an error, together with the other ranks; exit status as `fail` has it.

    What all ranks have met rank 0 tells, and each ends by itself. What one alone has met it tells itself, and ends all.
    """
    if launch().size == 1:
        fail(error, debug=debug)
    from nanostyle.backend.comm.world import known_world  # loads NumPy

    world = known_world()
    if world is None or world.size == 1:  # MPI cannot be used, which rank 0 tells
        fail(error, debug=debug, silent=launch().rank > 0)
    lost = isinstance(error, RanksLost)
    together = not lost and world.meet(_SAME)
    speaker = "" if together or lost or world.is_first else f"rank {world.rank}: "
    try:
        fail(error, debug=debug, silent=together and not world.is_first, speaker=speaker)
    except SystemExit as ended:
        if together:
            raise
        _wait_until_read()
        world.abort(int(ended.code or 1))


def _wait_until_read() -> None:
    """Wait until the launcher has read what this process told: what is still in the pipe at an abort is lost.

    At most five seconds, which a busy machine may need. Where stderr is no pipe, or the system cannot say what is in
    it, a tenth of one.
    """
    try:
        import fcntl  # not on Windows
        import termios

        sys.stderr.flush()
        for _ in range(500):
            left = fcntl.ioctl(sys.stderr.fileno(), termios.FIONREAD, bytes(4))
            if not any(left):
                break
            time.sleep(0.01)
    except (ImportError, OSError, ValueError, AttributeError):
        time.sleep(0.1)
