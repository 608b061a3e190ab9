"""Deploy, run and look through the App: bodies, pages, waiting, conflicts and limits."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import msgspec
import pytest
from http_plane import BASE, JSON, NEIGHBOUR, SCOPE, WRITER, Plane, error_of, manifest, reason_of
from hypothesis import given, settings
from hypothesis import strategies as st

from arco_flow.adapters.memory.faults import ScriptedFaults
from arco_flow.domain import errors
from arco_flow.domain.run import RunState
from arco_flow.engine.cancel_run import cancel_run
from arco_flow.http import app as app_module
from arco_flow.http.app import LOCAL_HOSTS, App
from arco_flow.http.messages import Request
from arco_flow.http.outcomes import OUTCOMES, api_error, callback_error, outcome_of
from arco_flow.http.routing import API_BODY_BYTES


@pytest.fixture
def plane() -> Plane:
    ready = Plane()
    ready.post("/deployments?location.target=shop", manifest())
    return ready


def test_deploy_answers_what_changed_and_a_dry_run_changes_nothing() -> None:
    plane = Plane()
    dry = plane.post("/deployments?validateOnly=true", manifest())
    assert (dry["dryRun"], dry["added"]) == (True, ["shop.a", "shop.b", "shop.c"])
    assert plane.ask("GET", f"{BASE}/deployments").status == 404
    done = plane.post("/deployments?location.target=shop&location.root=src", manifest())
    assert done["manifestId"] == dry["manifestId"]
    now = plane.get("/deployments")
    assert now["location"] == {"target": "shop", "root": "src"}
    assert plane.post("/deployments?location.target=shop&location.root=src", manifest())[
        "unchanged"
    ]


TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_the_m1_loop_over_http(plane: Plane) -> None:
    spec = {"selection": "shop.a", "runKey": "test-idempotency-key"}
    first = plane.post("/runs", spec)
    second = plane.post("/runs", spec)
    assert first["created"]
    assert not second["created"]
    assert first["runId"] == second["runId"]
    plan = plane.get(f"/runs/{first['runId']}/plan")
    assert [task["asset"] for task in plan["tasks"]] == ["shop.a"]


def test_request_id_header_and_run_key_are_one_thing(plane: Plane) -> None:
    by_key = plane.post("/runs", {"selection": "shop.a", "runKey": "k1"})
    by_id = plane.post("/runs?requestId=k1", {"selection": "shop.a"})
    by_header = plane.post("/runs", {"selection": "shop.a"}, headers={"idempotency-key": "k1"})
    assert by_key["runId"] == by_id["runId"] == by_header["runId"]
    both = plane.ask("POST", f"{BASE}/runs?requestId=k2", {"selection": "shop.a", "runKey": "k1"})
    assert (both.status, reason_of(both)) == (400, "AMBIGUOUS_RUN_KEY")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (TRACEPARENT, TRACEPARENT),
        ("00-nonsense\r\nx: y", ""),
        ("", ""),
    ],
)
def test_the_trace_of_a_request_is_kept_with_its_run(plane: Plane, given: str, kept: str) -> None:
    run = plane.post("/runs", {"selection": "shop.a"}, headers={"traceparent": given})
    events = plane.get(f"/runs/{run['runId']}/events")["events"]
    requested = next(e["event"] for e in events if e["event"]["type"] == "RunRequested")
    assert requested.get("traceparent", "") == kept


def test_one_run_key_for_two_requests_is_a_conflict(plane: Plane) -> None:
    plane.post("/runs", {"selection": "shop.a", "runKey": "k"})
    answer = plane.ask("POST", f"{BASE}/runs", {"selection": "shop.b", "runKey": "k"})
    error = error_of(answer)
    assert (answer.status, error["status"]) == (409, "ALREADY_EXISTS")
    assert error["details"][0]["reason"] == "RUN_KEY_CONFLICT"
    assert error["details"][0]["metadata"]["runKey"] == "k"


def test_validate_only_plans_and_starts_nothing(plane: Plane) -> None:
    plan = plane.post("/runs?validateOnly=true", {"selection": "*"})
    assert [task["upstream"] for task in plan["tasks"]] == [[], ["shop.a"], ["shop.b"]]
    assert plane.get("/runs")["runs"] == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("state", "SUCCEEDED"), ("attempt", 3), ("tenantId", "x"), ("promotion", 9), ("runKeys", "k")],
)
def test_fields_that_a_caller_may_not_set_are_refused(plane: Plane, field: str, value: Any) -> None:
    answer = plane.ask("POST", f"{BASE}/runs", {"selection": "shop.a", field: value})
    assert (answer.status, reason_of(answer)) == (400, "UNKNOWN_FIELD")
    assert field in error_of(answer)["message"]
    if field == "runKeys":
        assert "did you mean 'runKey'" in error_of(answer)["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"{}",
        b'{"selection": 3}',
        b'{"selection": NaN}',
        b'{"selection": "a"} trailing',
        b'{"selection": "shop.a", "selection": "shop.b"}',
        b'{"selection": "\\ud800"}',
        b'{"selection": "shop.a", "timeoutMs": 1e400}',
        b'{"selection": "shop.a", "timeoutMs": ' + b"9" * 5000 + b"}",
        b'{"selection": "shop.a", "timeoutMs": 1.5}',
        b'{"selection": "shop.a", "tags": {"a": "1", "a": "2"}}',
        b'{"selection": ' + b"[" * 100_000 + b"}",
        b'{"selection": "shop.a", "tags": ' + b'{"a":' * 20_000 + b"1" + b"}" * 20_001,
        b'{"selection": "sh\xff"}',
        b'\xef\xbb\xbf{"selection": "shop.a"}',
        b'{"selection": "shop.a", "tags": {'
        + b",".join(b'"k%d": ""' % i for i in range(3000))
        + b"}}",
    ],
)
def test_bodies_that_two_parsers_could_read_in_two_ways_are_refused(
    plane: Plane, body: bytes
) -> None:
    answer = plane.ask("POST", f"{BASE}/runs", body, headers=JSON)
    assert answer.status == 400, answer.body
    assert error_of(answer)["status"] == "INVALID_ARGUMENT"
    assert plane.get("/runs")["runs"] == []


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200))
def test_no_body_makes_the_app_fail(body: bytes) -> None:
    plane = Plane()
    for path in ("/runs", "/deployments", "/runs/x:cancel", "/dynamicPartitions/x:add"):
        assert plane.ask("POST", BASE + path, body, headers=JSON).status in (400, 404)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": ""}, 415),
        ({"content-type": "application/json; charset=utf-16"}, 415),
        ({"content-encoding": "gzip"}, 415),
        ({"content-encoding": "br"}, 415),
        ({"content-encoding": "gzip, gzip"}, 415),
        ({"content-type": "application/json; charset=UTF-8"}, 200),
        ({"content-encoding": "identity"}, 200),
    ],
)
def test_what_a_body_may_be(plane: Plane, headers: dict[str, str], status: int) -> None:
    answer = plane.ask("POST", f"{BASE}/runs", {"selection": "shop.a"}, headers=headers)
    assert answer.status == status


def test_limits_of_sizes(plane: Plane) -> None:
    big = b'{"selection": "' + b"x" * API_BODY_BYTES + b'"}'
    assert plane.ask("POST", f"{BASE}/runs", big).status == 413
    assert plane.ask("POST", f"{BASE}/deployments", b" " * (10 * 1024 * 1024 + 1)).status == 413
    assert plane.ask("GET", f"{BASE}/runs?filter={'x' * 9000}").status == 414
    assert plane.ask("GET", f"{BASE}/runs", headers={"x-a": "x" * 9000}).status == 431
    many = {f"x-{index}": "1" for index in range(100)}
    assert plane.ask("GET", f"{BASE}/runs", headers=many).status == 431


def test_the_manifest_may_be_larger_than_other_bodies(plane: Plane) -> None:
    app = plane.app
    assert app.body_limit("POST", f"{BASE}/deployments") == 10 * 1024 * 1024
    assert app.body_limit("POST", f"{BASE}/runs") == API_BODY_BYTES
    assert app.body_limit("POST", "/v1/tasks/x/completed") == 1024 * 1024
    assert app.body_limit("POST", "/nowhere") == API_BODY_BYTES


def test_pages_go_on_where_they_ended_and_end_with_an_empty_token(plane: Plane) -> None:
    made = [plane.post("/runs", {"selection": "shop.a"})["runId"] for _ in range(5)]
    seen: list[str] = []
    token = ""
    while True:
        page = plane.get(f"/runs?pageSize=2&pageToken={token}")
        seen += [run["runId"] for run in page["runs"]]
        token = page["nextPageToken"]
        if not token:
            break
    assert sorted(seen) == sorted(made)


def test_a_page_token_is_of_one_list_and_one_set_of_arguments(plane: Plane) -> None:
    for _ in range(3):
        plane.post("/runs", {"selection": "shop.a"})
    token = plane.get("/runs?pageSize=1&filter=state%20%3D%20RUNNING")["nextPageToken"]
    again = f"{BASE}/runs?filter=state%20%3D%20RUNNING&pageToken={token}"
    assert plane.ask("GET", f"{again}&pageSize=2").status == 200, "the size may change"
    flipped = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    for path in (
        f"{BASE}/runs?pageToken={token}",
        f"{BASE}/runs?filter=state%20%3D%20FAILED&pageToken={token}",
        f"{BASE}/assets/shop.a/partitions?pageToken={token}",
        f"{BASE}/runs?filter=state%20%3D%20RUNNING&pageToken={flipped}",
        f"{BASE}/runs?pageToken=MTc2~x",
        f"{BASE}/runs?pageToken=%00",
    ):
        answer = plane.ask("GET", path)
        assert (answer.status, reason_of(answer)) == (400, "BAD_PAGE_TOKEN")
    plane.clock.advance(3 * 24 * 3600 * 1000 + 1)
    assert reason_of(plane.ask("GET", again)) == "BAD_PAGE_TOKEN"


@pytest.mark.parametrize("size", ["-1", "x", "1.5", "9" * 5000, ""])
def test_a_page_size_is_a_number_of_rows(plane: Plane, size: str) -> None:
    answer = plane.ask("GET", f"{BASE}/runs?pageSize={size}")
    assert (answer.status, reason_of(answer)) == (400, "BAD_PAGE_SIZE")


def test_a_page_size_of_zero_is_the_default_and_a_large_one_the_maximum(plane: Plane) -> None:
    plane.post("/runs", {"selection": "shop.a"})
    for size in ("0", "1000", "999999", "9" * 30):
        assert len(plane.get(f"/runs?pageSize={size}")["runs"]) == 1


def test_runs_are_filtered_by_state(plane: Plane) -> None:
    run = plane.post("/runs", {"selection": "shop.a"})["runId"]
    for text, found in (
        ("state%20=%20RUNNING", True),
        ("state=%22RUNNING%22", True),
        ("state+%3D+FAILED+OR+state+%3D+RUNNING", True),
        ("state=FAILED", False),
    ):
        runs = plane.get(f"/runs?filter={text}")["runs"]
        assert [r["runId"] for r in runs] == ([run] if found else [])


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("state=RUNING", "did you mean 'RUNNING'"),
        ("owner=ana", "owner"),
        ("state!=FAILED", "state"),
        ("state=FAILED AND x=1", "state"),
        ("OR", "OR"),
        ("=", "="),
    ],
)
def test_a_filter_that_is_not_understood_names_what(plane: Plane, text: str, named: str) -> None:
    answer = plane.ask("GET", f"{BASE}/runs?filter={text.replace(' ', '%20')}")
    assert (answer.status, reason_of(answer)) == (400, "BAD_FILTER")
    assert named in error_of(answer)["message"]


def test_waiting_ends_when_the_run_changes(plane: Plane) -> None:
    run = plane.post("/runs", {"selection": "shop.a"})["runId"]

    async def wait_and_cancel() -> Any:
        request = Request(
            "GET", f"{BASE}/runs/{run}", "wait=30s", {"authorization": f"Bearer {WRITER}"}
        )
        waiting = asyncio.create_task(plane.app.handle(request))
        await asyncio.sleep(0)
        assert not waiting.done()
        await cancel_run(plane.engine, SCOPE, run, reason="enough", actor="ana")
        return await asyncio.wait_for(waiting, 5)

    answer = asyncio.run(wait_and_cancel())
    assert json.loads(answer.body)["state"] in ("CANCELLING", "CANCELLED")


def test_waiting_ends_when_the_time_is_over(plane: Plane) -> None:
    run = plane.post("/runs", {"selection": "shop.a"})["runId"]
    assert plane.get(f"/runs/{run}?wait=10ms")["state"] == "RUNNING"
    assert plane.ask("GET", f"{BASE}/runs/{run}?wait=soon").status == 400


def test_cancel_twice_and_cancel_what_is_over(plane: Plane) -> None:
    run = plane.post("/runs", {"selection": "shop.a"})["runId"]
    state = plane.post(f"/runs/{run}:cancel", {"reason": "wrong day"})["state"]
    assert state == "CANCELLED", "nothing had started"
    again = plane.ask("POST", f"{BASE}/runs/{run}:cancel")
    assert (again.status, reason_of(again)) == (409, "RUN_NOT_CANCELLABLE")
    assert plane.ask("POST", f"{BASE}/runs/run_nowhere:cancel").status == 404


def test_events_are_paged_in_causal_order(plane: Plane) -> None:
    run = plane.post("/runs", {"selection": "shop.a"})["runId"]
    page = plane.get(f"/runs/{run}/events")
    kinds = [line["event"]["type"] for line in page["events"]]
    assert len(kinds) >= 3
    assert {line["disposition"] for line in page["events"]} == {"applied", "derived"}
    assert plane.get(f"/runs/{run}/events?pageSize=1")["events"]


def test_assets_and_partitions_are_listed(plane: Plane) -> None:
    keys = [asset["key"] for asset in plane.get("/assets")["assets"]]
    assert keys == ["shop.a", "shop.b", "shop.c"]
    selected = plane.get("/assets?selection=%2Bshop.b")["assets"]
    assert [asset["key"] for asset in selected] == ["shop.a", "shop.b"]
    pages = [plane.get("/assets?pageSize=2")]
    pages.append(plane.get(f"/assets?pageSize=2&pageToken={pages[0]['nextPageToken']}"))
    assert [[asset["key"] for asset in page["assets"]] for page in pages] == [keys[:2], keys[2:]]
    assert pages[1]["nextPageToken"] == ""
    elsewhere = f"{BASE}/assets?selection=shop.a&pageToken={pages[0]['nextPageToken']}"
    assert reason_of(plane.ask("GET", elsewhere)) == "BAD_PAGE_TOKEN"
    assert plane.get("/assets/shop.a")["downstream"] == ["shop.b"]
    assert plane.get("/assets/shop.a/partitions")["partitions"][0]["state"] == "MISSING"
    missing = plane.ask("GET", f"{BASE}/assets/shop.bb")
    assert missing.status == 404
    assert "did you mean" in error_of(missing)["message"]


def test_a_dynamic_definition_that_nobody_declares_is_unknown(plane: Plane) -> None:
    assert plane.ask("GET", f"{BASE}/dynamicPartitions/regions").status == 404
    body = {"partitions": ["eu"]}
    assert plane.ask("POST", f"{BASE}/dynamicPartitions/regions:add", body).status == 404


def test_probes_that_come_together_are_answered_by_one_look_at_the_store() -> None:
    class Slow(ScriptedFaults):
        async def pause(self, site: str) -> None:
            await asyncio.sleep(0)

    plane = Plane()
    plane.store.faults = faults = Slow()

    async def probe() -> list[int]:
        asked = [plane.app.handle(Request("GET", "/health/ready")) for _ in range(3)]
        return [answer.status for answer in await asyncio.gather(*asked)]

    assert asyncio.run(probe()) == [200, 200, 200]
    assert faults.calls["store.now_ms"] == 1


def test_host_names_that_another_site_could_resolve_to_us_are_refused() -> None:
    plane = Plane(allowed_hosts=LOCAL_HOSTS)
    for host in ("localhost", "localhost:3000", "127.0.0.1:1", "[::1]:3000", "[::1]", "LOCALHOST"):
        answer = plane.ask("GET", "/health/live", token="", headers={"host": host})
        assert answer.status == 200
    for host in ("", "evil.example", "localhost.evil.example:3000", "127.0.0.1.nip.io", "0.0.0.0"):
        answer = plane.ask("GET", "/health/live", token="", headers={"host": host})
        assert (answer.status, reason_of(answer)) == (403, "HOST_NOT_ALLOWED")


def test_answers_are_not_cached_nor_sniffed_nor_shared_with_other_origins(plane: Plane) -> None:
    for answer in (
        plane.ask("GET", f"{BASE}/runs", headers={"origin": "https://evil.example"}),
        plane.ask("GET", f"{BASE}/runs", token=""),
        plane.ask("OPTIONS", f"{BASE}/runs", headers={"origin": "https://evil.example"}),
        plane.ask("GET", "/v1/openapi.json"),
    ):
        headers = dict(answer.headers)
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert not [name for name in headers if name.startswith("access-control")]


def test_every_class_of_error_has_its_row() -> None:
    def below(kind: type) -> set[type]:
        return {kind}.union(*(below(sub) for sub in kind.__subclasses__()))

    named = {
        kind for kind in below(errors.ArcoError) if kind.__module__ == "arco_flow.domain.errors"
    }
    statuses = {kind.__name__: outcome_of(kind("x")).status for kind in named}
    assert statuses == {
        "ArcoError": 500,
        "Rejected": 400,
        "InvalidInput": 400,
        "DefinitionError": 400,
        "Unauthenticated": 401,
        "Forbidden": 403,
        "NotFound": 404,
        "Conflict": 409,
        "Gone": 410,
        "TooLarge": 413,
        "Contended": 503,
        "Unavailable": 503,
        "OutcomeUnknown": 503,
    }
    assert {row.retry for row in OUTCOMES.values() if row.status in (429, 503)} == {True}
    assert {row.retry for row in OUTCOMES.values() if row.status not in (429, 503)} == {False}


def test_an_answer_to_repeat_says_when() -> None:
    answer = api_error(errors.Unavailable("the store is away"))
    assert dict(answer.headers)["retry-after"] == "1"
    assert error_of(answer)["details"][1]["retryDelay"] == "1s"


def test_our_own_defects_tell_nothing_and_are_logged(
    plane: Plane, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        async def authenticate(self, request: Request) -> Any:
            raise ZeroDivisionError("secret=hunter2")

    broken = App(plane.engine, Broken())
    with caplog.at_level(logging.INFO, "arco_flow.http"):
        answer = asyncio.run(broken.handle(Request("GET", f"{BASE}/runs")))
    assert (answer.status, reason_of(answer)) == (500, "INTERNAL")
    assert b"hunter2" not in answer.body
    assert caplog.records[0].exc_info is not None


def test_an_error_whose_text_was_sent_can_not_write_lines_of_our_log(
    plane: Plane, caplog: pytest.LogCaptureFixture
) -> None:
    class Refusing:
        async def authenticate(self, request: Request) -> Any:
            raise errors.Forbidden(request.query)

    refusing = App(plane.engine, Refusing())
    with caplog.at_level(logging.INFO, "arco_flow.http"):
        for sent in ("a\nERROR forged\x1b[2Jx\u202e", "x" * 5_000):
            asyncio.run(refusing.handle(Request("GET", f"{BASE}/runs", sent)))
    first, second = caplog.messages
    assert first.isprintable()
    assert first.endswith("PERMISSION_DENIED: a\\nERROR forged\\x1b[2Jx\\u202e")
    assert len(second) < 4096


def test_metadata_repeats_the_values_of_the_message() -> None:
    error = errors.InvalidInput("bad 3", where="$.x", fix="use 2", details={"value": 3, "xs": [1]})
    info = error_of(api_error(error))["details"][0]
    assert info["metadata"] == {"value": "3", "xs": "[1]", "where": "$.x", "fix": "use 2"}


def test_a_refused_callback_is_told_in_the_protocol_of_workers() -> None:
    stale = errors.Conflict(
        "callback attempt id is stale",
        reason="ATTEMPT_ID_MISMATCH",
        details={
            "state": "RUNNING",
            "expectedAttempt": 1,
            "receivedAttempt": 1,
            "expected_attempt_id": "att-123",
            "receivedAttemptId": "att-456",
        },
    )
    assert json.loads(callback_error(stale).body) == {
        "error": "attempt_id_mismatch",
        "message": "callback attempt id is stale",
        "state": "RUNNING",
        "expectedAttempt": 1,
        "receivedAttempt": 1,
        "expectedAttemptId": "att-123",
        "receivedAttemptId": "att-456",
    }


def test_a_neighbour_of_the_tenant_sees_none_of_our_runs(plane: Plane) -> None:
    run = plane.post("/runs", {"selection": "shop.a"})["runId"]
    other = "/v1/workspaces/other"
    assert plane.ask("GET", f"{other}/runs/{run}", token=NEIGHBOUR).status == 404
    listed = plane.ask("GET", f"{other}/runs", token=NEIGHBOUR)
    assert msgspec.json.decode(listed.body)["runs"] == []


def test_terminal_states_are_those_of_the_domain() -> None:
    assert {state for state in RunState if state.is_terminal} == {
        RunState.SUCCEEDED,
        RunState.FAILED,
        RunState.CANCELLED,
        RunState.TIMED_OUT,
    }
    assert app_module.MAX_HEADERS == 64
