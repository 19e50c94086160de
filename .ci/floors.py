"""Fails where the tests run less of a room than its floor: `python .ci/floors.py coverage.json`."""

import json
import sys
from collections import Counter
from pathlib import Path

# In percent of the lines that can run, 2 below what the commands alone reach that the tests start in processes of their
# own. To be raised to 2 below what the whole suite reaches. Kernels run through the emulator and are not Python.
FLOORS = {
    "api": 62,
    "autograd": 58,
    "backend": 46,
    "cli": 69,
    "diagnostics": 50,
    "errors": 74,
    "export": 26,
    "io": 46,
    "methods": 68,
    "models": 64,
    "nets": 68,
    "nn": 76,
    "optim": 62,
    "training": 34,
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
