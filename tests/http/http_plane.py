"""A whole plane in memory behind the App, for tests of the HTTP layer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.adapters.memory.objects import AsyncMemoryObjects, MemoryObjects
from arco_flow.adapters.memory.store import MemoryStore
from arco_flow.adapters.memory.tasks import MemoryTasks
from arco_flow.domain.envelope import DispatchEnvelope, parse_envelope
from arco_flow.domain.ids import Scope
from arco_flow.domain.manifest import AssetSpec, DepSpec, Manifest, manifest_bytes
from arco_flow.engine.context import Engine, Settings
from arco_flow.engine.dispatch import dispatch
from arco_flow.http.app import App
from arco_flow.http.auth import BearerTokens, Identity, Permission
from arco_flow.http.load_limits import Rate
from arco_flow.http.messages import Request, Response

SCOPE = Scope("acme", "test")
WRITER = "writer-token"
READER = "reader-token"
NEIGHBOUR = "neighbour-token"
BASE = "/v1/workspaces/test"
JSON = {"content-type": "application/json"}


def manifest(*keys: str, code: str = "v1") -> bytes:
    """A chain of assets: each waits for the one before."""
    names = keys or ("shop.a", "shop.b", "shop.c")
    specs = [
        AssetSpec(key=key, code_version=code, deps=[DepSpec(asset=names[i - 1])] if i else [])
        for i, key in enumerate(names)
    ]
    return manifest_bytes(Manifest(code_version_id=code, module="shop", assets=specs))


class Plane:
    """App and engine over the memory adapters. envelopes: what workers were sent."""

    def __init__(
        self, allowed_hosts: frozenset[str] | None = None, rate: Rate | None = None
    ) -> None:
        self.clock = VirtualClock()
        self.tasks = MemoryTasks(self.clock)
        self.store = MemoryStore(self.clock)
        self.engine = Engine(
            store=self.store,
            tasks=self.tasks,
            objects=AsyncMemoryObjects(MemoryObjects()),
            clock=self.clock,
            tenant_secret=b"t" * 32,
            token_secret=b"s" * 32,
            settings=Settings(callback_base_url="http://plane.test"),
        )
        self.authenticator = BearerTokens(
            {
                WRITER: Identity(SCOPE, "user:writer"),
                READER: Identity(SCOPE, "user:reader", frozenset({Permission.READ})),
                NEIGHBOUR: Identity(Scope("acme", "other"), "user:neighbour"),
            }
        )
        self.app = App(self.engine, self.authenticator, allowed_hosts=allowed_hosts, rate=rate)
        self.envelopes: list[DispatchEnvelope] = []
        self.tasks.register("worker", self._receive)
        self.tasks.register("dispatch", self._fold)

    async def _receive(self, body: bytes, _delivery: object) -> None:
        self.envelopes.append(parse_envelope(body))

    async def _fold(self, body: bytes, _delivery: object) -> None:
        await dispatch(self.engine, body.decode())

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str = WRITER,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """One request, its body as JSON unless it is bytes."""
        raw = body if isinstance(body, bytes) else b"" if body is None else _encode(body)
        sent = {**(JSON if raw else {}), **(headers or {})}
        if token:
            sent["authorization"] = f"Bearer {token}"
        target, _, query = path.partition("?")
        return asyncio.run(self.app.handle(Request(method, target, query, sent, raw)))

    def get(self, path: str, **kwargs: Any) -> Any:
        """GET below the workspace; the body of a 200."""
        return self._ok(self.ask("GET", BASE + path, **kwargs))

    def post(self, path: str, body: object = None, **kwargs: Any) -> Any:
        """POST below the workspace; the body of a 200."""
        return self._ok(self.ask("POST", BASE + path, body, **kwargs))

    def work(self) -> None:
        """Deliver what is due."""
        asyncio.run(self.tasks.run_due())

    @staticmethod
    def _ok(response: Response) -> Any:
        assert response.status == 200, response.body.decode()
        return msgspec.json.decode(response.body)


def error_of(response: Response) -> dict[str, Any]:
    """The google.rpc.Status of an answer, once its form is checked (AIP-193)."""
    error: dict[str, Any] = msgspec.json.decode(response.body)["error"]
    info = error["details"][0]
    assert error["code"] == response.status
    assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert info["domain"] == "flow.arco.dev"
    assert info["reason"] == info["reason"].upper()
    assert all(isinstance(value, str) for value in info["metadata"].values())
    return error


def reason_of(response: Response) -> str:
    """The reason of an answer's ErrorInfo."""
    reason: str = error_of(response)["details"][0]["reason"]
    return reason


def _encode(body: object) -> bytes:
    return msgspec.json.encode(body)
