"""The log of a training, as lines of JSON, and its report, as a page of HTML."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from nanostyle.io.atomic import write

_WIDTH, _HEIGHT, _MARGIN = 760, 260, 46
_POINTS = 120
_COLORS = {
    "loss": "#222222",
    "content": "#1f77b4",
    "style": "#d62728",
    "tv": "#2ca02c",
    "grid": "#8c564b",
    "photo": "#9467bd",
    "palette": "#e377c2",
    "pan": "#ff7f0e",
}


class Log:
    """The records of a training, in memory and as lines of JSON in a file.

    A record is a dict of the number of its `step` and what was measured there. The file grows by whole lines. A line
    that was cut short when the program was killed is ignored.
    """

    def __init__(self, path: Path | None) -> None:
        """Read the log in `path`, if there is one; `rewind` says from where it goes on. None: keep it in memory."""
        self.path = path
        self.records: list[dict[str, Any]] = []
        self._file: TextIO | None = None
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    self.records.append(json.loads(line))
                except ValueError:
                    continue

    def rewind(self, step: int) -> None:
        """Remove all records after `step`."""
        self.close()
        self.records = [record for record in self.records if record["step"] <= step]
        if self.path is not None:
            write(self.path, "".join(json.dumps(record) + "\n" for record in self.records))

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a record, in memory and in the file."""
        self.records.append(dict(record))
        if self.path is None:
            return
        if self._file is None:
            self._file = self.path.open("a", encoding="utf-8", buffering=1)
        self._file.write(json.dumps(record) + "\n")

    def close(self) -> None:
        """Close the file; the next `append` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None


def write_report(
    path: Path,
    *,
    title: str,
    records: Sequence[Mapping[str, Any]],
    previews: Mapping[int, bytes],
    options: Mapping[str, Any],
    skipped: Mapping[Path, str],
) -> None:
    """Write the page: loss curves, losses by style, previews, options, skipped pictures. It links to no other file.

    Parameters
    ----------
    records
        Those of the `Log`. With `loss` and `terms`: a step. With `styles` (by name, content and style loss): a
        measurement on the preview photos. With `event`: a roll-back.
    previews
        Contact sheets as JPEG files, by step.
    skipped
        The pictures that could not be used, each with the reason.

    Raises
    ------
    OSError
        The page cannot be written.
    """
    steps = [record for record in records if "loss" in record]
    body = [f"<h1>{escape(title)}</h1>"]
    if steps:
        last = steps[-1]
        speed = np.median([record["seconds"] for record in steps[-100:]])
        body.append(f"<p>Step {last['step']}, loss {last['loss']:.4g}, {speed:.3g} seconds per step.</p>")
        body.append(_curves(steps))
    body += [f"<p>Step {r['step']}: {escape(r['event'])}</p>" for r in records if "event" in r]
    measured = [record for record in records if "styles" in record]
    if measured:
        body.append(f"<h2>Styles</h2><p>On the preview photos, after step {measured[-1]['step']}, without weights.</p>")
        body.append(
            _table(
                ["style", "content", "style"],
                [[name, f"{v['content']:.4g}", f"{v['style']:.4g}"] for name, v in measured[-1]["styles"].items()],
            )
        )
    for step in sorted(previews, reverse=True):
        data = base64.b64encode(previews[step]).decode()
        body.append(f'<h2>Step {step}</h2><img alt="step {step}" src="data:image/jpeg;base64,{data}">')
    body.append("<h2>Options</h2>" + _table(["option", "value"], [[k, str(v)] for k, v in options.items()]))
    if skipped:
        body.append(f"<h2>Skipped pictures ({len(skipped)})</h2>")
        body.append(_table(["file", "why"], [[str(file), why] for file, why in skipped.items()]))
    write(path, _PAGE.format(title=escape(title), body="\n".join(body)))


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #222 }}
h1, h2 {{ font-weight: 600 }} img, svg {{ max-width: 100%; height: auto }}
table {{ border-collapse: collapse }} th, td {{ text-align: left; padding: .1rem 1.2rem .1rem 0; vertical-align: top }}
</style></head><body>
{body}
</body></html>
"""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    return f"<table><tr>{cells}</tr>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _curves(steps: Sequence[Mapping[str, Any]]) -> str:
    """The loss and its terms over the steps as an SVG picture; the loss on a logarithmic scale."""
    series = {"loss": [r["loss"] for r in steps]}
    for name in dict.fromkeys(name for r in steps for name in r["terms"]):
        series[name] = [r["terms"].get(name, math.nan) for r in steps]
    x = [r["step"] for r in steps]
    lines = {name: _binned(x, y) for name, y in series.items()}
    heights = [height for line in lines.values() for _, height in line]
    if not heights:
        return ""
    low, high = min(heights) - 0.02, max(heights) + 0.02

    def place(step: float, height: float) -> str:
        across = _MARGIN + (_WIDTH - 2 * _MARGIN) * (step - x[0]) / max(1, x[-1] - x[0])
        down = _MARGIN + (_HEIGHT - 2 * _MARGIN) * (high - height) / (high - low)
        return f"{across:.1f},{down:.1f}"

    parts = []
    marks = [m * 10.0**power for power in range(math.floor(low), math.ceil(high)) for m in (1, 2, 5)]
    for mark in (mark for mark in marks if low < math.log10(mark) < high):
        start, end = place(x[0], math.log10(mark)), place(x[-1], math.log10(mark))
        parts.append(f'<path d="M{start} L{end}" stroke="#dddddd" fill="none"/>')
        parts.append(f'<text x="4" y="{float(start.split(",")[1]) + 4:.1f}" font-size="12">{mark:g}</text>')
    for i, (name, line) in enumerate(lines.items()):
        color = _COLORS.get(name, "#888888")
        points = " ".join(place(step, height) for step, height in line)
        parts.append(f'<polyline points="{points}" stroke="{color}" fill="none" stroke-width="1.5"/>')
        parts.append(f'<text x="{_MARGIN + 90 * i}" y="20" fill="{color}" font-size="14">{escape(name)}</text>')
    foot = f'<text x="{_WIDTH - _MARGIN}" y="{_HEIGHT - 14}" text-anchor="end" font-size="12">step {x[-1]}</text>'
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(parts)}{foot}</svg>'


def _binned(x: Sequence[int], y: Sequence[float]) -> list[tuple[float, float]]:
    """The curve in at most 120 points: mean step and logarithm of the mean value of as many parts of equal length."""
    points = []
    for part in np.array_split(np.arange(len(x)), min(_POINTS, len(x))):
        values = np.array([y[i] for i in part], float)
        values = values[np.isfinite(values) & (values > 0)]
        if values.size:
            points.append((float(np.mean([x[i] for i in part])), math.log10(values.mean())))
    return points
