"""Several processes under mpiexec, and small trainings for them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nanostyle.io.weights import WeightFile, save_weights
from tests.support import tiny
from tests.support.command import environment
from tests.support.networks import vgg_parts

# Seconds in which all ranks end after a fault, on a busy machine; `.ci/ranks` asks for 2 on an idle one.
SOON = 30

# What a launcher tells its processes: none of it may reach the programs that the tests start by themselves.
LAUNCHED = [f"{name}_{what}" for name in ("OMPI_COMM_WORLD", "PMI") for what in ("SIZE", "RANK")]
LAUNCHED += ["SLURM_STEP_NUM_TASKS", "SLURM_PROCID"]

_SMALL = {"size": 32, "width": 0.25, "batch": 8, "shards": 4, "steps": 6, "checkpoint-every": 2, "preview-every": 100}
SMALL = ["--loss-net=loss.h5", "--content=photos", "--threads=1", *(f"--{k}={v}" for k, v in _SMALL.items())]
CIN = ["train", "--mode", "cin", "--styles", "paintings", "--ema", "0.9", *SMALL]


def mpiexec():
    """The mpiexec of MPICH, which the tests need; skips the test where there is none."""
    beside = Path(sys.executable).parent / "mpiexec"
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None or not _can_import("mpi4py"):
        if os.environ.get("CI"):
            pytest.fail("CI installs mpi4py and mpich, and they are not here")
        pytest.skip("no mpiexec or no mpi4py: pip install mpi4py mpich")
    return found


def _can_import(name):
    return subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True).returncode == 0


def folder_for(parent):
    """A folder with photos, paintings and a tiny loss network."""
    folder = parent / "ranks"
    tiny.write_pictures(folder / "photos", 6)
    tiny.write_pictures(folder / "paintings", 2, size=(36, 44), seed=1)
    save_weights(folder / "loss.h5", WeightFile("features", *vgg_parts(), source="random", license="none"))
    return folder


def start(ranks, *words, cwd, **env):
    """Start nanostyle on so many ranks; 0: without mpiexec."""
    return start_each([(ranks, words)], cwd=cwd, **env)


def start_each(groups, *, cwd, program=("-m", "nanostyle"), **env):
    """Start groups of ranks, each with words of its own, as one world."""
    command = []
    for ranks, words in groups:
        launcher = ["-n", str(ranks)] if ranks else []
        command += [*([":"] if command else []), *launcher, sys.executable, *program, *map(str, words)]
    if groups[0][0]:
        command.insert(0, mpiexec())
    variables = {name: value for name, value in environment(**env).items() if name not in LAUNCHED or name in env}
    return subprocess.Popen(command, cwd=cwd, env=variables, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ended(process, within=120):
    """Exit status, the lines on stderr, and the seconds until the end."""
    begun = time.monotonic()
    try:
        _, told = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        for child in children(process.pid):
            os.kill(child, signal.SIGKILL)
        process.kill()
        process.communicate()
        raise
    return process.returncode, told.splitlines(), time.monotonic() - begun


def run(ranks, *words, cwd, **env):
    return ended(start(ranks, *words, cwd=cwd, **env))


def ours(lines):
    """The lines that nanostyle has written, not the launcher."""
    return [line for line in lines if line.startswith(("Error: ", "rank ", "Interrupted"))]


def children(process):
    """The ranks below an mpiexec, in their order."""
    found = []
    for child in _children(process):
        found += [child, *children(child)]
    return found


def _children(process):
    try:
        return [int(text) for text in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []


def pid_of(process, rank):
    """The process of a rank."""
    for child in children(process.pid):
        try:
            variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
            words = Path(f"/proc/{child}/cmdline").read_bytes()
        except OSError:
            continue
        if f"PMI_RANK={rank}".encode() in variables and (b"nanostyle" in words or b"rank_faults" in words):
            return child
    raise AssertionError(f"no rank {rank}")


def wait_for_steps(process, log, steps, within=60):
    """Wait until a training has taken so many steps."""
    end = time.monotonic() + within
    while not log.exists() or log.read_text().count('"loss"') < steps:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
