"""Whether a training has the same bytes on any number of ranks: 8 shards on 1, 3, 5 and 8 ranks, and without MPI.

    python -m bench.robustness.ranks [--ranks 1 3 5 8] [--keep FOLDER]

Of each kind, `cin`, `predict` and `feedforward --norm batch`, with a running average of the weights and two roll-backs
after a loss of NaN. It is independent of the tests: SHA-256 of the model and of every array of the checkpoint. Needs
mpi4py and an mpiexec; the results are written to bench/results/ranks-bytes.json.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from bench.folders import ROOT
from tests.support.ranks import ended as end_of
from tests.support.ranks import folder_for, start_each

SHARDS = 8
COMMON = (
    f"--loss-net=loss.h5 --content=photos --size=32 --width=0.25 --batch=16 --shards={SHARDS} --steps=12 --ema=0.9"
    " --checkpoint-every=3 --preview-every=100 --threads=1 --quiet --seed=3"
)
KINDS = {
    "cin": f"train --mode cin --styles paintings {COMMON}",
    "predict": f"train --mode predict --backbone conv --styles paintings {COMMON}",
    "feedforward": f"train --mode feedforward --norm batch --styles paintings/00.png {COMMON}",
}


def digests(output: Path) -> dict[str, str]:
    """SHA-256 of the model, of the checkpoint, and of all arrays in the checkpoint together."""
    checkpoint = output.with_suffix(".training") / "checkpoint.h5"
    arrays = hashlib.sha256()

    def add(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            arrays.update(name.encode() + np.ascontiguousarray(item[()]).tobytes())

    with h5py.File(checkpoint) as file:
        file.visititems(add)
    files = {name: hashlib.sha256(path.read_bytes()) for name, path in (("model", output), ("checkpoint", checkpoint))}
    return {name: digest.hexdigest() for name, digest in {**files, "arrays": arrays}.items()}


def events(output: Path) -> list[str]:
    """The roll-backs in the log."""
    lines = (output.with_suffix(".training") / "log.jsonl").read_text().splitlines()
    return [record["event"] for record in map(json.loads, lines) if "event" in record]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.robustness.ranks", description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 3, 5, 8])
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work there, and leave all files for a look")
    options = parser.parse_args()
    found: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = folder_for(options.keep or Path(temporary))
        for kind, command in KINDS.items():
            made: dict[str, dict[str, object]] = {}
            for ranks in (0, *options.ranks):
                output = folder / f"{kind}{ranks}.h5"
                words = ["nan", *command.split(), "-o", output.name]
                program = (str(ROOT / "tests" / "support" / "rank_faults.py"),)
                status, lines, seconds = end_of(start_each([(ranks, words)], cwd=folder, program=program), within=400)
                if status:
                    sys.exit("\n".join(lines))
                made[str(ranks or "no MPI")] = {**digests(output), "events": events(output)}
                print(f"{kind}, {ranks or 'no'} ranks: {seconds:.1f} s, {made[str(ranks or 'no MPI')]['model']}")
            same = len({json.dumps(each, sort_keys=True) for each in made.values()}) == 1
            found[kind] = {"same": same, "command": command, **made["no MPI"], "ranks": list(made)}
            print(f"{kind}: {'the same bytes' if same else 'DIFFERENT'}", flush=True)
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    report = {"commit": commit.stdout.strip(), "date": time.strftime("%Y-%m-%d"), "kinds": found}
    (ROOT / "bench" / "results" / "ranks-bytes.json").write_text(json.dumps(report, indent=1) + "\n")
    sys.exit(not all(each["same"] for each in found.values()))


if __name__ == "__main__":
    main()
