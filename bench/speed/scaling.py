"""How one pass goes on more threads, reckoned from measured parts: `python -m bench.speed.scaling`.

On one thread the time of every job of every `parallel` is taken, and of what lies between. On n threads a region takes
as long as its jobs do when each free thread takes the next one, and what it costs to call n threads together; what lies
between stays. No pass is faster than its arrays go through the memory. What the model leaves out, the interpreter's
lock and caches that are shared, is the distance to the times that are measured, wherever there are processors for it.
"""

import argparse
import heapq
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.folders import RESULTS
from bench.speed.pairing import machine
from nanostyle.backend import threads as threading
from nanostyle.diagnostics.speed import SIZES, picture, seconds_of, stylize, transformer
from nanostyle.nets.transformer import TransformerNet

THREADS = (1, 2, 4, 8, 16)


@dataclass
class Parts:
    """Of one pass on one thread, in seconds: all of it, and the jobs of each region."""

    total: float = 0.0
    regions: list[list[float]] = field(default_factory=list)

    @property
    def serial(self) -> float:
        """What lies between the regions."""
        return self.total - sum(map(sum, self.regions))

    def on(self, count: int, meeting: float, memory: float) -> float:
        """The seconds on `count` threads; `meeting` for each thread called to a region, `memory` the least of all."""
        called = [makespan(jobs, count) + meeting * (min(count, len(jobs)) - 1) for jobs in self.regions]
        return max(self.serial + sum(called), memory)


def makespan(jobs: Sequence[float], count: int) -> float:
    """How long `jobs`, in seconds, take where each of `count` free threads takes the next one.

    >>> makespan([3, 2, 2, 1], 2)
    4.0
    """
    free = [0.0] * count
    for job in jobs:
        heapq.heapreplace(free, free[0] + job)
    return max(free)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed.scaling", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["256x256", "512x512"])
    parser.add_argument("--output", type=Path, default=RESULTS / "scaling-cpu.json")
    options = parser.parse_args(arguments)
    every = threading.thread_count()
    report: dict[str, Any] = {"machine": machine(), "passes": []}
    meeting, speed = _meeting(every), _memory_speed(every)
    report |= {"meeting_us": round(meeting * 1e6, 1), "memory_gb_s": round(speed / 1e9, 1)}
    for name in options.sizes:
        H, W = SIZES[name]
        net, photo = transformer(), picture(1, H, W)
        parts = _parts(lambda: stylize(net, photo), options.rounds)  # noqa: B023  (called at once)
        memory = traffic(net, H, W) / speed
        row = {
            "size": name,
            "regions": len(parts.regions),
            "serial_ms": round(parts.serial * 1e3, 2),
            "memory_ms": round(memory * 1e3, 2),
            "reckoned_ms": {n: round(parts.on(n, meeting, memory) * 1e3, 1) for n in THREADS},
            "measured_ms": {},
        }
        for n in (n for n in THREADS if n <= every):
            threading.set_threads(n)
            stylize(net, photo)
            times = [seconds_of(lambda: stylize(net, photo)) for _ in range(options.rounds)]  # noqa: B023
            row["measured_ms"][n] = round(median(times) * 1e3, 1)
        report["passes"].append(row)
        print(json.dumps(row))
    options.output.write_text(json.dumps(report, indent=1) + "\n")


def traffic(net: TransformerNet, H: int, W: int) -> float:
    """Bytes of feature maps that a pass reads and writes: each convolution in and out, each norm in and out."""
    values = 0.0
    for layer in net.layers:
        C, M = layer.convolution.channels
        before, after = C / layer.scale**2, M / layer.scale_out**2
        norm = 0 if layer.convolution.norm is None else 2 + (layer.block == "last")
        values += before + (1 + norm) * after
    return 4 * values * H * W


def _parts(work: Callable[[], object], rounds: int) -> Parts:
    """The parts of the round that took the median time."""
    threading.set_threads(1)
    work()
    found = []
    for _ in range(rounds):
        parts = Parts()
        with _timed(parts):
            parts.total = seconds_of(work)
        found.append(parts)
    return sorted(found, key=lambda parts: parts.total)[rounds // 2]


@contextmanager
def _timed(parts: Parts) -> Iterator[None]:
    """Within the block `parallel` runs one job after the other and notes how long each takes."""
    plain = threading.parallel

    def timed(job: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        region: list[float] = []
        results = []
        for item in items:
            start = time.perf_counter()
            results.append(job(item))
            region.append(time.perf_counter() - start)
        parts.regions.append(region)
        return results

    users = [m for m in sys.modules.values() if getattr(m, "parallel", None) is plain]
    for module in users:
        module.parallel = timed  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module in users:
            module.parallel = plain  # type: ignore[attr-defined]


def _meeting(every: int) -> float:
    """The seconds that one more thread costs a region; of two threads where there are no more."""
    count = max(2, every)
    threading.set_threads(count)
    times = [seconds_of(lambda: threading.parallel(lambda _: time.sleep(0), range(count))) for _ in range(500)]
    return median(times) / (count - 1)


def _memory_speed(every: int) -> float:
    """Bytes a second that all threads together read and write, in arrays too large for the caches."""
    threading.set_threads(every)
    source = np.ones((4 * every, 1 << 22), np.float32)
    target = np.empty_like(source)

    def copy() -> None:
        threading.parallel(lambda i: np.copyto(target[i], source[i]), range(len(source)))

    copy()
    return 2 * source.nbytes / min(seconds_of(copy) for _ in range(5))


if __name__ == "__main__":
    main()
