"""Runs of `nanostyle video` that are killed at any moment, and go on."""

import signal
import subprocess
import sys
import time

from tests.support.command import environment

PART = 5
"""The frames of a part in these runs."""

PROGRAM = f"import nanostyle.methods.video as v; v.LENGTH = {PART}; from nanostyle.__main__ import main; main()"
"""Python's -c for nanostyle with short parts."""

LATE = f"""
import time
from nanostyle.io.video.parts import Parts

save = Parts.save


def saved(*given):
    save(*given)
    time.sleep(2)


Parts.save = saved
{PROGRAM}"""
"""The same, and after each part some time to kill it before the next is whole, and before the end."""


def start(folder, *args, program=PROGRAM):
    """The command in a process of its own, with short parts."""
    return subprocess.Popen(
        [sys.executable, "-c", program, "video", *map(str, args)],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """What the process wrote to stderr; it has to end well."""
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


def killed(folder, *args, after):
    """Start it, and kill it after so many seconds; False where it was done by then."""
    process = start(folder, *args)
    time.sleep(after)
    was_running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    return was_running
