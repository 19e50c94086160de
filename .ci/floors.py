"""Fails where the tests run less of a room than its floor: `python .ci/floors.py coverage.json`."""

import json
import sys
from collections import Counter
from pathlib import Path

# In percent of the lines that can run: 2 below what the tests reach without those of the emulator, of the kernels, of
# the measurements, of the browser and of several ranks. Kernels run through the emulator and are not Python.
FLOORS = {
    "api": 98,
    "autograd": 97,
    "backend": 70,
    "cli": 92,
    "diagnostics": 81,
    "errors": 98,
    "export": 97,
    "io": 94,
    "methods": 97,
    "models": 96,
    "nets": 97,
    "nn": 98,
    "optim": 97,
    "server": 94,
    "training": 86,
}


def coverage(report: Path) -> dict[str, float]:
    """Percent of the lines of each room that the tests ran, from the report of coverage.py as JSON."""
    every: Counter[str] = Counter()
    ran: Counter[str] = Counter()
    for name, file in json.loads(report.read_text())["files"].items():
        parts = Path(name).parts
        room = parts[parts.index("nanostyle") + 1].removesuffix(".py")
        every[room] += file["summary"]["num_statements"]
        ran[room] += file["summary"]["covered_lines"]
    return {room: 100 * ran[room] / lines for room, lines in sorted(every.items()) if lines}


def main() -> None:
    """Print a line for each room; exit status 1 where one is below its floor."""
    found = coverage(Path(sys.argv[1]))
    low = {room for room, floor in FLOORS.items() if not found.get(room, 0) >= floor}
    for room in sorted(found.keys() | FLOORS.keys()):
        floor = FLOORS.get(room, "none")
        print(f"{room}: {found.get(room, 0):.1f} % (floor {floor}){' TOO LOW' if room in low else ''}")
    sys.exit(bool(low))


if __name__ == "__main__":
    main()
