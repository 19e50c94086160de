"""Answers: JSON, files, errors, and the events of a job."""

import asyncio
import contextlib
import json
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Send

from nanostyle import NanostyleError, Result
from nanostyle.server.guard import Refused
from nanostyle.server.jobs import Busy, Job
from nanostyle.server.results import line_of
from nanostyle.server.store import NotFound
from nanostyle.server.store import Result as File

USER_ERRORS = (Refused, NanostyleError, ValueError, OSError, MemoryError)
"""What a job may fail of and be told of it; all else is a fault of ours."""

QUIET = 10.0
"""Seconds after which a stream without news sends a comment, so that nobody takes it for dead."""

_WORDS = {404: "not_found", 405: "method"}
_log = logging.getLogger("nanostyle.server")


def file_response(file: File) -> Response:
    """A file for the browser to save, under a name that cannot break out of its header."""
    disposition = f"attachment; filename*=UTF-8''{quote(file.name, safe='')}"
    return Response(file.data, media_type=file.media_type, headers={"content-disposition": disposition})


def refusal(refused: Refused, **headers: str) -> Response:
    """The answer to a request that goes no further."""
    if refused.status in (408, 413):  # the rest of the body is not read
        headers["connection"] = "close"
    return JSONResponse({"error": str(refused), "code": refused.code}, refused.status, headers)


async def on_refused(request: Request, error: Exception) -> Response:
    """Answer what a route refuses."""
    assert isinstance(error, Refused)
    return refusal(error)


async def on_not_found(request: Request, error: Exception) -> Response:
    """Answer for a picture, job, result or link that is not there."""
    return refusal(Refused(404, "not_found", "there is none of that identifier (any more)"))


async def on_busy(request: Request, error: Exception) -> Response:
    """Answer where the queue is full."""
    headers = {"retry-after": "5"}
    return refusal(Refused(429, "busy", "the queue is full; try again in a few seconds"), **headers)


async def on_http(request: Request, error: Exception) -> Response:
    """Answer what the framework refuses: paths and methods that are not there, forms that are none."""
    assert isinstance(error, HTTPException)
    status = error.status_code
    text = {404: "there is no such route", 405: "the route does not take that method"}.get(status, str(error.detail))
    return refusal(Refused(status, _WORDS.get(status, "bad_request"), text), **dict(error.headers or {}))


async def on_gone(request: Request, error: Exception) -> Response:
    """Nobody reads the answer."""
    return Response(status_code=400)


async def on_fault(request: Request, error: Exception) -> Response:
    """Answer for a fault of ours: the trace is for the terminal alone."""
    id = secrets.token_hex(4)
    log_fault(id, error)
    return JSONResponse({"error": "internal fault", "code": "internal", "id": id}, 500)


def log_fault(id: str, error: BaseException) -> None:
    """Write the trace of a fault of ours to the log, under the identifier that the client is told."""
    _log.error("internal fault %s", id, exc_info=error)


HANDLERS: dict[Any, Callable[[Request, Exception], Any]] = {
    Refused: on_refused,
    NotFound: on_not_found,
    Busy: on_busy,
    HTTPException: on_http,
    ClientDisconnect: on_gone,
    Exception: on_fault,
}
"""Who answers for which exception."""


def fault_of(job: Job[Any]) -> Refused:
    """The refusal that a failed job amounts to."""
    error = job.error
    if isinstance(error, Refused):
        return error
    if isinstance(error, MemoryError):
        return Refused(413, "too_large", line_of(error))
    if error is not None and isinstance(error, USER_ERRORS):
        return Refused(422, "does_not_fit", line_of(error))
    return Refused(500, "internal", f"internal fault, {job.id}")


def status_of(job: Job[Result]) -> dict[str, Any]:
    """How far a job is."""
    step = job.step
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "done": step.done if step else 0,
        "total": step.total if step else 0,
        "seconds_left": job.seconds_left,
        "note": step.note if step else "",
        "n": job.n,
        "error": str(fault_of(job)) if job.state == "failed" else None,
    }


class Watch:
    """Wakes a coroutine whenever a job changes, from whatever thread; `async with` begins and ends it."""

    def __init__(self, job: Job[Any]) -> None:
        self._job, self._changed = job, asyncio.Event()

    async def __aenter__(self) -> "Watch":
        self._loop = asyncio.get_running_loop()
        self._job.listeners.append(self._wake)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._job.heard = time.monotonic()
        self._job.listeners.remove(self._wake)

    def _wake(self, job: Job[Any]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._changed.set)

    async def news(self, patience: float) -> bool:
        """Wait for a change, at most so many seconds; whether there was one."""
        try:
            await asyncio.wait_for(self._changed.wait(), patience)
        except asyncio.TimeoutError:
            return False
        self._changed.clear()
        return True

    async def end(self) -> None:
        """Wait until nothing more will happen to the job."""
        while not self._job.over:
            await self.news(QUIET)


class EventStream(StreamingResponse):
    """Events, whose iterator is closed as soon as the client is gone; the garbage collector would let it listen on."""

    def __init__(self, events: AsyncGenerator[str, None]) -> None:
        super().__init__(events, media_type="text/event-stream")
        self._events = events

    async def stream_response(self, send: Send) -> None:
        """Send the events to the end, or until the client is gone."""
        async with contextlib.aclosing(self._events):
            await super().stream_response(send)


async def events(job: Job[Result], ending: Callable[[], bool]) -> AsyncGenerator[str, None]:
    """The events of a job until it is over: `state` at once, `step` at each change, then its last state; or `bye`."""
    async with Watch(job) as watch:
        yield _event("state", job)
        while not job.over:
            if await watch.news(QUIET):
                if not job.over:
                    yield _event("step", job)
            else:
                yield ": still there\n\n"
        if ending():
            yield "event: bye\n\n"
        else:
            yield _event(job.state, job)


def _event(kind: str, job: Job[Result]) -> str:
    return f"event: {kind}\ndata: {json.dumps(status_of(job))}\n\n"
