"""Two trees of nanostyle, the same commands, and whether every byte that they write is the same.

    python -m bench.same OLD NEW [--only TEXT] [--most N] [--keep FOLDER] [--times]

OLD and NEW are checkouts. Each work of `same_works.py` is one command line, run by `python -m nanostyle` with
PYTHONPATH set to one tree and then to the other, in a folder of its own for each, on the same inputs. All files that
the command wrote and what it printed on the standard output are compared. A line is printed for each work; where bytes
differ, the lines below it name the dataset, the attribute, the entry of the recipe or the pixels. The exit status is 1
after any difference that `EXPECTED` does not list.

Every command runs with NANOSTYLE_THREADS=2. What it shows on the standard error is not compared, nor the seconds in
logs and reports.
"""

import argparse
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from bench.differences import compare_files, lines, unequal
from bench.same_works import EXPECTED, WORKS, Work, make_inputs


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.same", description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="only works whose name holds TEXT, and those that they need"
    )
    parser.add_argument("--most", type=int, default=12, help="differences to name for each work (default: 12)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work there, and leave all files for a look")
    parser.add_argument(
        "--times", action="store_true", help="take turns in README's first command, and print its times"
    )
    options = parser.parse_args()
    trees = [options.old.resolve(), options.new.resolve()]
    for tree in trees:
        check_tree(tree)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.keep or temporary).resolve()
        places = [folder / "old", folder / "new"]
        make_inputs(trees[0], places[0])
        shutil.copytree(places[0], places[1])
        if options.times:
            print_times(trees, places)
        elif compare_works(trees, places, options.only, options.most):
            sys.exit(1)


def check_tree(tree: Path) -> None:
    """Stop unless Python finds nanostyle in `tree` with the environment of the works."""
    command = [sys.executable, "-c", "import nanostyle; print(nanostyle.__file__)"]
    with tempfile.TemporaryDirectory() as folder:  # Python looks into the current folder first
        found = subprocess.run(command, cwd=folder, env=environment(tree), capture_output=True, text=True)
    if not Path(found.stdout.strip() or "none").is_relative_to(tree):
        sys.exit(
            f"{tree}: expected a checkout of nanostyle; Python found {found.stdout.strip() or found.stderr.strip()}"
        )


def environment(tree: Path) -> dict[str, str]:
    """That of a work: nanostyle comes from `tree`, and no weights come from the user's cache."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("NANOSTYLE_")},
        "PYTHONPATH": str(tree),
        "NANOSTYLE_THREADS": "2",
        "XDG_CACHE_HOME": os.devnull,
    }


def run(tree: Path, place: Path, work: Work) -> "subprocess.CompletedProcess[str]":
    """The work as `tree` does it, in the folder `place`."""
    command = [sys.executable, "-m", "nanostyle", *shlex.split(work.command)]
    return subprocess.run(command, cwd=place, env=environment(tree), capture_output=True, text=True)


# --- the works, one after the other -------------------------------------------------------------------------------


def compare_works(trees: list[Path], places: list[Path], only: str, most: int) -> int:
    """Run all works and print a line for each, with at most `most` differences; how many are DIFFERENT."""
    start, counts, met = time.perf_counter(), {"equal": 0, "expected": 0, "DIFFERENT": 0}, set()
    for work in chosen(only):
        found = [(*reason(f"{work.name}: {text}"), text) for text in compare_work(trees, places, work)]
        met |= {pattern for pattern, _, _ in found}
        verdict = "equal" if not found else "expected" if all(why for _, why, _ in found) else "DIFFERENT"
        counts[verdict] += 1
        print(f"{verdict:<10}{work.name}", flush=True)
        found.sort(key=lambda difference: bool(difference[1]))  # what was not expected comes first
        for _, why, text in found[:most]:
            print(f"          {text}{f'  [{why}]' if why else ''}", flush=True)
        if len(found) > most:
            print(f"          and {len(found) - most} more", flush=True)
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()), end="")
    print(f", in {time.perf_counter() - start:.0f} s")
    if not only and (idle := EXPECTED.keys() - met):
        print(f"expected, but not met: {', '.join(sorted(idle))}")
    return counts["DIFFERENT"]


def chosen(only: str) -> list[Work]:
    """The works whose name holds `only`, and before them those that write a file that they read."""
    wanted: list[Work] = []
    needed: set[str] = set()
    for work in reversed(WORKS):
        words = shlex.split(work.command)
        if only in work.name or words[-1] in needed:
            wanted.insert(0, work)
            needed |= {word for word in words if word.endswith(".h5")}
    if not wanted:
        sys.exit(f"no work is called {only!r}: {', '.join(work.name for work in WORKS)}")
    return wanted


def compare_work(trees: list[Path], places: list[Path], work: Work) -> Iterator[str]:
    """The differences between what the two trees make of `work`, as "file: part: what"."""
    before = [listing(place) for place in places]
    results = [run(trees[0], places[0], work)]
    if work.old_only:
        for name in written(places[0], before[0]):
            (places[1] / name).parent.mkdir(exist_ok=True)
            shutil.copy(places[0] / name, places[1] / name)
    else:
        results.append(run(trees[1], places[1], work))
    for tree, result in zip(trees, results, strict=False):
        if result.returncode != work.status:
            last = (result.stderr.strip().splitlines() or [""])[-1]
            yield f"exit status: of {tree}: expected {work.status}, got {result.returncode}: {last}"
    if work.old_only:
        return
    if results[0].stdout != results[1].stdout:
        for line in unequal(lines(results[0].stdout), lines(results[1].stdout)):
            yield f"standard output: {line}"
    changed = [written(place, old) for place, old in zip(places, before, strict=True)]
    if work.status == 0 and not (changed[0] or results[0].stdout):
        yield "nothing: was written: so nothing was compared"
    for name in sorted(changed[0] ^ changed[1]):
        yield f"{name}: file: written by {'old' if name in changed[0] else 'new'} alone"
    for name in sorted(changed[0] & changed[1]):
        for part in compare_files(places[0] / name, places[1] / name):
            yield f"{name}: {part}"


def written(place: Path, before: dict[str, tuple[int, int]]) -> set[str]:
    """The files below `place` that were written since it was listed."""
    return {name for name, stat in listing(place).items() if before.get(name) != stat}


def listing(place: Path) -> dict[str, tuple[int, int]]:
    """Each file below `place`, with what changes when it is written."""
    found = ((path, path.stat()) for path in sorted(place.rglob("*")) if path.is_file())
    return {str(path.relative_to(place)): (stat.st_mtime_ns, stat.st_ino) for path, stat in found}


def reason(difference: str) -> tuple[str, str]:
    """The pattern of `EXPECTED` that the difference meets, and its reason; empty where there is none."""
    return next(((p, why) for p, why in EXPECTED.items() if fnmatchcase(difference, p)), ("", ""))


# --- times --------------------------------------------------------------------------------------------------------


def print_times(trees: list[Path], places: list[Path], rounds: int = 10) -> None:
    """The wall time of README's first command, from the start of Python to its end, the trees in turn."""
    work = Work("README", "stylize docs/photo.jpg --style-image docs/painting.jpg --overwrite -o result.jpg")
    seconds: list[list[float]] = [[], []]
    for turn in range(rounds + 1):
        for i in (0, 1) if turn % 2 else (1, 0):
            start = time.perf_counter()
            result = run(trees[i], places[i], work)
            if result.returncode:
                sys.exit(f"{trees[i]}: {result.stderr.strip()}")
            if turn:  # the first fills the caches
                seconds[i].append(time.perf_counter() - start)
    for tree, values in zip(trees, seconds, strict=True):
        print(f"{statistics.median(values):.3f} s (median of {rounds}; least {min(values):.3f})  {tree}")
    ratios = [new / old for old, new in zip(*seconds, strict=True)]
    print(f"new over old: {statistics.median(ratios):.3f} (median of the pairs)")


if __name__ == "__main__":
    main()
