"""Hostile requests to every route that takes a body: refused alike, and nothing is changed."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from http_plane import BASE, JSON, READER, SCOPE, WRITER, Plane

from arco_flow.domain.envelope import DispatchEnvelope
from arco_flow.domain.ids import run_entity
from arco_flow.domain.manifest import AssetSpec, Manifest, manifest_bytes
from arco_flow.engine.worker_callback import MAX_REPORT_DEPTH
from arco_flow.http.messages import Response
from arco_flow.http.routes import ROUTES

SHOP = manifest_bytes(
    Manifest(
        code_version_id="v1",
        module="shop",
        assets=[
            AssetSpec(key="shop.a"),
            AssetSpec(key="shop.r", partitions={"kind": "dynamic", "name": "regions"}),
        ],
    )
)


class Target:
    """A plane with a run whose only attempt is dispatched: everything a body can be about."""

    def __init__(self) -> None:
        self.plane = Plane()
        self.plane.post("/deployments?location.target=shop", SHOP)
        self.run = self.plane.post("/runs", {"selection": "shop.a", "runKey": "first"})["runId"]
        self.plane.work()
        self.envelope: DispatchEnvelope = self.plane.envelopes[0]

    def send(
        self, what: Taker, body: bytes, headers: Mapping[str, str] = JSON, **more: Any
    ) -> Response:
        path = what.path.replace("{run}", self.run).replace("{task}", self.envelope.task_id)
        token = self.envelope.task_token if what.is_callback else WRITER
        return self.plane.ask("POST", path, body, headers=headers, **{"token": token, **more})

    def body(self, what: Taker, value: bytes) -> bytes:
        claim = b'"attempt":1,"attemptId":"%s","workerId":"w",' % self.envelope.attempt_id.encode()
        return what.body.replace(b"CLAIM", claim).replace(b"HERE", value)

    def state(self) -> tuple[Any, ...]:
        """All that a request could have changed."""
        entity = str(run_entity(SCOPE, self.run))
        store = self.plane.store
        return (
            self.plane.get("/deployments"),
            self.plane.get("/runs"),
            self.plane.get(f"/runs/{self.run}/events"),
            self.plane.get("/dynamicPartitions/regions"),
            asyncio.run(store.load(entity)),
            asyncio.run(store.inbox(entity, 10)),
        )


@dataclass(frozen=True)
class Taker:
    """A route that takes a body. HERE in it stands for a value, CLAIM for who reports."""

    path: str
    body: bytes

    @property
    def is_callback(self) -> bool:
        return self.path.startswith("/v1/tasks/")


TAKERS = {
    "create_run": Taker(f"{BASE}/runs", b'{"selection":"shop.a","tags":{"k":HERE}}'),
    "cancel_run": Taker(f"{BASE}/runs/{{run}}:cancel", b'{"reason":HERE}'),
    "add_dynamic_partitions": Taker(
        f"{BASE}/dynamicPartitions/regions:add", b'{"partitions":[HERE]}'
    ),
    "delete_dynamic_partitions": Taker(
        f"{BASE}/dynamicPartitions/regions:delete", b'{"partitions":[HERE]}'
    ),
    "create_deployment": Taker(
        f"{BASE}/deployments",
        b'{"codeVersionId":"v2","module":"shop","assets":[],"metadata":{"x":HERE}}',
    ),
    "report_started": Taker("/v1/tasks/{task}/started", b'{CLAIM"traceparent":HERE}'),
    "report_heartbeat": Taker("/v1/tasks/{task}/heartbeat", b'{CLAIM"message":HERE}'),
    "report_completed": Taker(
        "/v1/tasks/{task}/completed",
        b'{CLAIM"outcome":"SUCCEEDED","output":{"metadata":{"x":HERE}}}',
    ),
}

every_taker = pytest.mark.parametrize("name", TAKERS)


@pytest.fixture(scope="module")
def target() -> Target:
    return Target()


def test_every_route_that_takes_a_body_is_attacked() -> None:
    assert set(TAKERS) == {route.operation_id for route in ROUTES if route.method != "GET"}


@every_taker
def test_what_the_attacks_are_made_of_is_accepted_when_it_is_harmless(name: str) -> None:
    target = Target()
    answer = target.send(TAKERS[name], target.body(TAKERS[name], b'"harmless \\u00fc"'))
    assert answer.status == 200, answer.body


# -- values and documents --------------------------------------------------------------------------

DEEP = 100_000
VALUES: Mapping[str, bytes] = {
    "lists without end": b"[" * DEEP,
    "lists in lists": b"[" * DEEP + b"]" * DEEP,
    "objects in objects": b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    "nesting that a parser survives": b"[" * 500 + b"]" * 500,
    "nesting beyond all that is kept": b"[" * 65 + b"]" * 65,
    "not a number": b"NaN",
    "infinity": b"Infinity",
    "minus infinity": b"-Infinity",
    "a number beyond all": b"1e400",
    "5,000 digits": b"9" * 5_000,
    "half of a surrogate pair": b'"\\ud800"',
    "the other half": b'"\\udc00"',
    "no UTF-8": b'"\xff"',
    "an overlong slash": b'"\xc0\xaf"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "a raw line break": b'"a\nb"',
    "a raw NUL": b'"a\x00b"',
    "an unknown escape": b'"\\x41"',
    "single quotes": b"'a'",
    "an open string": b'"a',
    "a leading zero": b"01",
    "hexadecimal": b"0x10",
    "a comma too many": b"[1,]",
    "a comment": b"1/*x*/",
    "Python": b"None",
}


@every_taker
@pytest.mark.parametrize("what", VALUES)
def test_a_hostile_value_is_400_and_changes_nothing(target: Target, name: str, what: str) -> None:
    before = target.state()
    answer = target.send(TAKERS[name], target.body(TAKERS[name], VALUES[what]))
    assert answer.status == 400, answer.body
    assert len(answer.body) < 2_000, "what is refused is not sent back"
    assert target.state() == before


def _documents(good: bytes) -> dict[str, bytes]:
    return {
        "two documents": good + good,
        "garbage behind it": good + b"x",
        "a byte order mark": b"\xef\xbb\xbf" + good,
        "UTF-16": good.decode().encode("utf-16"),
        "UTF-32": good.decode().encode("utf-32"),
        "half of it": good[: len(good) // 2],
        "a list around it": b"[" + good + b"]",
        "a string of it": json.dumps(good.decode()).encode(),
        "null": b"null",
        "a number": b"7",
        "a form": b"selection=shop.a&reason=x",
        "XML": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY y SYSTEM "file:///dev/null">]><x>&y;</x>',
        "a pickle": b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system",
        "spaces": b" " * 10_000,
    }


@every_taker
@pytest.mark.parametrize("what", _documents(b"{}"))
def test_a_hostile_document_is_400_and_changes_nothing(
    target: Target, name: str, what: str
) -> None:
    before = target.state()
    good = target.body(TAKERS[name], b'"x"')
    answer = target.send(TAKERS[name], _documents(good)[what])
    assert answer.status == 400, answer.body
    assert target.state() == before


@pytest.mark.parametrize("name", [name for name in TAKERS if not TAKERS[name].is_callback])
def test_a_name_that_occurs_twice_is_400(target: Target, name: str) -> None:
    before = target.state()
    good = target.body(TAKERS[name], b'"x"')
    first = re.match(rb'\{("\w+":(?:"[^"]*"|\[[^]]*\]))', good)
    assert first
    twice = good[:-1] + b"," + first[1] + b"}"
    assert json.loads(twice) == json.loads(good), "another reader would see nothing"
    answer = target.send(TAKERS[name], twice)
    assert (answer.status, b"occurs twice" in answer.body) == (400, True)
    assert target.state() == before


def test_a_report_with_a_name_twice_speaks_for_the_attempt_of_its_token_or_is_refused() -> None:
    target = Target()
    claim = f'"attemptId":"{target.envelope.attempt_id}","workerId":"w"'
    for numbers, status in (((1, 2), 409), ((2, 1), 200)):
        body = "".join(f'"attempt":{number},' for number in numbers)
        answer = target.send(TAKERS["report_started"], f"{{{body}{claim}}}".encode())
        assert answer.status == status


@pytest.mark.parametrize("field", ["output", "metrics", "checks"])
def test_a_report_may_be_as_deep_as_is_kept_and_no_deeper(field: str) -> None:
    for depth, status in ((MAX_REPORT_DEPTH - 2, 200), (MAX_REPORT_DEPTH, 400)):
        target = Target()
        inner = "[" * depth + "]" * depth
        value = f'[{{"x":{inner}}}]' if field == "checks" else f'{{"x":{inner}}}'
        body = f'{{CLAIM"outcome":"SUCCEEDED","{field}":{value}}}'.encode()
        what = Taker(TAKERS["report_completed"].path, body)
        assert target.send(what, target.body(what, b"")).status == status
        assert target.plane.get(f"/runs/{target.run}")["state"] in ("RUNNING", "SUCCEEDED")


# -- encodings and sizes ---------------------------------------------------------------------------

BOMB = gzip.compress(bytes(32 * 1024 * 1024))


@every_taker
@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", BOMB),
        ("x-gzip", BOMB),
        ("deflate", zlib.compress(bytes(1024 * 1024))),
        ("gzip, gzip", gzip.compress(BOMB)),
        ("identity, gzip", BOMB),
        ("br", b"\x0b\x02\x80{}\x03"),
        ("zstd", b"(\xb5/\xfd"),
        ("aws-chunked", b"2\r\n{}\r\n0\r\n\r\n"),
        ("nonsense", b"{}"),
    ],
)
def test_nothing_is_inflated(target: Target, name: str, encoding: str, body: bytes) -> None:
    answer = target.send(TAKERS[name], body, {**JSON, "content-encoding": encoding})
    assert answer.status == 415
    assert len(BOMB) < 64 * 1024, "it would be let through by its size"


@every_taker
@pytest.mark.parametrize(
    "media",
    [
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/json-patch+json",
        "application/json; charset=utf-7",
        "application/json, text/plain",
        "application/json\r\nx-evil: 1",
        "application/yaml",
    ],
)
def test_a_body_is_json_by_name(target: Target, name: str, media: str) -> None:
    good = target.body(TAKERS[name], b'"x"')
    answer = target.send(TAKERS[name], good, {"content-type": media})
    assert answer.status == 415
    assert not [value for _, value in answer.headers if "evil" in value]


@every_taker
def test_what_is_too_large_is_413_before_it_is_read(target: Target, name: str) -> None:
    path = TAKERS[name].path.replace("{run}", "r").replace("{task}", "t")
    limit = target.plane.app.body_limit("POST", path)
    assert target.send(TAKERS[name], b"[" * (limit + 1)).status == 413


# -- headers that claim what only the platform may say ---------------------------------------------

CLAIMS: Mapping[str, str] = {
    "x-http-method-override": "DELETE",
    "x-http-method": "GET",
    "x-method-override": "POST",
    "x-original-url": "/health/live",
    "x-rewrite-url": "/health/live",
    "x-original-method": "GET",
    "x-forwarded-for": "127.0.0.1",
    "x-forwarded-host": "localhost",
    "x-forwarded-proto": "https",
    "x-forwarded-prefix": "/v1/workspaces/other",
    "x-forwarded-user": "user:writer",
    "x-forwarded-email": "writer@acme.example",
    "x-remote-user": "user:writer",
    "x-real-ip": "127.0.0.1",
    "forwarded": 'for=127.0.0.1;host="localhost";proto=https',
    "via": "1.1 google",
    "x-goog-authenticated-user-email": "accounts.google.com:writer@acme.example",
    "x-goog-iap-jwt-assertion": "eyJhbGciOiJub25lIn0.e30.",
    "x-serverless-authorization": "Bearer writer-token",
    "proxy-authorization": "Bearer writer-token",
    "cookie": "token=writer-token",
    "x-cloudtasks-queuename": "wakes",
    "x-cloudtasks-taskname": "w_1",
    "x-cloudtasks-taskretrycount": "0",
    "x-cloudscheduler": "true",
    "x-appengine-queuename": "wakes",
    "x-appengine-user-is-admin": "1",
    "x-cloud-trace-context": "0" * 32 + "/1;o=1",
    "x-tenant": "rival",
    "x-workspace": "other",
}


@pytest.mark.parametrize("token", ["", "wrong-token", READER, WRITER])
@pytest.mark.parametrize("header", CLAIMS)
def test_a_header_that_claims_something_changes_no_answer(
    target: Target, header: str, token: str
) -> None:
    for method, path, body in (
        ("GET", f"{BASE}/runs", None),
        ("POST", f"{BASE}/runs", {"selection": "shop.a", "runKey": "first"}),
        ("GET", "/v1/workspaces/other/runs", None),
        ("DELETE", f"{BASE}/runs", None),
        ("POST", f"/v1/tasks/{target.envelope.task_id}/heartbeat", {}),
    ):
        plain = target.plane.ask(method, path, body, token=token)
        claimed = target.plane.ask(
            method, path, body, token=token, headers={header: CLAIMS[header]}
        )
        assert (claimed.status, claimed.body) == (plain.status, plain.body)


# -- tricks with paths -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/v1/tasks/{task}/started/",
        "/v1/tasks/{task}//started",
        "/v1/tasks//{task}/started",
        "//v1/tasks/{task}/started",
        "/v1/tasks/{task}/Started",
        "/v1/tasks/{task}/%73tarted",
        "/v1/tasks/{task}%2fstarted",
        "/v1/tasks/{task}/started;x=1",
        "/v1/tasks/x/../{task}/started",
        "/v1/./tasks/{task}/started",
        "/V1/tasks/{task}/started",
        "/v1/tasks/{task}/started%00",
        "/v1/tasks/{task}/started:x",
        "/v1/tasks/{task}/\uff53tarted",
        "/v1/tasks/{task}",
    ],
)
def test_another_spelling_of_a_callback_is_another_path(target: Target, path: str) -> None:
    body = {"attempt": 1, "attemptId": target.envelope.attempt_id, "workerId": "w"}
    for token in ("", target.envelope.task_token):
        full = path.replace("{task}", target.envelope.task_id)
        assert target.plane.ask("POST", full, body, token=token).status == 404


@pytest.mark.parametrize(
    ("task", "status"),
    [
        ("ct1_", 403),
        ("ct1_AAAA", 403),
        ("..", 400),
        ("%2e%2e", 400),
        ("%00", 400),
        ("%ff", 400),
        ("a%2fb", 403),
        ("a%5cb", 403),
        ("%EF%BC%8F", 403),
        ("x" * 4_000, 403),
        ("x" * 9_000, 414),
    ],
)
def test_a_token_opens_no_task_but_its_own_however_it_is_spelled(
    target: Target, task: str, status: int
) -> None:
    answer = target.plane.ask(
        "POST", f"/v1/tasks/{task}/started", {}, token=target.envelope.task_token
    )
    assert answer.status == status


@pytest.mark.parametrize(
    "path",
    [
        "/runs/{run}:cancel:cancel",
        "/runs/{run}:Cancel",
        "/runs/{run}:cancel/",
        "/runs/{run}/:cancel",
        "/runs/{run}:%63ancel",
        "/runs//{run}:cancel",
        "/runs/{run}%3Acancel",
        "/runs/..:cancel",
        "/runs/:cancel",
    ],
)
def test_a_verb_has_one_spelling(target: Target, path: str) -> None:
    before = target.state()
    answer = target.plane.ask("POST", BASE + path.replace("{run}", target.run), {"reason": "x"})
    assert answer.status in (400, 404, 405)
    assert target.state() == before


def test_the_target_of_the_attacks_is_as_it_was(target: Target) -> None:
    """The last of this file: the attempt that was attacked still reports, and its run ends."""
    for name in ("report_started", "report_heartbeat", "report_completed"):
        answer = target.send(TAKERS[name], target.body(TAKERS[name], b'"x"'))
        assert answer.status == 200, answer.body
    target.plane.clock.advance(2_000)
    target.plane.work()
    assert target.plane.get(f"/runs/{target.run}")["state"] == "SUCCEEDED"
