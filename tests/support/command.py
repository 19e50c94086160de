"""The command line, run as a user runs it."""

import os
import subprocess
import sys

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
