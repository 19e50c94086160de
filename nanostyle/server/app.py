"""The server as one ASGI application: the page, and the HTTP API of `openapi.json`. Routes are thin."""

import asyncio
import io
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from nanostyle import NanostyleError, Result, TrainedModel, __version__
from nanostyle.backend.device import Device
from nanostyle.backend.memory import free_memory, release_memory
from nanostyle.backend.threads import thread_count
from nanostyle.io.decoding import TooLarge
from nanostyle.io.image_read import decode_image, read_file
from nanostyle.io.image_write import thumbnail_jpeg
from nanostyle.server import answers
from nanostyle.server.answers import USER_ERRORS, Watch, fault_of, file_response, status_of
from nanostyle.server.form import frame_of, order_of_form
from nanostyle.server.guard import App, Guard, Refused, Rules
from nanostyle.server.jobs import Job, Priority, Worker
from nanostyle.server.results import line_of, shown
from nanostyle.server.static import fixed, page_files
from nanostyle.server.store import NotFound, Store, Upload
from nanostyle.server.told import model_told, upload_told
from nanostyle.server.wire import Order, bad, from_json, order_of
from nanostyle.server.work import PRIORITIES, Limits, Studio, Work

T = TypeVar("T")

MOST_JSON = 65_536
MOST_SHOWN = 4096
_PICTURES_AT_ONCE = 2


@dataclass
class Site:
    """A server's state, and its routes.

    Parameters
    ----------
    models
        The trained models by the names that requests call them.
    limits
        What pictures may be and take.
    opened
        Called when a page has asked for the first time.
    """

    models: Mapping[str, TrainedModel[Any]]
    device: Device
    limits: Limits
    opened: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.ending = False
        self.photos: list[Upload] = []
        self.store = Store(self.limits.memory, self.limits.pixels, self._decode)
        self.worker: Worker[Result] = Worker(self._on_fault, lambda job: self.store.drop_result(job.id), self._on_idle)
        self.studio = Studio(self.store, self.models, self.device, self.limits)
        self._decoding = asyncio.Semaphore(_PICTURES_AT_ONCE)
        self._streams: set[str] = set()
        self._thumbnail = lru_cache(256)(self._encoded_thumbnail)

    def application(self, rules: Callable[[frozenset[str]], Rules], *, page: bool = True) -> App:
        """The guarded application; `rules` gets the paths of the page's files."""
        table = page_files() if page else {}
        routes = [Route(path, fixed(*file), methods=["GET"]) for path, file in table.items()]
        app = Starlette(routes=[*routes, *self._routes()], exception_handlers=answers.HANDLERS)
        app.router.redirect_slashes = False
        return Guard(app, rules(frozenset(table)))

    def limit(self, path: str) -> int:
        """The most bytes that a request to `path` may have."""
        if path == "/stylize":
            return 4 * self.limits.upload
        return self.limits.upload if path in ("/api/v1/pictures", "/api/v1/frames") else MOST_JSON

    def end(self) -> None:
        """Cancel all work; streams say goodbye, and no new work is taken."""
        self.ending = True
        self.worker.stop()

    def _routes(self) -> list[Route]:
        job = "/api/v1/jobs/{id}"
        return [
            Route("/healthz", self._health, methods=["GET"]),
            Route("/api/v1/info", self._info, methods=["GET"]),
            Route("/api/v1/models/{model}/styles/{style}/thumbnail", self._style_thumbnail, methods=["GET"]),
            Route("/api/v1/pictures", self._send_picture, methods=["POST"]),
            Route("/api/v1/pictures/{id}", self._show_picture, methods=["GET"]),
            Route("/api/v1/pictures/{id}", self._drop_picture, methods=["DELETE"]),
            Route("/api/v1/jobs", self._begin, methods=["POST"]),
            Route("/api/v1/forecast", self._forecast, methods=["POST"]),
            Route(job, self._status, methods=["GET"]),
            Route(job, self._cancel, methods=["DELETE"]),
            Route(f"{job}/events", self._events, methods=["GET"]),
            Route(f"{job}/picture", self._job_picture, methods=["GET"]),
            Route(f"{job}/result", self._result, methods=["GET"]),
            Route(f"{job}/link", self._link, methods=["POST"]),
            Route("/d/{word}", self._linked, methods=["GET"]),
            Route("/api/v1/frames", self._frame, methods=["POST"]),
            Route("/stylize", self._stylize, methods=["POST"]),
        ]

    # --- what there is ----------------------------------------------------------------------------------------------

    async def _health(self, request: Request) -> Response:
        return Response("ok", media_type="text/plain")

    async def _info(self, request: Request) -> Response:
        self.opened()
        running, waiting = self.worker.counts()
        limits = {"upload": self.limits.upload, "pixels": self.limits.pixels, "memory": self.limits.memory}
        return JSONResponse(
            {
                "version": __version__,
                "device": self.device.name,
                "threads": thread_count(),
                "models": [model_told(id, model) for id, model in self.models.items()],
                "limits": {**limits, "free": free_memory()},
                "queue": {"running": running, "waiting": waiting},
                "photos": [upload_told(upload) for upload in self.photos],
            }
        )

    async def _style_thumbnail(self, request: Request) -> Response:
        model, style = request.path_params["model"], request.path_params["style"]
        if model not in self.models or style not in self.models[model].thumbnails:
            raise NotFound
        return Response(self._thumbnail(model, style), media_type="image/jpeg")

    def _encoded_thumbnail(self, model: str, style: str) -> bytes:
        return thumbnail_jpeg(decode_image(self.models[model].thumbnails[style]))

    # --- pictures ---------------------------------------------------------------------------------------------------

    async def _send_picture(self, request: Request) -> Response:
        name = unquote(request.headers.get("x-name", "picture"), errors="replace")
        return JSONResponse(upload_told(await self.keep(await request.body(), name)), 201)

    async def keep(self, data: bytes, name: str) -> Upload:
        """Keep a picture that was sent; 413 or 415 if that cannot be."""
        if len(data) > self.limits.upload:
            raise Refused(413, "too_large", f"picture: expected at most {self.limits.upload / 1e6:.3g} MB, got more")
        try:
            return await self._decoded(self.store.add, data, name)
        except TooLarge as error:
            raise Refused(413, "too_large", line_of(error)) from error
        except (NanostyleError, ValueError) as error:
            raise Refused(415, "not_a_picture", line_of(error)) from error

    async def _show_picture(self, request: Request) -> Response:
        id, longest = request.path_params["id"], _longest(request)
        upload = self.studio.upload(id)
        size = longest if longest < max(upload.width, upload.height) else None
        data, media = await self._decoded(lambda: shown(self.studio.picture(id, size), longest))
        return Response(data, media_type=media)

    async def _drop_picture(self, request: Request) -> Response:
        self.store.remove(request.path_params["id"])
        return Response(status_code=204)

    async def _decoded(self, work: Callable[..., T], *args: Any) -> T:
        """Work on pictures outside the worker: in a thread, two at once."""
        async with self._decoding:
            return await run_in_threadpool(work, *args)

    def _decode(self, data: bytes, name: str, size: int | None) -> Any:
        return self.studio.decode(data, name, size)

    # --- jobs -------------------------------------------------------------------------------------------------------

    async def _begin(self, request: Request) -> Response:
        order = order_of(from_json(await request.body()))
        job = self._add(order)
        told = {"id": job.id, "kind": job.kind, "position": self.worker.position(job)}
        return JSONResponse({**told, "forecast": asdict(self.studio.forecast(order))}, 202)

    async def _forecast(self, request: Request) -> Response:
        return JSONResponse(asdict(self.studio.forecast(order_of(from_json(await request.body())))))

    def _add(self, order: Order) -> Job[Result]:
        self.studio.check(order)
        return self._put(self.studio.work(order), PRIORITIES[order.kind], order.kind, order.client)

    def _put(self, work: Work, priority: Priority, kind: str, client: str = "") -> Job[Result]:
        if self.ending:
            raise Refused(503, "ending", "the server is ending")
        return self.worker.add(Job(work, priority, client, kind))

    def _job(self, request: Request) -> Job[Result]:
        job = self.worker.jobs.get(request.path_params["id"])
        if job is None:
            raise NotFound
        job.heard = time.monotonic()
        return job

    async def _status(self, request: Request) -> Response:
        return JSONResponse(status_of(self._job(request)))

    async def _events(self, request: Request) -> Response:
        return answers.EventStream(answers.events(self._job(request), lambda: self.ending))

    async def _cancel(self, request: Request) -> Response:
        job = self._job(request)
        self.worker.cancel(job, keep=request.query_params.get("keep") == "1")
        return Response(status_code=204)

    async def _job_picture(self, request: Request) -> Response:
        job, longest = self._job(request), _longest(request)
        step = job.step
        if step is not None and step.picture is not None:
            data, media = await self._decoded(lambda make=step.picture: shown(make(), longest))
            return Response(data, media_type=media)
        result = self.store.result(self._done(job).id)
        if job.kind == "preview":
            return Response(result.data, media_type=result.media_type)
        data, media = await self._decoded(lambda: shown(read_file(io.BytesIO(result.data), result.name), longest))
        return Response(data, media_type=media)

    def _done(self, job: Job[Result]) -> Job[Result]:
        """The job, if it is done; else 409, or the status of what it failed of."""
        if job.state == "failed":
            raise fault_of(job)
        if job.state in ("canceled", "superseded"):
            raise Refused(409, job.state, f"the job was {job.state}")
        if job.state != "done":
            raise Refused(409, "not_ready", "the job is not done yet")
        return job

    async def _result(self, request: Request) -> Response:
        return file_response(self.store.result(self._done(self._job(request)).id))

    async def _link(self, request: Request) -> Response:
        return JSONResponse({"url": f"/d/{self.store.link(self._done(self._job(request)).id)}"})

    async def _linked(self, request: Request) -> Response:
        return file_response(self.store.linked(request.path_params["word"]))

    # --- answers that are waited for --------------------------------------------------------------------------------

    async def _stylize(self, request: Request) -> Response:
        order = await order_of_form(request, self.keep)
        return await self._made(self._add(order), request)

    async def _frame(self, request: Request) -> Response:
        layers, strength, stream = frame_of(request.query_params)
        self.studio.check(Order("preview", (), layers))
        if stream in self._streams:
            raise Refused(429, "busy", "frames: this stream has one under way")
        self._streams.add(stream)
        try:
            data = await request.body()
            return await self._made(
                self._put(self.studio.frame(layers, strength, stream, data), Priority.FRAME, "frame"), request
            )
        finally:
            self._streams.discard(stream)

    async def _made(self, job: Job[Result], request: Request) -> Response:
        """Wait for a job and answer with what it made; it is canceled if the client goes away."""
        async with Watch(job) as watch:
            gone = asyncio.ensure_future(request.receive())  # the body is read: what comes now is the end
            over = asyncio.ensure_future(watch.end())
            try:
                await asyncio.wait({gone, over}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone.cancel()
                over.cancel()
                self.worker.cancel(job)
        try:
            took = 1000 * ((job.ended or 0) - (job.began or 0))
            response = file_response(self.store.result(self._done(job).id))
            response.headers["x-milliseconds"] = f"{took:.0f}"
            return response
        finally:
            self.store.drop_result(job.id)

    def _on_idle(self) -> None:
        """Keep no memory for work that does not come."""
        self.store.tidy()
        release_memory()

    def _on_fault(self, job: Job[Result], error: BaseException) -> None:
        if not isinstance(error, USER_ERRORS):
            answers.log_fault(job.id, error)


def _longest(request: Request) -> int:
    """The long side that is asked for."""
    word = request.query_params.get("max", "1024")
    if not word.isdecimal() or not 1 <= int(word[:6]) <= MOST_SHOWN:
        raise bad(f"max: expected a whole number from 1 to {MOST_SHOWN}, got {word[:20]!r}")
    return int(word[:6])
