"""What comes as bytes, by a bus or a queue: done once, however often it comes; or refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.adapters.memory.objects import AsyncMemoryObjects, MemoryObjects
from arco_flow.adapters.memory.store import MemoryStore
from arco_flow.adapters.memory.tasks import MemoryTasks
from arco_flow.domain.envelope import parse_envelope
from arco_flow.domain.errors import Conflict, InvalidInput, NotFound
from arco_flow.domain.ids import Scope, run_entity
from arco_flow.domain.manifest import AssetSpec, Manifest, manifest_bytes
from arco_flow.engine.context import Engine, Settings
from arco_flow.engine.deploy import deploy
from arco_flow.engine.dispatch import dispatch_task
from arco_flow.engine.mailbox import Folded
from arco_flow.engine.objects import load_run
from arco_flow.engine.query import list_run_events, list_runs
from arco_flow.engine.run_bridge import ingest_run_request
from arco_flow.engine.timer_ingest import ingest_timer_task

SCOPE = Scope("acme", "prod")
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
REQUEST = {
    "tenant": "acme",
    "workspace": "prod",
    "actor": "sensor:new_files",
    "request": {"selection": "shop.a", "runKey": "file:1"},
    "traceparent": TRACEPARENT,
}


def new_engine() -> Engine:
    clock = VirtualClock()
    return Engine(
        store=MemoryStore(clock),
        tasks=MemoryTasks(clock),
        objects=AsyncMemoryObjects(MemoryObjects()),
        clock=clock,
        tenant_secret=b"t" * 32,
        token_secret=b"s" * 32,
        settings=Settings(callback_base_url="https://plane.example"),
    )


async def deployed(*scopes: Scope, location: Mapping[str, str] | None = None) -> Engine:
    engine = new_engine()
    raw = manifest_bytes(
        Manifest(code_version_id="v1", module="shop", assets=[AssetSpec(key="shop.a")])
    )
    for scope in scopes or (SCOPE,):
        await deploy(engine, scope, raw, location=location or {}, actor="user:me")
    return engine


def message(**changes: Any) -> bytes:
    document = {**REQUEST, **changes}
    return json.dumps({k: v for k, v in document.items() if v is not ...}).encode()


async def runs(engine: Engine, scope: Scope = SCOPE) -> list[str]:
    return [run.run_id for run in (await list_runs(engine, scope, limit=10)).runs]


async def refused(engine: Engine, body: bytes, what: str = "") -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        await ingest_run_request(engine, body)
    assert what in str(caught.value)
    assert await runs(engine) == []
    return caught.value


# -- requests for runs -------------------------------------------------------------------------


async def test_a_message_makes_a_run_and_its_repetition_names_the_same() -> None:
    engine = await deployed()
    first = await ingest_run_request(engine, message())
    again = await ingest_run_request(engine, message(traceparent=..., actor="sensor:other"))
    assert (first.created, again.created) == (True, False)
    assert await runs(engine) == [first.run_id] == [again.run_id]


def sent_to_the_worker(engine: Engine) -> list[bytes]:
    """A list that the bodies come into which the worker is sent."""
    sent: list[bytes] = []

    async def receive(body: bytes, _delivery: object) -> None:
        sent.append(body)

    engine.tasks.register("worker", receive)  # type: ignore[attr-defined]
    return sent


async def test_who_asked_and_the_trace_go_into_the_ledger_and_to_the_worker() -> None:
    engine = await deployed()
    sent = sent_to_the_worker(engine)
    accepted = await ingest_run_request(engine, message())
    page = await list_run_events(engine, SCOPE, accepted.run_id, after=0, limit=1)
    assert page.events[0].event["actor"] == "sensor:new_files"
    assert page.events[0].event["traceparent"] == TRACEPARENT
    await engine.tasks.run_due()  # type: ignore[attr-defined]
    assert [parse_envelope(body).traceparent for body in sent] == [TRACEPARENT]


@pytest.mark.parametrize(
    ("location", "told"),
    [
        (
            {"target": "shop", "root": "/app", "module": "shop"},
            {"target": "shop", "root": "/app", "codeVersionId": "v1"},
        ),
        ({}, None),
        ({"module": "shop"}, None),
    ],
)
async def test_the_worker_is_sent_where_the_code_of_the_deployment_is(
    location: dict[str, str], told: dict[str, str] | None
) -> None:
    engine = await deployed(location=location)
    sent = sent_to_the_worker(engine)
    await ingest_run_request(engine, message())
    await engine.tasks.run_due()  # type: ignore[attr-defined]
    assert [parse_envelope(body).payload.get("codeLocation") for body in sent] == [told]
    without = await deployed()
    bare = sent_to_the_worker(without)
    await ingest_run_request(without, message())
    await without.tasks.run_due()  # type: ignore[attr-defined]
    grown = len(sent[0]) - len(bare[0])
    assert grown <= 60 + sum(map(len, (told or {}).values())), "the texts and little more"


async def test_a_message_acts_in_the_workspace_that_it_names_and_in_no_other() -> None:
    other = Scope("acme", "test")
    engine = await deployed(SCOPE, other)
    accepted = await ingest_run_request(engine, message(workspace="test"))
    assert (await runs(engine), await runs(engine, other)) == ([], [accepted.run_id])


@pytest.mark.parametrize("request_", [{"selection": "shop.a"}, {"selection": "*", "runKey": ""}])
async def test_a_message_without_a_run_key_is_refused_because_it_may_come_twice(
    request_: dict[str, str],
) -> None:
    error = await refused(await deployed(), message(request=request_), "needs a run key")
    assert "runKey" in (error.fix or "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff",
        b"{}",
        message(tenant=...),
        message(workspace=7),
        message(request="shop.a"),
        message(priority=1),
        message(request={"selection": "shop.a", "runKey": "k", "state": "SUCCEEDED"}),
        message(request={"selection": "shop.a", "runKey": "k", "tags": {"a": 1}}),
        message() + b"x",
        message(actor="\ud800"),
        message().replace(b'"shop.a"', b"NaN"),
        message().replace(b'"shop.a"', b"[" * 100_000),
        message(traceparent=9 * 10**30),
    ],
)
async def test_what_is_no_request_is_refused(body: bytes) -> None:
    await refused(await deployed(), body, "this is no run request")


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("tenant", ""),
        ("tenant", "../acme"),
        ("tenant", "acme:prod"),
        ("tenant", "acme/workspaces/prod"),
        ("tenant", "Acme"),
        ("workspace", ".."),
        ("workspace", "prod\x00"),
        ("workspace", "x" * 64),
        ("workspace", "ｐｒｏｄ"),
        ("actor", ""),
        ("actor", " user:ana"),
        ("actor", "user:ana\nplane"),
        ("actor", "x" * 257),
        ("actor", "user:\u202eana"),
    ],
)
async def test_names_in_a_message_are_checked_as_everywhere(field: str, text: str) -> None:
    await refused(await deployed(), message(**{field: text}), field)


@pytest.mark.parametrize(
    "trace", ["", "00-x", f"{TRACEPARENT}\r\nX-Evil: 1", TRACEPARENT.upper(), "x" * 100_000]
)
async def test_a_trace_that_is_none_is_left_out(trace: str) -> None:
    engine = await deployed()
    accepted = await ingest_run_request(engine, message(traceparent=trace))
    head = await engine.store.load(str(run_entity(SCOPE, accepted.run_id)))
    assert head is not None
    assert load_run(engine, head).traceparent == ""


async def test_a_key_that_stands_for_another_request_is_a_conflict() -> None:
    engine = await deployed()
    await ingest_run_request(engine, message())
    with pytest.raises(Conflict) as caught:
        await ingest_run_request(engine, message(request={"selection": "*", "runKey": "file:1"}))
    assert caught.value.reason == "RUN_KEY_CONFLICT"


async def test_a_request_of_a_workspace_without_a_deployment_can_not_be_met() -> None:
    with pytest.raises(NotFound) as caught:
        await ingest_run_request(await deployed(), message(workspace="nowhere"))
    assert caught.value.reason == "NOTHING_DEPLOYED"


# -- wakes and timers --------------------------------------------------------------------------


async def test_a_wake_folds_its_entity() -> None:
    engine = await deployed()
    accepted = await ingest_run_request(engine, message())
    entity = str(run_entity(SCOPE, accepted.run_id))
    assert await dispatch_task(engine, entity.encode()) is Folded.NOTHING


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "is no entity id"),
        (b"acme:prod:run", "is no entity id"),
        (b"acme:prod:run:", "is no entity id"),
        (b"acme:prod:run:r:x", "is no entity id"),
        (b"acme:prod:spaceship:x", "'spaceship' is no kind of entity"),
        (b"acme:prod:Run:x", "'Run' is no kind of entity"),
        (b"\xff\xfe", "this is no wake"),
        (b'{"entity": "acme"}', "is no entity id"),
    ],
)
async def test_a_wake_of_nothing_is_refused(body: bytes, what: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await dispatch_task(await deployed(), body)
    assert what in str(caught.value)


async def test_a_wake_of_a_run_that_is_nowhere_is_no_trouble() -> None:
    assert await dispatch_task(await deployed(), b"acme:prod:run:run_gone") is Folded.NOTHING


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"entity": "acme:prod:run:r"}',
        b'{"entity": "acme:prod:run:r", "generation": "1"}',
        b'{"entity": "acme:prod:run:r", "generation": 1.5}',
        b'{"entity": "acme:prod:run:r", "generation": ' + b"9" * 40 + b"}",
        b'{"entity": "acme:prod:run:r", "generation": -1}',
        b'{"entity": 1, "generation": 1}',
        b'{"entity": ' + b"[" * 100_000,
    ],
)
async def test_what_is_no_timer_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput, match="this is no timer task"):
        await ingest_timer_task(await deployed(), body)


async def test_a_timer_of_no_entity_is_refused() -> None:
    with pytest.raises(InvalidInput, match="is no entity id"):
        await ingest_timer_task(await deployed(), b'{"entity": "x", "generation": 1}')


async def test_a_timer_of_a_run_that_is_gone_or_of_an_older_one_changes_nothing() -> None:
    engine = await deployed()
    accepted = await ingest_run_request(engine, message())
    entity = str(run_entity(SCOPE, accepted.run_id))
    before = await engine.store.load(entity)
    for text in ("acme:prod:run:run_gone", entity):
        body = json.dumps({"entity": text, "generation": 0, "more": "is tolerated"}).encode()
        await ingest_timer_task(engine, body)
    assert await engine.store.load(entity) == before
    assert await engine.store.inbox(entity, 10) == []
