"""What each request leaves in the log: one line, whose it is, its trace, and no user's value."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from adapters.gcp.served import CALLBACKS, SCOPE, USER, Body, Lines, Served, issuer, push
from arco_flow.domain import errors
from arco_flow.domain.envelope import parse_envelope
from arco_flow.domain.ids import run_entity

TRACE, OTHER = "4bf92f3577b34da6a3ce929d0e0e4736", "f" * 32
ASKED = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
DELIVERED = {"traceparent": f"00-{OTHER}-00f067aa0ba902b7-01"}
LABELS, FIELD_OF_TRACE = "logging.googleapis.com/labels", "logging.googleapis.com/trace"
RUNS = "/v1/workspaces/prod/runs"


@pytest.fixture
def served() -> Iterator[Served]:
    logger, lines = logging.getLogger("arco_flow"), Lines()
    logger.addHandler(lines)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        yield Served(lines)
    finally:
        logger.removeHandler(lines)
        logger.setLevel(level)


def only_line(served: Served) -> dict[str, Any]:
    (line,) = served.lines.written
    served.lines.written.clear()
    return line


def labels_of(line: dict[str, Any]) -> dict[str, str]:
    return {name: value for name, value in line[LABELS].items() if name != "function"}


def requested(served: Served, **headers: str) -> str:
    served.deploy()
    body = json.dumps({"selection": "shop.a"}).encode()
    answer = served.ask("api", "POST", RUNS, body, headers=headers)
    run: str = json.loads(answer.body)["runId"]
    served.deliver_queued()
    return run


WHOSE = {"tenant": "acme", "workspace": "prod"}


def test_one_trace_and_the_labels_of_the_run_are_in_the_lines_of_all_functions(
    served: Served,
) -> None:
    run = requested(served, **ASKED)
    envelope = parse_envelope(served.sent["worker"][0])
    assert envelope.traceparent == ASKED["traceparent"]
    report = {"attempt": 1, "attemptId": envelope.attempt_id, "workerId": "w"}
    served.ask(
        "worker_callback",
        "POST",
        f"/v1/tasks/{envelope.task_id}/started",
        json.dumps(report).encode(),
        token=envelope.task_token,
        headers=DELIVERED,
    )
    entity = str(run_entity(SCOPE, run))
    served.ask("dispatch", body=entity.encode(), headers=DELIVERED)
    timer = json.dumps({"entity": entity, "generation": 99}).encode()
    served.ask("timer_ingest", body=timer, headers=DELIVERED)
    unreadable = {**json.loads(served.sent["worker"][0]), "payload": {"codeLocation": 7}}
    served.ask("worker", body=json.dumps(unreadable).encode(), headers=DELIVERED)
    lines = {line[LABELS]["function"]: line for line in served.lines.written}
    assert set(lines) == {"api", "worker_callback", "dispatch", "timer_ingest", "worker"}
    assert len(served.lines.written) == len(lines)
    for function, line in lines.items():
        task = {"task": "shop.a"} if function.startswith("worker") else {}
        assert labels_of(line) == {**WHOSE, "run": run, **task}, function
        assert line[FIELD_OF_TRACE] == f"projects/shop/traces/{TRACE}", function


def test_a_request_as_a_message_logs_under_the_trace_of_the_message(served: Served) -> None:
    served.deploy()
    document = {"tenant": "acme", "workspace": "prod", "actor": "sensor:x", **ASKED}
    document |= {"request": {"selection": "shop.a", "runKey": "k"}}  # type: ignore[dict-item]
    assert served.ask("run_bridge", body=push(document), headers=DELIVERED).status_code == 200
    line = only_line(served)
    assert labels_of(line) == {**WHOSE, "run": labels_of(line)["run"]}
    assert line[FIELD_OF_TRACE].endswith(TRACE)


def test_the_labels_of_a_request_do_not_stay_for_the_next(served: Served) -> None:
    requested(served)
    served.lines.written.clear()
    served.ask("api", "GET", RUNS, token="nobody's")
    assert labels_of(only_line(served)) == {}
    served.ask("api", "GET", RUNS)
    assert labels_of(only_line(served)) == WHOSE


def test_a_report_that_is_refused_is_told_with_the_labels_of_its_token(served: Served) -> None:
    run = requested(served)
    served.lines.written.clear()
    envelope = parse_envelope(served.sent["worker"][0])
    path = f"/v1/tasks/{envelope.task_id}/completed"
    served.ask("worker_callback", "POST", path, Body(b"{", cut=True), token=envelope.task_token)
    assert labels_of(only_line(served)) == {**WHOSE, "run": run, "task": "shop.a"}


def test_a_run_that_is_nowhere_is_no_label(served: Served) -> None:
    served.ask("api", "GET", f"{RUNS}/run_nowhere")
    assert labels_of(only_line(served)) == WHOSE


def test_what_the_sweeper_can_not_repair_is_told_with_its_labels_and_leaves_none(
    served: Served,
) -> None:
    run = requested(served, **ASKED)
    served.lines.written.clear()
    served.clock.advance(60_000)
    served.faults.fail_before("store.commit", errors.Unavailable("the store is away"), nth=2)
    served.ask("sweeper", headers=DELIVERED)
    swept, answered = served.lines.written
    assert (labels_of(swept)["run"], swept["severity"]) == (run, "WARNING")
    assert labels_of(answered) == {}
    assert (answered["severity"], answered["httpRequest"]["status"]) == ("ERROR", 503)


# -- one line, and what is in it ---------------------------------------------------------------


def test_an_answer_leaves_one_line_with_route_status_and_duration(served: Served) -> None:
    served.ask("api", "GET", f"{RUNS}?pageSize=3")
    line = only_line(served)
    assert line["severity"] == "INFO"
    assert re.fullmatch(r"GET /v1/workspaces/\{workspace\}/runs 200 in \d+ ms", line["message"]), (
        line["message"]
    )
    told = line["httpRequest"]
    assert (told["requestMethod"], told["status"]) == ("GET", 200)
    assert re.fullmatch(r"\d+\.\d{3}s", told["latency"])


def test_probes_are_told_of_only_when_everything_is(served: Served) -> None:
    for function in ("api", "dispatch"):
        assert served.ask(function, "GET", "/health/live", token="").status_code == 200
    assert served.ask("api", "GET", "/health/ready", token="").status_code == 200
    assert served.lines.written == []


SECRET = "canary-8d1f"
NAMES_A_VALUE: Mapping[str, tuple[int, str, dict[str, Any]]] = {
    "a word as a token": (401, "api", {"path": RUNS, "token": SECRET}),
    "a word as a delivery's token": (401, "dispatch", {"token": SECRET}),
    "a word as an attempt's token": (
        401,
        "worker_callback",
        {"path": "/v1/tasks/ct1_cnVuXzEAc2hvcC5h/started", "token": SECRET},
    ),
    "a token in the URL": (401, "api", {"path": f"{RUNS}?token={SECRET}", "token": ""}),
    "a path": (404, "api", {"path": f"/{SECRET}"}),
    "a workspace": (404, "api", {"method": "GET", "path": f"/v1/workspaces/{SECRET}/runs"}),
    "a run": (404, "api", {"method": "GET", "path": f"{RUNS}/{SECRET}"}),
    "an argument": (400, "api", {"method": "GET", "path": f"{RUNS}?{SECRET}=1"}),
    "a filter": (400, "api", {"method": "GET", "path": f"{RUNS}?filter={SECRET}"}),
    "a method": (405, "api", {"method": SECRET.upper(), "path": RUNS}),
    "a field": (400, "api", {"path": RUNS, "body": b'{"%s": 1}' % SECRET.encode()}),
    "a selection": (400, "api", {"path": RUNS, "body": b'{"selection": "%s"}' % SECRET.encode()}),
    "a media type": (
        415,
        "api",
        {"path": RUNS, "body": b"{}", "headers": {"content-type": f"text/{SECRET}"}},
    ),
    "a wake of nothing": (200, "dispatch", {"body": SECRET.encode()}),
    "a push of nothing": (200, "run_bridge", {"body": push({"tenant": SECRET})}),
}


@pytest.mark.parametrize("what", NAMES_A_VALUE)
def test_what_a_caller_sent_is_not_in_the_line_of_its_refusal(served: Served, what: str) -> None:
    status, function, request = NAMES_A_VALUE[what]
    served.deploy()
    assert served.ask(function, **request).status_code == status
    line = only_line(served)
    assert SECRET not in json.dumps(line).lower()
    assert line["severity"] == ("WARNING" if status in (200, 401, 403) else "INFO")
    assert f" {status} in " in line["message"]
    assert re.search(r": (put aside, )?[A-Z][A-Z_]+", line["message"]), "the reason"


def test_a_good_token_is_in_no_line(served: Served) -> None:
    run = requested(served)
    envelope = parse_envelope(served.sent["worker"][0])
    tokens = [USER, issuer().token("a@b.example", CALLBACKS), envelope.task_token]
    for verb, token in (("started", tokens[2]), ("started", tokens[1]), ("heartbeat", tokens[0])):
        path = f"/v1/tasks/{envelope.task_id}/{verb}"
        served.ask("worker_callback", "POST", path, b'{"attempt": 1}', token=token)
    served.ask("api", "GET", f"{RUNS}/{run}", token=tokens[1])
    served.ask("dispatch", token=tokens[1])
    text = json.dumps(served.lines.written)
    assert len(served.lines.written) == 6
    assert not [token for token in tokens if token in text]


def test_why_a_credential_is_refused_stands_in_the_log_alone(served: Served) -> None:
    stranger = issuer().token("x@other.example", "https://functions.example")
    assert served.ask("dispatch", token=stranger).status_code == 403
    line = only_line(served)
    assert line["severity"] == "WARNING"
    assert line["message"].endswith("PERMISSION_DENIED: x@other.example may not call function")
    answer = served.ask("dispatch", token=issuer().token("x@other.example", CALLBACKS))
    assert b"audience" not in bytes(answer.body)
    assert "the audience is another one" in only_line(served)["message"]


@pytest.mark.parametrize(
    ("trouble", "status"),
    [(errors.Unavailable("the store is away"), 503), (ZeroDivisionError("ours"), 500)],
)
def test_trouble_of_ours_is_an_error_with_its_stack_in_one_line(
    served: Served, trouble: Exception, status: int
) -> None:
    requested(served)
    served.lines.written.clear()
    served.faults.fail_before("store.list_heads", trouble)
    assert served.ask("api", "GET", RUNS).status_code == status
    line = only_line(served)
    assert (line["severity"], line["httpRequest"]["status"]) == ("ERROR", status)
    assert "Traceback (most recent call last)" in line["message"]
    assert str(trouble) in line["message"].splitlines()[0]


def test_a_lost_race_is_told_without_a_stack(served: Served) -> None:
    served.faults.fail_before("store.list_heads", errors.Contended("another was first"))
    assert served.ask("api", "GET", RUNS).status_code == 503
    line = only_line(served)
    assert line["severity"] == "WARNING"
    assert "Traceback" not in line["message"]


def test_what_is_too_long_to_be_read_leaves_its_line(served: Served) -> None:
    body = Body(*[bytes(200_000)] * 2)
    assert served.ask("api", "POST", RUNS, body).status_code == 413
    assert " 413 in " in only_line(served)["message"]
