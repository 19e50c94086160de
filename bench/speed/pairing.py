"""nanostyle and its peers in turn, in one process: shared by `networks.py`, `training.py` and `gatys.py`.

A script lists its works. Each contestant builds each work from the same weights and pictures and runs it once. The
results are compared with PyTorch's. Where ours differs the script stops; a runtime that differs is named, and left out
of that work. Then all contestants take turns, so that other work on the machine slows all of them alike.

Contestants: `nanostyle`; `eager` (PyTorch in its own memory layout), `channels_last`, and with `--compile` both under
`torch.compile`; for one pass ONNX Runtime and OpenVINO too, where they are installed (extra `bench`). A ratio is the
median of a peer's time over ours in the same round: above 1, nanostyle is faster. OpenVINO in bfloat16 is a row of its
own: its results are not those of float32, and are not held to the tolerance. Peak memory is that of a fresh process for
each, less what the process held after its imports.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_info

import nanostyle
from bench.folders import RESULTS
from bench.speed import runtimes
from nanostyle.backend.threads import set_threads, thread_count
from nanostyle.diagnostics.speed import gemm_peak, seconds_of
from nanostyle.io.atomic import replacing

OURS, EAGER, CHANNELS_LAST = "nanostyle", "eager", "channels_last"
COMPILED = ("compiled", "compiled channels_last")

# Named results of one run, to be compared: numbers, arrays or lists of arrays.
Results = Mapping[str, Any]
Run = Callable[[], Results]


@dataclass(frozen=True)
class Work:
    """Something that all contestants can do.

    Attributes
    ----------
    build : callable
        From a contestant's name to the function that does the work once. Weights and pictures are the same for all.
    flops : float
        As direct convolution takes them.
    tolerance : mapping
        By a result's name, the largest relative error (in the Euclidean norm) that passes as the same.
    rounds : int
        How often all take their turn.
    long : bool
        A run is made of many like steps: one needs no warming up.
    peers : tuple of str
        Contestants of this work alone, besides PyTorch's.
    """

    name: str
    build: Callable[[str], Run]
    flops: float
    tolerance: Mapping[str, float]
    rounds: int = 5
    long: bool = False
    peers: tuple[str, ...] = ()


def main(script: str, works: Callable[[bool], Sequence[Work]], arguments: Sequence[str] | None = None) -> None:
    """The command line of `bench/speed/<script>.py`; `works` gets `--quick` and returns the works."""
    options = _parser(script).parse_args(arguments)
    chosen = [work for work in works(options.quick) if options.only in work.name]
    if not chosen:
        sys.exit(f"no work is called {options.only!r}: {', '.join(work.name for work in works(options.quick))}")
    if options.peak:
        print(_own_peak(chosen[0], options.peak))
        return
    report: dict[str, Any] = {"machine": machine(), "quick": options.quick, "works": []}
    print(f"{report['machine']['processor']}; {report['machine']['versions']}")
    for work in chosen:
        contestants = [OURS, EAGER, CHANNELS_LAST, *(COMPILED if options.compile else ()), *work.peers]
        for threads in options.threads:
            _use(threads)  # before the building: runtimes settle their threads then
            runs = {name: work.build(name) for name in contestants}
            errors = _compare(work, runs)
            off = [name for name in runtimes.installed() if name in runs and _differs(work, name, errors[name])]
            for name in off:
                print(f"{_differs(work, name, errors[name])}: left out", flush=True)
                del runs[name]
            row = _race(work, runs, threads, rounds=2 if options.quick else work.rounds)
            row |= {"errors": errors, "left_out": off}
            report["works"].append(row)
            _print(row)
            del runs
        timed = [name for name in contestants if name not in (*COMPILED, *off)]
        memory = {name: _peak_of(script, work, name, options) for name in timed}
        report["works"][-1]["peak_mb"] = memory
        ratio = memory[OURS] / min(memory[EAGER], memory[CHANNELS_LAST])
        shown = ", ".join(f"{k} {v:.0f}" for k, v in memory.items())
        print(f"  peak memory, MB: {shown}; {ratio:.2f} of PyTorch's", flush=True)
        # After each: a run takes minutes, and one that is cut off should not be for nothing.
        with replacing(options.output) as path:
            path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"written: {options.output}")


def _parser(script: str) -> argparse.ArgumentParser:
    every = thread_count()
    parser = argparse.ArgumentParser(prog=f"python -m bench.speed.{script}", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small and few, to see that it works")
    parser.add_argument("--compile", action="store_true", help="torch.compile too: minutes of compiling")
    parser.add_argument("--only", default="", metavar="TEXT", help="only works whose name holds TEXT")
    parser.add_argument(
        "--threads", type=int, nargs="+", default=sorted({1, every}), help="default: 1, and all processors"
    )
    parser.add_argument("--output", type=Path, default=RESULTS / f"{script}-cpu.json")
    parser.add_argument("--peak", metavar="CONTESTANT", help=argparse.SUPPRESS)
    return parser


# --- are they doing the same? -----------------------------------------------------------------------------


def _compare(work: Work, runs: Mapping[str, Run]) -> dict[str, dict[str, float]]:
    """The relative errors of each contestant's results against PyTorch's.

    Ends the script where one of ours, or of PyTorch in another layout, is too large.
    """
    expected = runs[EAGER]()
    errors: dict[str, dict[str, float]] = {}
    for contestant, run in runs.items():
        if contestant == EAGER:
            continue
        found = run()
        errors[contestant] = {name: _error(found[name], expected[name]) for name in work.tolerance}
        if contestant not in runtimes.installed() and (told := _differs(work, contestant, errors[contestant])):
            sys.exit(f"{told}: not timed")
    return errors


def _differs(work: Work, contestant: str, errors: Mapping[str, float]) -> str:
    """In words, the first result that is not the same; empty where all are, and for bfloat16."""
    for name, error in errors.items() if contestant != runtimes.BF16 else ():
        if not error <= work.tolerance[name]:
            limit = f"{work.tolerance[name]:.0e}"
            return f"{work.name}: {name} of {contestant} differs from PyTorch's by {error:.1e}, more than {limit}"
    return ""


def _error(found: Any, expected: Any) -> float:
    found, expected = _flat(found), _flat(expected)
    return float(np.linalg.norm(found - expected) / max(np.linalg.norm(expected), 1e-30))


def _flat(result: Any) -> np.ndarray:
    parts = result if isinstance(result, list) else [result]
    return np.concatenate([np.asarray(x, np.float64).ravel() for x in parts])


# --- the race ---------------------------------------------------------------------------------------------


def _use(threads: int) -> None:
    set_threads(threads)
    torch.set_num_threads(threads)


def _race(work: Work, runs: Mapping[str, Run], threads: int, rounds: int) -> dict[str, Any]:
    peak = gemm_peak()
    if not work.long:
        for run in runs.values():
            run()
    begun, own = _busy(), time.process_time()
    start = time.perf_counter()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            # PyTorch's threads turn round for a while before they sleep, and would take the next one's processors.
            time.sleep(0.05)
            seconds[name].append(seconds_of(run))
    wall = time.perf_counter() - start
    others = (_busy() - begun - (time.process_time() - own)) / (wall * (os.cpu_count() or 1))
    times = {name: median(values) for name, values in seconds.items()}
    best = min((EAGER, CHANNELS_LAST), key=lambda name: times[name])
    gflops = {name: work.flops / value / 1e9 for name, value in times.items()}
    return {
        "name": work.name,
        "threads": threads,
        "ms": {name: round(value * 1e3, 2) for name, value in times.items()},
        "all_ms": {name: [round(value * 1e3, 2) for value in values] for name, values in seconds.items()},
        "best_torch": best,
        "ratio": _ratio(seconds, best),
        "ratios": {name: _ratio(seconds, name) for name in runs if name != OURS},
        "gflops": {name: round(value, 1) for name, value in gflops.items()},
        "gemm_peak_gflops": round(peak, 1),
        "share_of_gemm_peak": {name: round(value / peak, 3) for name, value in gflops.items()},
        "load_of_others": round(others, 3),
    }


def _ratio(seconds: Mapping[str, Sequence[float]], peer: str) -> float:
    return round(median(b / a for a, b in zip(seconds[OURS], seconds[peer], strict=True)), 3)


def _busy() -> float:
    """Processor seconds spent by the whole machine; 0 where the system does not tell."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    numbers = [int(n) for n in stat.read_text().splitlines()[0].split()[1:9]]
    return (sum(numbers) - numbers[3] - numbers[4]) / os.sysconf("SC_CLK_TCK")


def _print(row: Mapping[str, Any]) -> None:
    times = ", ".join(f"{name} {ms:.0f}" for name, ms in row["ms"].items())
    ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in row["ratios"].items())
    print(
        f"{row['name']}, {row['threads']} thread{'s' * (row['threads'] > 1)}: {times} ms; ratios {ratios};"
        f" {row['gflops'][OURS]:.0f} GFLOP/s, {row['share_of_gemm_peak'][OURS]:.0%} of {row['gemm_peak_gflops']:.0f}"
        f" (PyTorch {row['share_of_gemm_peak'][row['best_torch']]:.0%}); others' load {row['load_of_others']:.0%}",
        flush=True,
    )


# --- memory -----------------------------------------------------------------------------------------------


def _peak_of(script: str, work: Work, contestant: str, options: argparse.Namespace) -> float:
    """The peak memory of a fresh process in which `contestant` does `work`, with the most threads asked for."""
    command = [sys.executable, "-m", f"bench.speed.{script}", "--only", work.name, "--peak", contestant]
    command += ["--threads", str(max(options.threads)), *(["--quick"] if options.quick else [])]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _own_peak(work: Work, contestant: str) -> float:
    before = _resident_peak()
    run = work.build(contestant)
    for _ in range(1 if work.long else 2):
        run()
    return round(_resident_peak() - before, 1)


def _resident_peak() -> float:
    """The most memory this process has held, in MB.

    Linux carries `ru_maxrss` over from the process that started this one, so there it comes from `/proc`.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


# --- the machine ------------------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """Processor, system and versions: what the figures depend on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    blas = [
        f"{lib['internal_api']} {lib['version']} {lib.get('architecture')}"
        for lib in threadpool_info()
        if lib["user_api"] == "blas"
    ]
    return {
        "processor": f"{model}, {thread_count()} usable",
        "system": platform.platform(),
        "versions": {
            "python": platform.python_version(),
            "nanostyle": nanostyle.__version__,
            "numpy": np.__version__,
            "torch": torch.__version__,
            **runtimes.versions(),
            "blas": blas,
        },
        "environment": {
            k: v for k, v in os.environ.items() if k.startswith(("OPENBLAS_", "OMP_", "MKL_", "NANOSTYLE_"))
        },
        "date": time.strftime("%Y-%m-%d"),
    }
