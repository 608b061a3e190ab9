"""The App behind ASGI: the same answers, whoever reads the socket."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from http_plane import BASE, WRITER, Plane, error_of, manifest

from arco_flow.http.asgi import AsgiApp
from arco_flow.http.messages import Response
from arco_flow.http.routing import API_BODY_BYTES

AUTH = (b"authorization", f"Bearer {WRITER}".encode())
JSON = (b"content-type", b"application/json")


def ask(
    plane: Plane,
    method: str,
    target: str,
    parts: Sequence[bytes] = (b"",),
    headers: Sequence[tuple[bytes, bytes]] = (AUTH, JSON),
) -> Response:
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": list(headers),
    }
    return asyncio.run(_ask(AsgiApp(plane.app), scope, list(parts)))


async def _ask(app: AsgiApp, scope: dict[str, Any], parts: list[bytes]) -> Response:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, body = sent
    headers = tuple((name.decode(), value.decode()) for name, value in start["headers"])
    assert dict(headers)["content-length"] == str(len(body["body"]))
    return Response(start["status"], body["body"], headers=headers)


def test_a_body_in_parts_is_one_body() -> None:
    raw = manifest()
    answer = ask(Plane(), "POST", f"{BASE}/deployments?validateOnly=true", [raw[:50], raw[50:]])
    assert answer.status == 200
    assert msgspec.json.decode(answer.body)["assetCount"] == 3


def test_a_body_is_not_collected_beyond_its_limit() -> None:
    parts = [b"x" * API_BODY_BYTES, b"x", b"x" * API_BODY_BYTES]
    answer = ask(Plane(), "POST", f"{BASE}/runs", parts)
    assert answer.status == 413
    assert error_of(answer)["status"] == "INVALID_ARGUMENT"


def test_the_path_is_read_as_it_was_sent() -> None:
    assert ask(Plane(), "GET", f"{BASE}/%72uns").status == 404
    assert ask(Plane(), "GET", f"{BASE}/runs?pageSize=-1").status == 400


def test_a_credential_sent_twice_is_none() -> None:
    twice = (AUTH, (b"Authorization", b"Bearer other"))
    assert ask(Plane(), "GET", f"{BASE}/runs", headers=twice).status == 401


def test_the_server_may_start_and_stop_the_app() -> None:
    received = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return received.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    asyncio.run(AsgiApp(Plane().app)({"type": "lifespan"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
