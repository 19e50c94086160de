"""Fails where the tests run less of a room than its floor: `python .ci/floors.py coverage.json`."""

import json
import sys
from collections import Counter
from pathlib import Path

# In percent of the lines that can run, 2 below what was measured. Kernels run through the emulator and are not Python.
FLOORS: dict[str, int] = {}


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
    """Print a line for each room; exit status 1 where one is below its floor, or has none."""
    found = coverage(Path(sys.argv[1]))
    low = {room for room in found.keys() | FLOORS.keys() if not found.get(room, 0) >= FLOORS.get(room, 101)}
    for room in sorted(found.keys() | FLOORS.keys()):
        floor = FLOORS.get(room, "none")
        print(f"{room}: {found.get(room, 0):.1f} % (floor {floor}){' TOO LOW' if room in low else ''}")
    sys.exit(bool(low))


if __name__ == "__main__":
    main()
