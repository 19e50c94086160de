"""The server under load, broken input and clients that vanish: nothing hangs, nothing leaks, the worker lives on.

    python -m bench.robustness.server [--requests 100] [--pictures 2000] [--orders 500] [--seed 0]

Requests of 512 pixels by four clients at once; mutated pictures, sent and shown; mutated JSON bodies; more connections
and more jobs than are taken; a client that is killed while its job runs; Ctrl-C with a refinement and an open stream.
After each part a photo is stylized. Figures are memory and seconds; the exit status is 1 after any fault.
"""

import argparse
import contextlib
import io
import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image

from bench.folders import ROOT
from bench.robustness.fuzz_pictures import seeds
from bench.serving import OVER, Server

STYLE = "scream_munch"
MOST_GROWTH = 30.0
"""MB that may be held more after all requests of a kind than after the first fifth of them."""
CLIENTS = 4
TICK = 0.01
"""Seconds: less than this of a processor's time is not told."""
_STRANGE: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    7.5,
    1e308,
    10**30,
    "",
    "x",
    "final",
    "../../etc/passwd",
    "x" * 9000,
    [],
    {},
    [[]],
    [{}],
]
_STRANGE += [[{"style": STYLE}] * 3, [{"style": "nobody"}], [{"painting": "x", "weight": 0}], {"iterations": 1}]


def photo_of(side: int) -> bytes:
    """A JPEG file of a photo with that long side."""
    data = io.BytesIO()
    image = Image.open(ROOT / "docs" / "pictures" / "photo.jpg")
    image.thumbnail((side, side))
    image.save(data, "JPEG")
    return data.getvalue()


class Trial:
    """The parts, each of which notes its faults and prints a line."""

    def __init__(self, server: Server, seed: int) -> None:
        self.server, self.rng, self.faults = server, np.random.default_rng(seed), list[str]()
        self.photo = photo_of(64)
        self.id = server.send(self.photo)

    def fault(self, text: str) -> None:
        """Note a fault."""
        self.faults.append(text)

    def lives(self, part: str) -> None:
        """A photo is stylized, within a minute."""
        begun = time.perf_counter()
        answer = self.server.ask("POST", f"/stylize?style={STYLE}&size=64", self.photo)
        if answer.status != 200 or time.perf_counter() - begun > 60:
            self.fault(f"{part}: afterwards a photo gets {answer.status} after {time.perf_counter() - begun:.0f} s")

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[dict[str, object]]:
        """A part of the trial: what it tells is printed with its seconds and the memory after it."""
        begun, told = time.perf_counter(), dict[str, object]()
        yield told
        self.lives(name)
        said = "; ".join(f"{key} {value}" for key, value in told.items())
        print(f"{name}: {said}; {time.perf_counter() - begun:.0f} s, {self.server.memory():.0f} MB", flush=True)

    def spread(self, count: int, work: Callable[[int], int]) -> Counter[int]:
        """`work` for each number below `count`, by four clients at once; how often it gave which status."""
        with ThreadPoolExecutor(CLIENTS) as clients:
            return Counter(clients.map(work, range(count)))

    def growing(self, name: str, count: int, work: Callable[[int], int], allowed: set[int]) -> None:
        """A part of many like requests: memory after all of them is about that after the first fifth."""
        with self.part(name) as told:
            first = self.spread(max(1, count // 5), work)
            held = self.server.memory()
            statuses = first + self.spread(count - count // 5, work)
            grown = self.server.memory() - held
            told |= {"answers": dict(sorted(statuses.items())), "grown MB": round(grown)}
        if grown > MOST_GROWTH:
            self.fault(f"{name}: memory grew by {grown:.0f} MB")
        if set(statuses) - allowed:
            self.fault(f"{name}: answers {dict(statuses)}, expected {sorted(allowed)}")

    # --- parts ------------------------------------------------------------------------------------------------------

    def load(self, count: int, side: int) -> None:
        """Photos, stylized by four clients at once."""
        photo = photo_of(side)
        self.growing(
            f"{count} requests of {side} pixels by {CLIENTS} clients",
            count,
            lambda _: self.server.ask("POST", f"/stylize?style={STYLE}", photo).status,
            {200},
        )

    def pictures(self, count: int) -> None:
        """Mutated pictures: refused, or shown."""
        files = [file for kind in seeds().values() for file in kind]
        bodies = [_mutated(self.rng, files[i % len(files)]) for i in range(count)]

        def send(i: int) -> int:
            answer = self.server.ask("POST", "/api/v1/pictures", bodies[i])
            if answer.status != 201:
                return answer.status
            id = answer.json["id"]
            shown = self.server.ask("GET", f"/api/v1/pictures/{id}?max=32").status
            self.server.ask("DELETE", f"/api/v1/pictures/{id}")
            return shown

        self.growing(f"{count} mutated pictures", count, send, {200, 413, 415})

    def bomb(self, side: int = 20_000) -> None:
        """A small file of a huge picture: refused from its head."""
        data = io.BytesIO()
        Image.new("1", (side, side)).save(data, "PNG")
        with self.part(f"a picture of {side} x {side} in {len(data.getvalue())} bytes") as told:
            status = self.server.ask("POST", "/api/v1/pictures", data.getvalue()).status
            told |= {"answer": status, "most MB": round(self.server.memory("VmHWM"))}
        if status != 413 or self.server.memory("VmHWM") > 300:
            self.fault(f"a huge picture: {told}")

    def orders(self, count: int) -> None:
        """Mutated orders: refused, or done."""
        layers = [{"style": STYLE, "weight": 1.5}]
        good = {"kind": "preview", "photo": self.id, "layers": layers, "size": 32, "strength": 0.5, "colors": "style"}
        bodies = [self._mutated_order(good) for _ in range(count)]
        self.growing(
            f"{count} mutated orders",
            count,
            lambda i: self.server.ask("POST", "/api/v1/jobs", bodies[i]).status,
            {202, 400, 404, 413, 422, 429},
        )

    def _mutated_order(self, good: dict[str, Any]) -> bytes:
        """A value or a word exchanged for one that does not belong there, or bytes mutated."""
        if self.rng.integers(0, 4) == 0:
            return _mutated(self.rng, json.dumps(good).encode())
        name = str(self.rng.choice([*good, "mask", "gatys", "photos"]))
        return json.dumps({**good, name: _STRANGE[self.rng.integers(0, len(_STRANGE))]}).encode()

    def crowd(self, jobs: int, connections: int) -> None:
        """More jobs than wait, and more connections than are kept."""
        with self.part(f"{jobs} jobs and {connections} connections at once") as told:
            order = {"kind": "refine", "photo": self.id, "layers": [{"painting": self.id}], "size": 64}
            made = [self.server.begin(**order, gatys={"iterations": 500}) for _ in range(jobs)]
            told["jobs"] = dict(Counter(answer.status for answer in made))
            if {answer.status for answer in made} != {202, 429}:
                self.fault(f"{jobs} jobs: {told['jobs']}, expected 202 and 429")
            for answer in made:
                if answer.status == 202:
                    self.server.ask("DELETE", f"/api/v1/jobs/{answer.json['id']}")
            host, _, port = self.server.host.rpartition(":")
            with contextlib.ExitStack() as open_ones:
                for _ in range(connections):  # half a request in each
                    one = open_ones.enter_context(socket.create_connection((host, int(port)), timeout=10))
                    one.sendall(b"GET /healthz HTTP/1.1\r\nHost: ")
                with contextlib.suppress(OSError):
                    told["beyond them"] = self.server.ask("GET", "/healthz").status

    def killed(self) -> None:
        """A client is killed with its stream open and its refinement under way: the job ends."""
        with self.part("a client killed") as told:
            order = {"kind": "refine", "photo": self.id, "layers": [{"painting": self.id}], "client": "a tab"}
            id = self.server.begin(**order, size=64, gatys={"iterations": 2000}).json["id"]
            host, _, port = self.server.host.rpartition(":")
            stream = socket.create_connection((host, int(port)), timeout=10)
            stream.sendall(f"GET /api/v1/jobs/{id}/events HTTP/1.1\r\nHost: {self.server.host}\r\n\r\n".encode())
            stream.recv(4096)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # as a killed process: RST
            stream.close()
            begun = time.perf_counter()
            while (queue := self._queue()) != (0, 0) and time.perf_counter() - begun < 60:
                time.sleep(0.2)
            told["job ended after s"] = round(time.perf_counter() - begun, 1)
            if queue != (0, 0) or self.server.status(id)["state"] not in OVER:
                self.fault(f"a killed client's job goes on: {queue}")

    def _queue(self) -> tuple[int, int]:
        queue = self.server.ask("GET", "/api/v1/info").json["queue"]
        return queue["running"], queue["waiting"]

    def idle(self, seconds: float) -> None:
        """Without work there is none."""
        begun = self.server.cpu()
        time.sleep(seconds)
        spent = self.server.cpu() - begun
        share = spent / seconds
        print(f"idle: {share:.2%} of a processor, {self.server.memory():.0f} MB", flush=True)
        if spent > 0.01 * seconds + TICK:
            self.fault(f"idle: {share:.1%} of a processor")

    def interrupted(self, within: float) -> None:
        """Ctrl-C with a refinement under way and its stream open; it is to end within so many seconds."""
        order = {"kind": "refine", "photo": self.id, "layers": [{"painting": self.id}], "size": 64}
        id = self.server.begin(**order, gatys={"iterations": 2000}).json["id"]
        with ThreadPoolExecutor(1) as listener:
            heard = listener.submit(self.server.ask, "GET", f"/api/v1/jobs/{id}/events")
            while self.server.status(id)["n"] < 2:
                time.sleep(0.05)
            status, seconds, said = self.server.interrupt()
            bye = b"event: bye" in heard.result().body
        print(f"Ctrl-C: exit status {status} after {seconds:.1f} s", flush=True)
        if status != 0 or seconds > within or said or not bye:
            self.fault(f"Ctrl-C: status {status} after {seconds:.1f} s, said {said[:200]!r}, bye {bye}")


def _mutated(rng: np.random.Generator, data: bytes) -> bytes:
    """A few bytes changed, a part removed or doubled, or the end cut off."""
    body = bytearray(data)
    for place in rng.integers(0, len(body), rng.integers(1, 6)):
        body[place] = rng.integers(0, 256)
    start, stop = sorted(int(n) for n in rng.integers(0, len(body), 2))
    match rng.integers(0, 6):
        case 0:
            del body[start:stop]
        case 1:
            body[start:start] = body[start:stop]
        case 2:
            del body[start:]
    return bytes(body)


def tried(
    requests: int,
    side: int,
    pictures: int,
    orders: int,
    jobs: int,
    idle: float,
    seed: int,
    *,
    kill: bool = True,
    within: float = 3.0,
) -> list[str]:
    """The faults, in words. Prints a line of figures for each part.

    `kill`: also that which takes half a minute. `within`: the seconds that Ctrl-C may take.
    """
    with Server() as server:
        trial = Trial(server, seed)
        trial.bomb()
        trial.load(requests, side)
        trial.pictures(pictures)
        trial.orders(orders)
        trial.crowd(jobs, connections=80)
        if kill:
            trial.killed()
        trial.idle(idle)
        trial.interrupted(within)
    return trial.faults


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.robustness.server", description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--side", type=int, default=512, help="long side of the photos of the requests")
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--orders", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=100, help="at once")
    parser.add_argument("--idle", type=float, default=10, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=0)
    faults = tried(**vars(parser.parse_args()))
    print("\n".join(faults) or "no fault")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
