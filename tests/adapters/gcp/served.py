"""The functions of the plane over one engine in memory, asked as functions-framework asks them."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from starlette.requests import Request as WebRequest
from starlette.responses import Response as WebResponse

from arco_emulators.identity import Issuer
from arco_flow.adapters.gcp.json_logs import JsonFormatter
from arco_flow.adapters.gcp.oidc import Certificates, OidcVerifier
from arco_flow.adapters.gcp.settings import read_settings
from arco_flow.adapters.gcp.wiring import CloudPlane, Handler, web_handler
from arco_flow.adapters.gcp.worker_wiring import _Workers
from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.adapters.memory.faults import ScriptedFaults
from arco_flow.adapters.memory.objects import AsyncMemoryObjects, MemoryObjects
from arco_flow.adapters.memory.store import MemoryStore
from arco_flow.adapters.memory.tasks import MemoryTasks
from arco_flow.domain.ids import Scope
from arco_flow.domain.manifest import AssetSpec, Manifest, manifest_bytes
from arco_flow.engine.context import Engine, Settings
from arco_flow.engine.deploy import deploy
from arco_flow.engine.dispatch import dispatch_task
from arco_flow.engine.run_bridge import ingest_run_request
from arco_flow.engine.sweeper import sweep
from arco_flow.engine.timer_ingest import ingest_timer_task
from arco_flow.http.app import App
from arco_flow.http.auth import BearerTokens, Identity
from arco_flow.http.deliveries import Caller, DeadLetter, DeliveryEndpoint

SCOPE = Scope("acme", "prod")
EMAIL, AUDIENCE = "tasks@shop.iam.gserviceaccount.com", "https://functions.example"
CALLBACKS = "https://callbacks.example"
USER = "token-of-a-user"


@cache
def issuer() -> Issuer:
    with TemporaryDirectory() as folder:
        return Issuer.open(Path(folder))


async def certificates(_url: str) -> Certificates:
    return Certificates(issuer().certs(), 3600)


class Lines(logging.Handler):
    """What a process would print, read again."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.function = ""
        self.written: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = JsonFormatter(self.function, "shop").format(record)
        self.written.append(json.loads(text))


class Body:
    """The body of a request, in parts; counts how often somebody asks for one."""

    def __init__(self, *parts: bytes, cut: bool = False) -> None:
        self._parts = list(parts)
        self._cut = cut
        self.asked = 0

    async def __call__(self) -> dict[str, Any]:
        self.asked += 1
        if not self._parts:
            return {"type": "http.disconnect"}
        part = self._parts.pop(0)
        more = bool(self._parts) or self._cut
        return {"type": "http.request", "body": part, "more_body": more}


class Served:
    """handlers: by function. lines: what they logged. buried: dead letters. sent: by route, what
    the queue delivered. faults: of the store."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.clock = VirtualClock()
        self.faults = ScriptedFaults()
        self.tasks = MemoryTasks(self.clock)
        self.engine = Engine(
            store=MemoryStore(self.clock, self.faults),
            tasks=self.tasks,
            objects=AsyncMemoryObjects(MemoryObjects()),
            clock=self.clock,
            tenant_secret=b"t" * 32,
            token_secret=b"s" * 32,
            settings=Settings(callback_base_url=CALLBACKS),
        )
        self.buried: list[DeadLetter] = []
        self.sent: dict[str, list[bytes]] = {"dispatch": [], "worker": [], "timer_ingest": []}
        for route, bodies in self.sent.items():
            self.tasks.register(route, _keep(bodies))
        users = BearerTokens({USER: Identity(SCOPE, "user:ana")})
        app = App(self.engine, users)
        self.handlers: dict[str, Handler] = {
            "api": web_handler(app.handle),
            "worker_callback": web_handler(app.handle),
            "run_bridge": self._delivered(ingest_run_request, is_push=True),
            "dispatch": self._delivered(dispatch_task),
            "timer_ingest": self._delivered(ingest_timer_task),
            "sweeper": self._delivered(lambda engine, _body: sweep(engine, "me")),
            "worker": self._delivered(lambda _engine, body: self._workers.run(body)),
        }

    @property
    def _workers(self) -> _Workers:
        environment = {
            "ARCO_FLOW_FUNCTION": "worker",
            "ARCO_FLOW_PROJECT": "shop",
            "ARCO_FLOW_LOCATION": "here",
            "ARCO_FLOW_BUCKET": "shop",
            "ARCO_FLOW_AUDIENCE": AUDIENCE,
            "ARCO_FLOW_FUNCTION_URLS": json.dumps({"worker_callback": CALLBACKS}),
        }
        return _Workers(CloudPlane(read_settings(environment)))

    def _delivered(self, use_case: Any, *, is_push: bool = False) -> Handler:
        async def work(body: bytes) -> object:
            return await use_case(self.engine, body)

        endpoint = DeliveryEndpoint(
            "function",
            work,
            Caller(AUDIENCE, frozenset({EMAIL})),
            OidcVerifier(fetch=certificates),
            self._bury,
            is_push=is_push,
        )
        return web_handler(endpoint.handle)

    async def _bury(self, letter: DeadLetter) -> None:
        self.buried.append(letter)

    def deploy(self) -> None:
        """One asset, in the workspace of the user."""
        manifest = Manifest(code_version_id="v1", module="shop", assets=[AssetSpec(key="shop.a")])
        raw = manifest_bytes(manifest)
        asyncio.run(deploy(self.engine, SCOPE, raw, location={}, actor="user:ana"))

    def deliver_queued(self) -> None:
        """Let what is due in the queue come into `sent`."""
        asyncio.run(self.tasks.run_due())

    def ask(
        self,
        function: str,
        method: str = "POST",
        path: str = "/",
        body: bytes | Body = b"",
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> WebResponse:
        """One request; token None = a good one."""
        good = USER if function == "api" else issuer().token(EMAIL, AUDIENCE)
        given = good if token is None else token
        sent = {"content-type": "application/json", **(headers or {})}
        if given:
            sent["authorization"] = f"Bearer {given}"
        target, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": target,
            "raw_path": target.encode(),
            "query_string": query.encode(),
            "headers": [(k.encode(), v.encode()) for k, v in sent.items()],
        }
        receive = body if isinstance(body, Body) else Body(body)
        self.lines.function = function
        handler = self.handlers[function]
        answer: WebResponse = asyncio.run(handler(WebRequest(scope, receive)))  # type: ignore[arg-type]
        return answer


def _keep(bodies: list[bytes]) -> Any:
    async def handler(body: bytes, _delivery: object) -> None:
        bodies.append(body)

    return handler


def push(document: Mapping[str, Any]) -> bytes:
    """A message as a push subscription delivers it."""
    data = base64.b64encode(json.dumps(document).encode()).decode()
    return json.dumps({"message": {"data": data, "messageId": "1"}}).encode()
