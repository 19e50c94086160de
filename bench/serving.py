"""A server in a process of its own, for measurements: started, asked, watched, ended."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.folders import ROOT

OVER = ("done", "failed", "canceled", "superseded")
WAIT = 120.0


class Answer:
    """Status and body of an answer."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status, self.body = status, body

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class Server:
    """`nanostyle COMMAND --no-token` on a port that is free, as a context."""

    def __init__(self, command: str = "serve", *words: str) -> None:
        browser = ("--no-browser",) if command == "gui" else ()
        begun = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nanostyle", command, *words, *browser, "--no-token", "--port", "0"],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        said = self.process.stderr.readline() + self.process.stderr.readline()
        match = re.match(r"http://([^/]+)/", said)
        if match is None:
            raise SystemExit(f"the server does not start: {said}{self.process.stderr.read()}")
        self.host = match[1]
        self.ask("GET", "/healthz")
        self.seconds_to_start = time.perf_counter() - begun

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(WAIT)
        if self.process.stderr is not None:
            self.process.stderr.close()

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """One request, in a connection of its own."""
        connection = http.client.HTTPConnection(self.host, timeout=WAIT)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read())
        finally:
            connection.close()

    def send(self, data: bytes, name: str = "photo.jpg") -> str:
        """A picture; its identifier."""
        return str(self.ask("POST", "/api/v1/pictures", data, **{"X-Name": quote(name)}).json["id"])

    def begin(self, **order: Any) -> Answer:
        """A job."""
        return self.ask("POST", "/api/v1/jobs", json.dumps(order).encode())

    def status(self, id: str) -> Any:
        """How far a job is."""
        return self.ask("GET", f"/api/v1/jobs/{id}").json

    def follow(self, id: str) -> None:
        """Wait for the end of a job, as the page does: by its events."""
        self.ask("GET", f"/api/v1/jobs/{id}/events")

    def memory(self, line: str = "VmRSS") -> float:
        """MB that the process holds; `VmHWM`: the most that it has held."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{line}:\s+(\d+) kB", status)[1]) / 1e3  # type: ignore[index]

    def cpu(self) -> float:
        """Processor seconds of the process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def interrupt(self) -> tuple[int, float, str]:
        """Ctrl-C: exit status, seconds that it took, and what was said on the way."""
        begun = time.perf_counter()
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(WAIT)
        assert self.process.stderr is not None
        return status, time.perf_counter() - begun, self.process.stderr.read()
