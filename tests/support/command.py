"""The command line, run as a user runs it."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

from nanostyle.cli import main
from tests.support.paths import ROOT


def environment(**more):
    return {**os.environ, "PYTHONWARNINGS": "error", "PYTHONPATH": str(ROOT), **more}


def run(*args, cwd, **env):
    return subprocess.run(
        [sys.executable, "-m", "nanostyle", *map(str, args)],
        cwd=cwd,
        env=environment(XDG_CACHE_HOME=str(cwd / "cache"), **env),
        capture_output=True,
        text=True,
        timeout=120,
    )


def called(*args, cwd):
    """As `run`, within this process: a fraction of the time, for tests that need no process of their own."""
    out, err, before, status = io.StringIO(), io.StringIO(), Path.cwd(), None
    os.chdir(cwd)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main([str(arg) for arg in args])
    except SystemExit as end:
        status = end.code
    finally:
        os.chdir(before)
    return subprocess.CompletedProcess(args, status, out.getvalue(), err.getvalue())


def failed(result, *words):
    """Exit status 2, one line on stderr that begins with Error and holds the words, nothing half-written."""
    assert result.returncode == 2, result
    lines = result.stderr.splitlines()
    assert lines and lines[-1].startswith("Error: "), result.stderr
    assert sum(line.startswith("Error: ") for line in lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in lines[-1], lines[-1]


def listing(folder):
    return sorted(p.name for p in folder.iterdir())
