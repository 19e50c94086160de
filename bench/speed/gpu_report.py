"""Put the parts of `gpu_day.sh` together, as its last step: `python -m bench.speed.gpu_report DIR`."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from nanostyle.io.atomic import replacing


def main(arguments: Sequence[str] | None = None) -> None:
    """Write `gpu_day.json` and `gpu_day.md` from the files that the parts left in the folder."""
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) != 1 or not (Path(given[0]) / "gpu_day.tsv").is_file():
        sys.exit("gpu_report: expected the folder that gpu_day.sh has written to")
    folder = Path(given[0])
    parts = [line.split("\t") for line in (folder / "gpu_day.tsv").read_text().splitlines()]
    report = {"parts": [{"part": name, "result": result, "seconds": int(s)} for name, result, s in parts]}
    lines = ["# A day with a GPU", "", "| part | result | seconds |", "| --- | --- | --- |"]
    lines += [f"| {name} | {result} | {seconds} |" for name, result, seconds in parts]
    for name in ("gpu_networks", "kernels"):
        if (folder / f"{name}.json").is_file():
            report[name] = json.loads((folder / f"{name}.json").read_text())
            lines += ["", f"## {name}", "", (folder / f"{name}.md").read_text().rstrip()]
    with replacing(folder / "gpu_day.json") as path:
        path.write_text(json.dumps(report, indent=1) + "\n")
    with replacing(folder / "gpu_day.md") as path:
        path.write_text("\n".join(lines) + "\n")
    (folder / "gpu_day.tsv").unlink()
    print(f"written: {folder}/gpu_day.json and .md")


if __name__ == "__main__":
    main()
