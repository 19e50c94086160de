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
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, count
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image

from bench.folders import RESULTS, ROOT
from bench.serving import Server
from nanostyle.server.jobs import IDLE

STYLE = "scream_munch"
PREVIEWS = (256, 512, 1024)
Row = dict[str, Any]
TINY = 64  # pixels: what loads a model and takes no time


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed.server", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--final", type=int, default=1200, metavar="PIXELS", help="long side of the download")
    parser.add_argument(
        "--only", nargs="+", choices=("start", "memory", "refinement", "api"), help="parts; default: all"
    )
    parser.add_argument("--output", type=Path, default=RESULTS / "server-cpu.json")
    options = parser.parse_args(arguments)
    from bench.speed.pairing import machine

    rows: list[dict[str, Any]] = []
    parts = {
        "start": _started(3),
        "memory": _memory(options.final),
        "refinement": _beside_a_refinement(options.rounds),
        "api": _paired(options),
    }
    for row in chain(*(parts[name] for name in options.only or parts)):
        rows.append(row)
        print(f"{row['what']}: {row['value']} {row['unit']}, at most {row['bound']}; {row['more']}", flush=True)
        # After each: a run that is cut off should not be for nothing.
        options.output.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    sys.exit(any(row["value"] > row["bound"] for row in rows))


def _row(what: str, unit: str, value: float, bound: float, **more: Any) -> Row:
    digits = 3 if unit == "s" else 0
    return {"what": what, "unit": unit, "value": round(value, digits), "bound": round(bound, digits), "more": more}


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


def _started(rounds: int) -> Iterator[Row]:
    seconds = []
    for _ in range(rounds):
        with Server("gui") as server:
            seconds.append(server.seconds_to_start + _seconds(partial(server.ask, "GET", "/")))
    yield _row("start of nanostyle gui, until its page is served", "s", median(seconds), 1.5)


def _paired(options: argparse.Namespace) -> Iterator[Row]:
    """Previews, `/stylize` and a download, each against the API."""
    import nanostyle

    model = nanostyle.load_model("styles", device="cpu")
    with Server() as server:
        for side in PREVIEWS:
            ours = partial(nanostyle.Stylizer(STYLE, model=model).stylize, Image.open(io.BytesIO(photo_of(side))))
            order = {"photo": server.send(photo_of(side)), "size": side, "client": "a tab"}
            # Another weight each time: that the server has the style ready is of no use.
            theirs = partial(_preview, server, order, count())
            yield _against(
                f"preview of {side} pixels", max(3, options.rounds * 256 // side), server, theirs, ours, 1.5, 0.06
            )
        yield _stylized(options.rounds, server, model)
        yield _final(3, server, model, options.final)


def _preview(server: Server, order: dict[str, Any], weights: Iterator[int]) -> None:
    """What the page does for a preview: a job, its events, its picture."""
    layers = [{"style": STYLE, "weight": 1 + next(weights)}]
    made = server.begin(kind="preview", layers=layers, **order).json["id"]
    server.follow(made)
    assert server.ask("GET", f"/api/v1/jobs/{made}/picture?max={order['size']}").status == 200


def _stylized(rounds: int, server: Server, model: Any) -> Row:
    import nanostyle

    data = photo_of(512)

    def ours() -> None:
        result = nanostyle.stylize(Image.open(io.BytesIO(data)), STYLE, model=model)
        result.image.save(io.BytesIO(), "JPEG", quality=95)

    def theirs() -> None:
        assert server.ask("POST", f"/stylize?style={STYLE}", data).status == 200

    return _against("/stylize of 512 pixels", rounds, server, theirs, ours, 1.0, 0.04)


def _final(rounds: int, server: Server, model: Any, side: int) -> Row:
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

        return _against(f"download of {side} pixels", rounds, server, theirs, ours, 1.1, 0.0)


def _against(
    what: str,
    rounds: int,
    server: Server,
    theirs: Callable[[], object],
    ours: Callable[[], object],
    factor: float,
    more: float,
) -> Row:
    """What the server takes beyond `factor` times the API, in pairs: the machine slows both of a pair alike."""
    ours(), theirs()
    pairs, begun, own = [], server.cpu(), time.process_time()
    for _ in range(rounds):
        pairs.append((_seconds(ours), _seconds(theirs)))
    # Of both, the client's part in asking counted to the API: other work on the machine hardly changes these.
    cpu = {"api": round((time.process_time() - own) / rounds, 3), "server": round((server.cpu() - begun) / rounds, 3)}
    here, there = (round(median(values), 3) for values in zip(*pairs, strict=True))
    ratio = round(median(b / a for a, b in pairs), 2)
    beyond = median(b - factor * a for a, b in pairs)
    return _row(
        f"{what}, beyond {factor} x the Python API", "s", beyond, more, api=here, server=there, ratio=ratio, cpu=cpu
    )


def _beside_a_refinement(rounds: int) -> Iterator[Row]:
    """A preview waits for one step of a refinement, and a refinement that is canceled frees the queue."""
    with Server() as server:
        id, weights = server.send(photo_of(256)), count()
        preview = partial(_preview, server, {"photo": id, "size": 256, "client": "a tab"}, weights)
        alone = median([_seconds(preview) for _ in range(rounds + 1)][1:])
        words = {"photo": id, "size": 256, "layers": [{"painting": id}], "gatys": {"iterations": 2000}}
        refining = server.begin(kind="refine", **words).json["id"]
        while server.status(refining)["n"] < 3:
            time.sleep(0.02)
        first, begun = server.status(refining)["n"], time.perf_counter()
        time.sleep(5)
        step = (time.perf_counter() - begun) / max(1, server.status(refining)["n"] - first)
        beside = median(_seconds(preview) for _ in range(rounds))
        more = {"step": round(step, 3), "alone": round(alone, 3)}
        yield _row("preview of 256 pixels beside a refinement", "s", beside, step + 1.5 * alone, **more)
        begun = time.perf_counter()
        server.ask("DELETE", f"/api/v1/jobs/{refining}")
        preview()
        freed = time.perf_counter() - begun - alone
        yield _row("a refinement is canceled, until other work begins", "s", max(0.0, freed), 1.0)


# --- memory ---------------------------------------------------------------------------------------------------------


def _memory(side: int) -> Iterator[Row]:
    with Server() as server:
        small = server.send(photo_of(TINY))
        for layer in ({"style": STYLE}, {"painting": small}):
            server.follow(server.begin(kind="final", photo=small, layers=[layer]).json["id"])
        yield _row("memory at rest, both models loaded", "MB", server.memory(), 200)
        data = photo_of(side)
        made = server.begin(kind="final", photo=server.send(data), layers=[{"style": STYLE}], format="jpeg").json
        server.follow(made["id"])
        forecast = made["forecast"]["bytes"] / 1e6
        bound = 1.4 * forecast + 256 + len(data) / 1e6
        peak = server.memory("VmHWM")
        yield _row(f"memory at most, download of {side} pixels", "MB", peak, bound, forecast=round(forecast))
        time.sleep(IDLE + 5)
        yield _row("memory afterwards", "MB", server.memory(), 200)


if __name__ == "__main__":
    main()
