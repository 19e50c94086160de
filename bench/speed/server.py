"""The server against the Python API in turn, and its memory: `python -m bench.speed.server`.

Each row has a bound: of seconds what the Python API takes for the same picture, times a factor, and some milliseconds;
of memory what the server itself forecasts. The API works in this process while the server rests, and the other way
round, so that other work on the machine slows both alike. A preview is what the page does: a job, its events, its
picture. The exit status is 1 where a bound is passed.
"""

import argparse
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from bench.folders import RESULTS, ROOT
from bench.serving import Server

STYLE = "scream_munch"
PREVIEWS = (256, 512, 1024)
TINY = 64  # pixels: what loads a model and takes no time


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed.server", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--final", type=int, default=1200, metavar="PIXELS", help="long side of the download")
    parser.add_argument("--output", type=Path, default=RESULTS / "server-cpu.json")
    options = parser.parse_args(arguments)
    from bench.speed.pairing import machine

    rows: list[dict[str, Any]] = []
    parts: list[Callable[[], list[dict[str, Any]]]] = [
        lambda: _started(3),
        lambda: _memory(options.final),
        lambda: _beside_a_refinement(options.rounds),
        lambda: _paired(options.rounds, options.final),
    ]
    for part in parts:  # written after each: a run that is cut off should not be for nothing
        rows += part()
        options.output.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    sys.exit(any(row["value"] > row["bound"] for row in rows))


def _row(what: str, unit: str, value: float, bound: float, **more: Any) -> dict[str, Any]:
    digits = 3 if unit == "s" else 0
    row = {"what": what, "unit": unit, "value": round(value, digits), "bound": round(bound, digits), **more}
    print(f"{what}: {row['value']} {unit}, at most {row['bound']} {more or ''}", flush=True)
    return row


def photo_of(side: int, kind: str = "JPEG") -> bytes:
    """A file of a photo with that long side."""
    image = Image.open(ROOT / "docs" / "pictures" / "photo.jpg")
    size = side, round(side * image.height / image.width)
    data = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(data, kind)
    return data.getvalue()


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


# --- seconds --------------------------------------------------------------------------------------------------------


def _started(rounds: int) -> list[dict[str, Any]]:
    seconds = []
    for _ in range(rounds):
        with Server("gui") as server:
            seconds.append(_seconds(lambda: server.ask("GET", "/")) + server.seconds_to_start)
    return [_row("start of nanostyle gui, until its page is served", "s", median(seconds), 1.5)]


def _paired(rounds: int, final: int) -> list[dict[str, Any]]:
    """Previews, `/stylize` and a download, each against the API."""
    import nanostyle

    rows = []
    model = nanostyle.load_model("styles", device="cpu")
    with Server() as server:
        for side in PREVIEWS:
            photo, id = Image.open(io.BytesIO(photo_of(side))), server.send(photo_of(side))
            ours = nanostyle.Stylizer(STYLE, model=model)
            order = {"kind": "preview", "photo": id, "size": side, "client": "a tab"}
            # Another strength each time, as of a slider: the prepared style is of no use.
            strengths = iter(np.linspace(0.99, 0.9, 40))

            def preview(order: dict[str, Any] = order, strengths: Any = strengths) -> None:
                layers = [{"style": STYLE, "weight": float(next(strengths))}]
                made = server.begin(**order, layers=layers).json["id"]
                server.follow(made)
                assert server.ask("GET", f"/api/v1/jobs/{made}/picture?max={order['size']}").status == 200

            rows.append(
                _against(f"preview of {side} pixels", rounds, preview, lambda: ours.stylize(photo), 1.5, 0.06)  # noqa: B023
            )
        rows.append(_stylized(rounds, server, model))
        rows.append(_final(max(2, rounds // 2), server, model, final))
    return rows


def _stylized(rounds: int, server: Server, model: Any) -> dict[str, Any]:
    import nanostyle

    data = photo_of(512)

    def ours() -> None:
        result = nanostyle.stylize(Image.open(io.BytesIO(data)), STYLE, model=model)
        result.image.save(io.BytesIO(), "JPEG", quality=95)

    def theirs() -> None:
        assert server.ask("POST", f"/stylize?style={STYLE}", data).status == 200

    return _against("/stylize of 512 pixels", rounds, theirs, ours, 1.0, 0.04)


def _final(rounds: int, server: Server, model: Any, side: int) -> dict[str, Any]:
    """A download, against what `nanostyle stylize` does once it is started: read, paint, write."""
    import nanostyle

    data = photo_of(side)
    id = server.send(data)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "photo.jpg")
        source.write_bytes(data)

        def ours() -> None:
            nanostyle.stylize(source, STYLE, model=model).save(Path(folder, "out.jpg"), overwrite=True)

        def theirs() -> None:
            order = {"kind": "final", "photo": id, "layers": [{"style": STYLE}], "format": "jpeg"}
            made = server.begin(**order).json["id"]
            server.follow(made)
            assert server.ask("GET", f"/api/v1/jobs/{made}/result").status == 200

        return _against(f"download of {side} pixels", rounds, theirs, ours, 1.1, 0.0)


def _against(
    what: str, rounds: int, theirs: Callable[[], object], ours: Callable[[], object], factor: float, more: float
) -> dict[str, Any]:
    ours(), theirs()
    pairs = [(_seconds(ours), _seconds(theirs)) for _ in range(rounds)]
    api, server = (median(values) for values in zip(*pairs, strict=True))
    ratio = median(there / here for here, there in pairs)
    return _row(what, "s", server, factor * api + more, api=round(api, 3), ratio=round(ratio, 2))


def _beside_a_refinement(rounds: int) -> list[dict[str, Any]]:
    """A preview waits for one step of a refinement, and a refinement that is canceled frees the queue."""
    with Server() as server:
        id = server.send(photo_of(256))
        order = {"photo": id, "size": 256, "client": "a tab"}
        alone = []
        for i in range(rounds + 1):
            alone.append(_seconds(lambda: _preview(server, order, 1 + i / 100)))  # noqa: B023
        gatys = {"iterations": 2000}
        refining = server.begin(kind="refine", layers=[{"painting": id}], gatys=gatys, **{**order, "client": ""}).json
        while server.status(refining["id"])["n"] < 3:
            time.sleep(0.02)
        first, begun = server.status(refining["id"])["n"], time.perf_counter()
        time.sleep(5)
        step = (time.perf_counter() - begun) / (server.status(refining["id"])["n"] - first)
        beside = [_seconds(lambda: _preview(server, order, 2 + i / 100)) for i in range(rounds)]  # noqa: B023
        bound = step + 1.5 * median(alone[1:])
        rows = [
            _row("preview of 256 pixels beside a refinement", "s", median(beside), bound, step=round(step, 3)),
        ]
        begun = time.perf_counter()
        server.ask("DELETE", f"/api/v1/jobs/{refining['id']}")
        _preview(server, order, 3)
        freed = time.perf_counter() - begun - median(alone[1:])
        return [*rows, _row("a refinement is canceled, until other work begins", "s", max(0.0, freed), 1.0)]


def _preview(server: Server, order: dict[str, Any], weight: float) -> None:
    made = server.begin(kind="preview", layers=[{"style": STYLE, "weight": weight}], **order).json["id"]
    server.follow(made)


# --- memory ---------------------------------------------------------------------------------------------------------


def _memory(side: int) -> list[dict[str, Any]]:
    with Server() as server:
        small = server.send(photo_of(TINY))
        for layer in ({"style": STYLE}, {"painting": small}):
            server.follow(server.begin(kind="final", photo=small, layers=[layer]).json["id"])
        rows = [_row("memory at rest, both models loaded", "MB", server.memory(), 200)]
        data = photo_of(side)
        id = server.send(data)
        made = server.begin(kind="final", photo=id, layers=[{"style": STYLE}], format="jpeg").json
        server.follow(made["id"])
        forecast = made["forecast"]["bytes"] / 1e6
        bound = 1.4 * forecast + 256 + len(data) / 1e6
        peak = server.memory("VmHWM")
        rows.append(_row(f"memory at most, download of {side} pixels", "MB", peak, bound, forecast=round(forecast)))
        time.sleep(35)  # the server gives memory back when it has had no work for 30 s
        return [*rows, _row("memory afterwards", "MB", server.memory(), 200 + 30)]


if __name__ == "__main__":
    main()
