"""The object graph of a function on Google Cloud: the only place that builds it.

A function's module calls `serve_deliveries`, or `serve_api` of `api_wiring`, and has its handler.
Settings are read when the module is imported, so that a wrong deployment fails at its start;
clients are loaded and made at the first request, in the event loop that will use them. A start
pays for nothing that the function does not use: see docs/cold-start.md.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import os
import secrets
from collections.abc import Awaitable, Callable
from functools import cache
from typing import TYPE_CHECKING, Final

from arco_flow.adapters.gcp.json_logs import install_json_logs, trace_of
from arco_flow.adapters.gcp.oidc import OidcVerifier
from arco_flow.adapters.gcp.operation_counts import OperationCounts
from arco_flow.adapters.gcp.pacing import Pace
from arco_flow.adapters.gcp.secrets import PlaneSecrets, read_secrets
from arco_flow.adapters.gcp.settings import FunctionSettings, read_settings
from arco_flow.domain.errors import ArcoError, InvalidInput, Rejected, Unavailable
from arco_flow.http.asgi import body_reader, head_of
from arco_flow.http.deliveries import Caller, DeadLetter, DeliveryEndpoint
from arco_flow.http.messages import ReadBody, Request, Response
from arco_flow.http.outcomes import api_error
from arco_flow.http.request_log import RequestLine
from arco_flow.ports.log_context import log_context

if TYPE_CHECKING:
    from starlette.requests import Request as WebRequest
    from starlette.responses import Response as WebResponse

    from arco_flow.engine.context import Engine
    from arco_flow.ports.bus import Bus

Handler = Callable[["WebRequest"], Awaitable["WebResponse"]]
Application = Callable[[Request, ReadBody], Awaitable[Response]]
"""Answers a request whose body it reads when it wants to."""
UseCase = Callable[["Engine", bytes], Awaitable[object]]
DEAD_LETTERS = "dead-letters"
STORAGE_PACE: Final = Pace(attempts=5, first_ms=50, timeout_s=8)
"""Of the small objects of the plane: a call is answered or given up before the platform cuts the
request that it is for. Workers, with their large files, have more time."""


def serve_deliveries(function: str, use_case: UseCase, *, is_push: bool = False) -> Handler:
    """A handler for what a queue, a bus or the scheduler delivers to one use case. is_push: it
    comes in the envelope of a push subscription."""
    plane = CloudPlane.of(function)

    async def work(body: bytes) -> object:
        return await use_case(await plane.engine(), body)

    endpoint = DeliveryEndpoint(
        function, work, plane.callers(), plane.verifier, plane.bury, is_push=is_push
    )
    return web_handler(endpoint.handle)


@cache
def instance_name() -> str:
    """Who this process is, as the holder of a lease: unlike any other one's."""
    return f"{os.environ.get('K_REVISION', 'local')}-{secrets.token_hex(4)}"


class CloudPlane:
    """One function's process: settings, verifier, and the engine once it is needed."""

    def __init__(self, settings: FunctionSettings) -> None:
        self.settings = settings
        self.verifier = OidcVerifier(certs_url=settings.certs_url)
        self._engine: Engine | None = None
        self._bus: Bus | None = None
        self._building = asyncio.Lock()
        self.counts = OperationCounts()
        atexit.register(self._tell_counts)

    @classmethod
    def of(cls, function: str) -> CloudPlane:
        """The plane of this process. Raises InvalidInput with all that is wrong."""
        settings = read_settings({"ARCO_FLOW_FUNCTION": function, **os.environ})
        level = logging.getLevelNamesMapping()[settings.log_level]
        install_json_logs(function, settings.project, level)
        return cls(settings)

    async def engine(self) -> Engine:
        """The engine; made at the first call, in the loop that will use it.

        Raises ArcoError when the deployment is wrong, Unavailable when a secret can not be read.
        """
        async with self._building:
            if self._engine is None:
                try:
                    keys = await asyncio.to_thread(read_secrets, os.environ)
                    self._engine = build_engine(self.settings, self.counts, keys)
                except Rejected as error:
                    # Our fault: a delivery that is told so comes again, and a caller of the API
                    # has done nothing wrong.
                    told = f"this function is deployed wrongly: {error.message}"
                    raise ArcoError(told, fix=error.fix) from error
                except Unavailable as error:
                    # Who asks is not known yet, and has no use for the names of secrets.
                    raise Unavailable("this function can not begin now") from error
            return self._engine

    def callers(self) -> Caller:
        """Who may deliver to this function: the accounts that the table names for it.

        Raises InvalidInput when it names none.
        """
        if not self.settings.callers:
            raise InvalidInput(
                f"nobody may deliver to the function '{self.settings.function}'",
                fix="name the identities of its callers in ARCO_FLOW_CALLERS",
            )
        return Caller(self.settings.audience, self.settings.callers)

    async def bury(self, letter: DeadLetter) -> None:
        """Publish a dead letter, with its reason as attributes."""
        from arco_flow.ports.bus import Message

        attributes = {
            **letter.attributes,
            "function": letter.function,
            "reason": letter.reason,
            "message": letter.message,
        }
        await self._dead_letters().publish(DEAD_LETTERS, [Message(letter.body, attributes)])

    def _dead_letters(self) -> Bus:
        if self._bus is None:
            from arco_flow.adapters.gcp.pubsub_bus import PubSubBus

            self._bus = PubSubBus(self.settings.project, counts=self.counts)
        return self._bus

    def _tell_counts(self) -> None:
        """What this process has cost, for whoever adds it up."""
        logging.getLogger("arco_flow.operations").info("%s", json.dumps(self.counts.so_far()))


def build_engine(settings: FunctionSettings, counts: OperationCounts, keys: PlaneSecrets) -> Engine:
    """The engine over Firestore, Cloud Tasks and Cloud Storage."""
    from arco_flow.adapters.gcp.cloud_storage import CloudObjects
    from arco_flow.adapters.gcp.cloud_tasks import CloudTasks, Target
    from arco_flow.adapters.gcp.firestore_store import FirestoreStore
    from arco_flow.adapters.local.clock import SystemClock
    from arco_flow.adapters.threaded import ThreadedObjects
    from arco_flow.engine.context import Engine, Settings

    objects = ThreadedObjects(CloudObjects(settings.bucket, counts=counts, pace=STORAGE_PACE))
    atexit.register(objects.close)
    targets = {
        route: Target(to.url, to.audience, to.account, to.deadline_seconds)
        for route, to in settings.routes.items()
    }
    return Engine(
        store=FirestoreStore(settings.project, settings.database, counts=counts),
        tasks=CloudTasks(
            settings.project,
            settings.location,
            targets,
            endpoint=settings.tasks_endpoint,
            counts=counts,
        ),
        objects=objects,
        clock=SystemClock(),
        tenant_secret=keys.tenant,
        token_secret=keys.token,
        settings=Settings(callback_base_url=settings.url_of("worker_callback"), **settings.engine),
    )


def web_handler(application: Application) -> Handler:
    """A handler as functions-framework calls it."""

    async def main(web: WebRequest) -> WebResponse:
        from starlette.responses import Response as WebResponse

        request = head_of(web.scope)
        with log_context(*trace_of(request.headers)):
            answer = await _answered(application, request, body_reader(web.receive))
        headers = {"content-type": answer.content_type, **dict(answer.headers)}
        return WebResponse(answer.body, answer.status, headers)

    return main


async def _answered(application: Application, request: Request, read_body: ReadBody) -> Response:
    """The answer, also when the engine can not even be made: without credentials, say."""
    line = RequestLine(request.method)
    try:
        return await application(request, read_body)
    except Exception as error:  # the border: whatever happened, the caller gets an answer
        line.error, answer = error, api_error(error)
        line.write(answer.status)
        return answer
