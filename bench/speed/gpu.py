"""Shared by the scripts for a GPU: times by CUDA events, within CUDA graphs; a report as JSON and Markdown."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.folders import RESULTS
from nanostyle import __version__
from nanostyle.backend.device import Device, cupy, pick_device, repeated
from nanostyle.errors import NanostyleError
from nanostyle.io.atomic import replacing

Work = Callable[[], Any]


def parser(script: str, what: str) -> argparse.ArgumentParser:
    """The options of `bench/speed/<script>.py`."""
    result = argparse.ArgumentParser(prog=f"python -m bench.speed.{script}", description=what)
    result.add_argument("--quick", action="store_true", help="fewer rounds, to see that it works")
    result.add_argument("--only", default="", metavar="TEXT", help="only works whose name holds TEXT")
    result.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="default: bench/results")
    return result


def need_gpu() -> tuple[Any, Any]:
    """CuPy and PyTorch, both with a GPU. Ends the script with one line if there is none."""
    try:
        pick_device("cuda")
        import torch
    except (NanostyleError, ImportError) as error:
        sys.exit(f"bench: {error}")
    if not torch.cuda.is_available():
        sys.exit("bench: this PyTorch finds no GPU; install one that is built for CUDA")
    return cupy(), torch


def machine(cp: Any, torch: Any) -> dict[str, Any]:
    """Card, driver and versions: what the figures depend on."""
    card = cp.cuda.runtime.getDeviceProperties(0)
    return {
        "card": card["name"].decode(),
        "multiprocessors": card["multiProcessorCount"],
        "driver": cp.cuda.runtime.driverGetVersion(),
        "nanostyle": __version__,
        "cupy": cp.__version__,
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def write(folder: Path, name: str, report: dict[str, Any], columns: Sequence[str]) -> None:
    """`<name>.json`, and the rows of the report as a table in `<name>.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / f"{name}.json") as path:
        path.write_text(json.dumps(report, indent=1) + "\n")
    lines = [f"{report['machine']['card']}, {report['machine']['date']}", "", "| " + " | ".join(columns) + " |"]
    lines.append("| --- " * len(columns) + "|")
    lines += ["| " + " | ".join(_short(row.get(column)) for column in columns) + " |" for row in report["rows"]]
    with replacing(folder / f"{name}.md") as path:
        path.write_text("\n".join(lines) + "\n")


def _short(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


# --- time -------------------------------------------------------------------------------------------------


def of_ours(cp: Any, work: Work) -> Work:
    """`work`, recorded as a CUDA graph."""
    recorded: Work = repeated(work, Device("cuda"))
    recorded()
    recorded()
    cp.cuda.get_current_stream().synchronize()
    return recorded


def of_torch(torch: Any, work: Work) -> Work:
    """`work` of PyTorch, recorded as a CUDA graph by PyTorch."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    replay: Work = graph.replay
    return replay


def milliseconds(torch: Any, works: Sequence[Work], rounds: int, times: int = 10) -> list[float]:
    """The median time of each work over `times` runs between two events, in turns, on the default stream."""
    found: list[list[float]] = [[] for _ in works]
    for work in works:
        work()
    for _ in range(rounds):
        for mine, work in zip(found, works, strict=True):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            for _ in range(times):
                work()
            end.record()
            end.synchronize()
            mine.append(begin.elapsed_time(end) / times)
    return [median(mine) for mine in found]
