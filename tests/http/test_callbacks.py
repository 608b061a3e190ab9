"""Workers report over HTTP: the protocol's bodies, and whom a token speaks for."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from http_plane import BASE, WRITER, Plane, manifest

from arco_flow.domain.envelope import DispatchEnvelope
from arco_flow.domain.tokens import AttemptClaims, sign_attempt_token, verify_attempt_token
from arco_flow.http.messages import Response

OUTPUT = {"outcome": "SUCCEEDED", "output": {"rowCount": 3}}


class Attempt:
    """One dispatched attempt and the voice of its worker."""

    def __init__(self, *keys: str) -> None:
        self.plane = Plane()
        self.plane.post("/deployments?location.target=shop&location.root=.", manifest())
        selection = " or ".join(keys or ("shop.a",))
        self.run = self.plane.post("/runs", {"selection": selection})["runId"]
        self.plane.work()
        self.envelope: DispatchEnvelope = self.plane.envelopes[0]

    def report(
        self,
        verb: str,
        *,
        token: str | None = None,
        task_id: str = "",
        body: Any = None,
        **extra: Any,
    ) -> Response:
        sent = {
            "attempt": self.envelope.attempt,
            "attemptId": self.envelope.attempt_id,
            "workerId": "worker-1",
            **extra,
        }
        path = f"/v1/tasks/{task_id or self.envelope.task_id}/{verb}"
        token = self.envelope.task_token if token is None else token
        return self.plane.ask("POST", path, sent if body is None else body, token=token)

    @property
    def claims(self) -> AttemptClaims:
        secret = self.plane.engine.token_secret
        return verify_attempt_token(secret, self.envelope.task_token, self.plane.clock.now_ms())

    def signed(self, **changes: Any) -> str:
        claims = replace(self.claims, **changes)
        return sign_attempt_token(self.plane.engine.token_secret, claims, self.plane.clock.now_ms())


def told(response: Response) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(response.body)
    assert set(payload) >= {"error", "message"}, "a refusal is a CallbackErrorPayload"
    return payload


def test_an_attempt_from_its_start_to_its_end() -> None:
    attempt = Attempt()
    for verb, extra in (
        ("started", {}),
        ("heartbeat", {"progressPct": 50, "message": "half"}),
        ("completed", OUTPUT),
    ):
        answer = attempt.report(verb, **extra)
        assert answer.status == 200, answer.body
        assert json.loads(answer.body)["acknowledged"] is True
        assert "shouldCancel" in json.loads(answer.body)
    attempt.plane.clock.advance(2000)
    attempt.plane.work()
    run = attempt.plane.get(f"/runs/{attempt.run}")
    assert run["state"] == "SUCCEEDED"
    attempts = attempt.plane.get(f"/runs/{attempt.run}/tasks/shop.a/attempts")["attempts"]
    assert [(row["attempt"], row["outcome"]) for row in attempts] == [(1, "SUCCEEDED")]
    repeated = attempt.report("completed", **OUTPUT)
    assert repeated.status == 200, "the same report again is answered as before"
    late = attempt.report("heartbeat")
    assert late.status in (409, 410)
    assert told(late)["error"]


@pytest.mark.parametrize("verb", ["started", "heartbeat", "completed"])
def test_no_report_without_a_token_of_ours(verb: str) -> None:
    attempt = Attempt()
    good = attempt.envelope.task_token
    stale = attempt.signed(expires_ms=attempt.plane.clock.now_ms())
    other = sign_attempt_token(b"x" * 32, attempt.claims, attempt.plane.clock.now_ms())
    for token in ("", "x", WRITER, good[:-1], good + ".", stale, other):
        answer = attempt.report(verb, token=token, **OUTPUT)
        assert answer.status == 401
        assert told(answer)["message"] == "a valid credential is needed"
    in_url = attempt.plane.ask(
        "POST", f"/v1/tasks/{attempt.envelope.task_id}/{verb}?token={good}", {}, token=""
    )
    assert in_url.status == 401
    assert attempt.plane.get(f"/runs/{attempt.run}")["taskCounts"] == {"DISPATCHED": 1}


def test_a_token_that_was_good_is_refused_from_its_end_on() -> None:
    attempt = Attempt()
    token = attempt.signed(expires_ms=attempt.plane.clock.now_ms() + 60_000)
    assert attempt.report("started", token=token).status == 200
    attempt.plane.clock.advance(59_000)
    assert attempt.report("heartbeat", token=token).status == 200
    attempt.plane.clock.advance(1_000)
    assert attempt.report("completed", token=token, **OUTPUT).status == 401


def test_a_token_that_was_good_says_nothing_for_one_that_differs_by_a_character() -> None:
    attempt = Attempt()
    good = attempt.envelope.task_token
    assert attempt.report("started").status == 200
    for at in range(0, len(good), 7):
        other = good[:at] + ("A" if good[at] != "A" else "B") + good[at + 1 :]
        assert attempt.report("heartbeat", token=other).status == 401


def test_a_token_speaks_for_its_own_attempt_and_no_other() -> None:
    attempt = Attempt()
    elsewhere = Attempt("shop.b")
    wrong_task = attempt.report("started", task_id=elsewhere.envelope.task_id)
    assert wrong_task.status == 403
    for changes in ({"attempt": 2}, {"attempt_id": "att_other"}):
        answer = attempt.report("started", token=attempt.signed(**changes))
        assert answer.status == 409
        assert told(answer)["error"] == "attempt_mismatch"
        assert told(answer)["receivedAttempt"] == 1
    for changes in ({"tenant": "rival"}, {"workspace": "other"}):
        assert attempt.report("started", token=attempt.signed(**changes)).status == 404


def test_an_attempt_token_opens_nothing_else() -> None:
    attempt = Attempt()
    token = attempt.envelope.task_token
    for path in ("/runs", f"/runs/{attempt.run}", "/assets"):
        assert attempt.plane.ask("GET", BASE + path, token=token).status == 401
    cancel = attempt.plane.ask("POST", f"{BASE}/runs/{attempt.run}:cancel", token=token)
    assert cancel.status == 401


@pytest.mark.parametrize(
    ("verb", "extra"),
    [
        ("started", {"attempt": "1"}),
        ("started", {"attempt": 0}),
        ("started", {"workerId": ""}),
        ("heartbeat", {"progressPct": 101}),
        ("completed", {}),
        ("completed", {"outcome": "DONE"}),
        ("completed", {"outcome": "FAILED"}),
    ],
)
def test_reports_that_can_not_be_read_change_nothing(verb: str, extra: dict[str, Any]) -> None:
    attempt = Attempt()
    answer = attempt.report(verb, **extra)
    assert answer.status in (400, 409)
    assert told(answer)["error"]
    assert attempt.plane.get(f"/runs/{attempt.run}")["taskCounts"] == {"DISPATCHED": 1}


def test_bodies_of_callbacks_have_their_own_limit() -> None:
    attempt = Attempt()
    long = attempt.report("completed", **OUTPUT, metrics={"x": "y" * 1024 * 1024})
    assert long.status == 413
    assert told(long)["error"] == "body_too_large"
    assert attempt.report("completed", body=b"{" * 100_000).status == 400
    assert attempt.plane.ask("POST", "/v1/tasks/x/exploded", {}).status == 404
    assert attempt.plane.ask("GET", "/v1/tasks/x/started").status == 405


def test_unknown_fields_of_newer_workers_are_tolerated() -> None:
    attempt = Attempt()
    assert attempt.report("started", gpuModel="x").status == 200


@pytest.mark.parametrize(
    ("path", "headers", "status", "error"),
    [
        ("/v1/tasks/%00/started", {}, 400, "malformed_path"),
        ("/v1/tasks/" + "x" * 9000 + "/started", {}, 414, "path_too_long"),
        ("/v1/tasks/x/started", {"x": "x" * 9000}, 431, "headers_too_large"),
    ],
)
def test_a_report_that_is_refused_before_it_is_read_is_told_so_in_the_form_of_reports(
    path: str, headers: dict[str, str], status: int, error: str
) -> None:
    answer = Plane().ask("POST", path, {}, headers=headers)
    assert (answer.status, told(answer)["error"]) == (status, error)
