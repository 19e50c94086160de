"""Photos dealt out to three ranks of which one is 50 times slower: `python -m bench.speed.ranks [--jobs N]`.

400 jobs that sleep, 20 ms on two ranks and 1 s on the third, which is rank 0 in one run and rank 2 in the other. The
time is that from the first job to the last result, against the best division of the jobs. Needs mpi4py and an mpiexec;
the results are written to bench/results/ranks-dealing.json.
"""

import argparse
import json
import subprocess
import sys
import time
from collections import Counter

from bench.folders import ROOT
from nanostyle.backend.comm.world import world

RANKS, FAST, SLOW = 3, 0.02, 1.0


def ideal(jobs: int) -> float:
    """The seconds of the best division: the slow rank does so many jobs that it ends before the others."""
    return min(max(slow * SLOW, -(-(jobs - slow) // (RANKS - 1)) * FAST) for slow in range(int(jobs * FAST / SLOW) + 2))


def deal(jobs: int, slow: int) -> None:
    """Deal the jobs out, as one of the ranks; rank 0 prints what came of it."""
    here = world()

    def work(job: int) -> int:
        time.sleep(SLOW if here.rank == slow else FAST)
        return here.rank

    here.gather(0)
    begun = time.perf_counter()
    done = list(here.deal(range(jobs) if here.is_first else (), work))
    seconds = time.perf_counter() - begun
    if here.is_first:
        assert sorted(job for job, _ in done) == list(range(jobs)), "a job was not done once"
        by_rank = Counter(rank for _, rank in done)
        print(json.dumps({"slow": slow, "seconds": round(seconds, 3), "jobs": [by_rank[r] for r in range(RANKS)]}))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed.ranks", description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=400)
    parser.add_argument("--slow", type=int, help=argparse.SUPPRESS)  # as one of the ranks
    options = parser.parse_args()
    if options.slow is not None:
        deal(options.jobs, options.slow)
        return
    found = []
    for slow in (0, RANKS - 1):
        words = ["mpiexec", "-n", str(RANKS), sys.executable, "-m", "bench.speed.ranks", "--jobs", str(options.jobs)]
        told = subprocess.run([*words, "--slow", str(slow)], cwd=ROOT, capture_output=True, text=True, check=True)
        result = json.loads(told.stdout)
        result["ideal"] = ideal(options.jobs)
        result["over"] = round(result["seconds"] / result["ideal"] - 1, 4)
        print(result)
        found.append(result)
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    report = {"commit": commit.stdout.strip(), "date": time.strftime("%Y-%m-%d"), "jobs": options.jobs, "runs": found}
    (ROOT / "bench" / "results" / "ranks-dealing.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
