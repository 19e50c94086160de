"""Photos dealt out to three ranks of which one is 50 times slower: `python -m bench.speed.ranks [--jobs N]`.

400 jobs that sleep, 20 ms on two ranks and 1 s on the third, which is rank 0 in one run and rank 2 in the other. The
time is that from the first job to the last result, against the best division of the jobs: by the 20 ms and the second
that they should take, and by what they took, since a busy machine sleeps longer. Needs mpi4py and an mpiexec; the
results are written to bench/results/ranks-dealing.json.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

from bench.folders import ROOT
from nanostyle.backend.comm.world import world

RANKS, FAST, SLOW = 3, 0.02, 1.0


def ideal(jobs: int, fast: float = FAST, slow: float = SLOW) -> float:
    """The seconds of the best division, of jobs that take so long on a fast rank and on the slow one."""
    most = int(jobs * fast / slow) + 2
    return min(max(done * slow, -(-(jobs - done) // (RANKS - 1)) * fast) for done in range(most))


def deal(jobs: int, slow: int) -> None:
    """Deal the jobs out, as one of the ranks; rank 0 prints what came of it."""
    here = world()

    def work(job: int) -> tuple[int, float]:
        begun = time.perf_counter()
        time.sleep(SLOW if here.rank == slow else FAST)
        return here.rank, time.perf_counter() - begun

    here.gather(0)
    begun = time.perf_counter()
    done = list(here.deal(range(jobs) if here.is_first else (), work))
    seconds = time.perf_counter() - begun
    if here.is_first:
        assert sorted(job for job, _ in done) == list(range(jobs)), "a job was not done once"
        took = [[seconds for _, (rank, seconds) in done if rank == r] for r in range(RANKS)]
        fast = statistics.mean(each for r in range(RANKS) if r != slow for each in took[r])
        best = ideal(jobs, fast, statistics.mean(took[slow] or [SLOW]))
        told = {"slow": slow, "seconds": seconds, "ideal": ideal(jobs), "ideal as measured": best}
        over = {"over": seconds / ideal(jobs) - 1, "over as measured": seconds / best - 1}
        rounded = {name: round(value, 4) for name, value in (told | over).items()}
        print(json.dumps(rounded | {"jobs": [len(each) for each in took]}))


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
        print(told.stdout, end="")
        found.append(json.loads(told.stdout))
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    report = {"commit": commit.stdout.strip(), "date": time.strftime("%Y-%m-%d"), "jobs": options.jobs, "runs": found}
    (ROOT / "bench" / "results" / "ranks-dealing.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
