"""The decision of a run: dependencies, failures, retries, cancel, deadlines, duplicates."""

from __future__ import annotations

import itertools

import pytest

from arco_flow.domain.decision import (
    Segment,
    decode_segment,
    encode_segment,
)
from arco_flow.domain.durations import MAX_DURATION_MS
from arco_flow.domain.effects import (
    DispatchAttempt,
    SendEvent,
    SetTimer,
    StopAttempt,
    decode_owed,
    encode_owed,
)
from arco_flow.domain.events import PromotionRequested, UnknownEvent, WorkersLost
from arco_flow.domain.manifest import TimeoutsSpec
from arco_flow.domain.retry import MAX_RETRIES
from arco_flow.domain.run import decode_run, encode_run
from arco_flow.domain.run_deadlines import LOSSES_MAX, REDISPATCH_MS
from arco_flow.domain.run_decide import ORDER_VERSION, decide_run
from arco_flow.domain.task import TaskState
from domain.runs import Story, manifest_of, plan_of

CHAIN = {"a": [], "b": ["a"], "c": ["b"]}
RETRY = {"maxRetries": 2, "delayMs": 1000}


def story(edges: dict = CHAIN, fields: dict | None = None, **spec: object) -> Story:
    return Story(plan_of(manifest_of(edges, **spec)), **(fields or {}))


def test_a_run_opens_running_with_its_roots_dispatched() -> None:
    s = story({"a": [], "b": [], "c": ["a", "b"]})
    assert s.run.state == "RUNNING"
    assert s.states() == {"a": "DISPATCHED", "b": "DISPATCHED", "c": "BLOCKED"}
    dispatched = [e for e in s.decision.effects if isinstance(e, DispatchAttempt)]
    assert [(e.task_index, e.attempt) for e in dispatched] == [(0, 1), (1, 1)]
    assert [e.event.data.__class__.__name__ for e in s.decision.ledger[:3]] == [
        "RunRequested",
        "RunTriggered",
        "PlanCreated",
    ]


def test_success_flows_downstream_and_ends_the_run() -> None:
    s = story()
    s.execute("a", "b", "c")
    assert s.run.state == "SUCCEEDED"
    assert set(s.states().values()) == {"SUCCEEDED"}
    assert s.run.run_ended_ms == s.now_ms


def test_a_success_asks_its_asset_for_promotion_exactly_once() -> None:
    s = story({"a": []})
    s.fold(s.started("a"))
    s.fold(s.finished("a", output={"rowCount": 3}))
    sent = [e for e in s.decision.effects if isinstance(e, SendEvent)]
    assert [e.entity for e in sent] == ["acme:main:asset:t.a"]
    promotion = sent[0].decoded().data
    assert isinstance(promotion, PromotionRequested)
    assert promotion.attempt_id == s.attempt_id("a", 1)
    assert promotion.output == {"rowCount": 3}
    s.fold(s.finished("a", output={"rowCount": 3}))
    assert s.decision.effects == ()
    assert s.reasons == [("ignored", "duplicate")]


def test_upstream_failure_skips_downstream_naming_the_culprit() -> None:
    s = story({**CHAIN, "other": [], "leaf": ["other"]})
    s.fold(s.started("a"), s.finished("a", "FAILED"))
    assert s.states()["a"] == "FAILED"
    assert s.states()["b"] == s.states()["c"] == "SKIPPED"
    skipped = {
        e.event.data.task: e.event.data.reason
        for e in s.decision.ledger
        if getattr(e.event.data, "after", "") == "SKIPPED"
    }
    assert skipped == {"t.b": "upstream_failed: t.a", "t.c": "upstream_failed: t.a"}
    assert s.run.state == "RUNNING", "independent branches go on"
    s.execute("other", "leaf")
    assert s.run.state == "FAILED"


def test_a_retry_waits_in_the_timer_and_starts_a_new_attempt() -> None:
    s = story({"a": []}, retry=RETRY)
    s.fold(s.started("a"))
    s.fold(s.finished("a", "FAILED"))
    assert s.state("a") is TaskState.RETRY_WAIT
    assert s.run.live == {}, "a waiting retry holds no worker"
    timers = [e for e in s.decision.effects if isinstance(e, SetTimer)]
    assert timers[-1].at_ms == s.now_ms + 1000
    s.fire_timer()
    assert s.state("a") is TaskState.DISPATCHED
    assert s.run.attempts[0] == 2
    s.fold(s.started("a", 2))
    s.fold(s.finished("a", attempt=2))
    assert s.run.state == "SUCCEEDED"


def test_retries_end_with_the_policy() -> None:
    s = story({"a": []}, retry={"maxRetries": 2})
    for attempt in (1, 2, 3):
        s.fold(s.started("a", attempt))
        s.fold(s.finished("a", "FAILED", attempt))
    assert s.state("a") is TaskState.FAILED
    assert s.run.attempts[0] == 3
    assert s.run.state == "FAILED"


@pytest.mark.parametrize(
    ("error", "retried"),
    [
        ({"category": "USER_CODE", "message": ""}, True),
        ({"category": "INFRASTRUCTURE", "message": ""}, True),
        ({"category": "TIMEOUT", "message": ""}, True),
        ({"category": "DATA_QUALITY", "message": ""}, False),
        ({"category": "CONFIGURATION", "message": ""}, False),
        ({"category": "USER_CODE", "message": "", "retryable": False}, False),
        ({"category": "DATA_QUALITY", "message": "", "retryable": True}, True),
    ],
)
def test_what_is_retried(error: dict, retried: bool) -> None:
    s = story({"a": []}, retry=RETRY)
    s.fold(s.started("a"), s.finished("a", "FAILED", error=error))
    assert (s.state("a") is TaskState.RETRY_WAIT) is retried


def test_user_code_may_ask_for_its_own_delay() -> None:
    s = story({"a": []}, retry=RETRY)
    error = {"category": "USER_CODE", "message": "", "retryable": True, "retryAfterMs": 77_000}
    s.fold(s.started("a"), s.finished("a", "FAILED", error=error))
    assert s.run.retry_due == {0: s.now_ms + 77_000}


def asking(**more: object) -> dict:
    return {"category": "USER_CODE", "message": "", "retryable": True, **more}


def test_user_code_may_ask_for_retries_where_there_is_no_policy() -> None:
    s = story({"a": []})
    s.fold(s.started("a"), s.finished("a", "FAILED", error=asking(maxRetries=1)))
    assert s.state("a") is TaskState.DISPATCHED, "no wait was asked for"
    s.fold(s.started("a", 2), s.finished("a", "FAILED", 2, error=asking(maxRetries=1)))
    assert s.state("a") is TaskState.FAILED
    assert s.run.attempts[0] == 2


@pytest.mark.parametrize(("asked", "attempts"), [(1, 2), (None, 3), (4, 5)])
def test_a_number_that_user_code_asks_for_outranks_that_of_the_policy(
    asked: int | None, attempts: int
) -> None:
    s = story({"a": []}, retry={"maxRetries": 2})
    while s.state("a") is not TaskState.FAILED:
        attempt = s.run.attempts[0]
        error = asking() if asked is None else asking(maxRetries=asked)
        s.fold(s.started("a", attempt))
        s.fold(s.finished("a", "FAILED", attempt, error=error))
    assert s.run.attempts[0] == attempts


def test_what_is_asked_for_stays_within_bounds() -> None:
    s = story({"a": []}, retry={"maxRetries": 2, "delayMs": 1000, "backoff": "exponential"})
    for attempt in range(1, MAX_RETRIES + 1):
        s.fold(s.started("a", attempt))
        s.fold(s.finished("a", "FAILED", attempt, error=asking(maxRetries=10**9)))
        assert s.run.retry_due[0] - s.now_ms <= MAX_DURATION_MS
        while s.state("a") is TaskState.RETRY_WAIT:
            s.fire_timer()
    last = MAX_RETRIES + 1
    s.fold(s.started("a", last), s.finished("a", "FAILED", last, error=asking(maxRetries=10**9)))
    assert s.state("a") is TaskState.FAILED


def test_a_cancel_outranks_what_user_code_asks_for() -> None:
    s = story({"a": []})
    s.fold(s.started("a"))
    s.fold(s.cancel())
    s.fold(s.finished("a", "FAILED", error=asking(maxRetries=3)))
    assert s.state("a") is TaskState.CANCELLED


def test_a_result_of_an_older_attempt_changes_nothing() -> None:
    s = story({"a": []}, retry={"maxRetries": 3})
    s.fold(s.started("a"), s.finished("a", "FAILED"))
    assert s.run.attempts[0] == 2
    s.fold(s.finished("a", attempt=1))
    assert s.state("a") is TaskState.DISPATCHED
    assert s.reasons == [("ignored", "stale attempt: 2 is current")]


def test_a_result_with_a_forged_attempt_id_changes_nothing() -> None:
    s = story({"a": []})
    s.fold(s.started("a"))
    forged = s.finished("a")
    wrong = type(forged)(
        forged.id, forged.time_ms, forged.subject, _with(forged.data, attempt_id="att_x"), "test"
    )
    s.fold(wrong)
    assert s.state("a") is TaskState.RUNNING


def test_a_second_worker_loses_the_claim() -> None:
    s = story({"a": []})
    s.fold(s.started("a", worker="w1"))
    s.fold(s.started("a", worker="w2"))
    assert s.reasons == [("ignored", "claimed by worker w1")]
    s.fold(s.finished("a", worker="w2"))
    assert s.state("a") is TaskState.RUNNING
    s.fold(s.finished("a", worker="w1"))
    assert s.state("a") is TaskState.SUCCEEDED


def test_a_completion_may_overtake_its_start() -> None:
    s = story({"a": []})
    s.fold(s.finished("a"))
    assert s.state("a") is TaskState.SUCCEEDED
    s.fold(s.started("a"))
    assert s.reasons == [("ignored", "task is SUCCEEDED")]


def test_another_outcome_of_a_finished_attempt_is_refused() -> None:
    s = story({"a": [], "z": []})
    s.fold(s.finished("a"))
    s.fold(s.finished("a", "FAILED"))
    assert s.reasons == [("ignored", "another outcome was accepted: task is SUCCEEDED")]


def test_cancel_stops_what_no_worker_holds_and_waits_for_what_one_does() -> None:
    s = story({"a": [], "b": [], "c": ["a"]})
    s.fold(s.started("a"))
    s.fold(s.cancel())
    assert s.run.state == "CANCELLING"
    assert s.states() == {"a": "RUNNING", "b": "CANCELLED", "c": "CANCELLED"}
    s.fold(s.finished("a", "CANCELLED"))
    assert s.run.state == "CANCELLED"
    assert not [e for e in s.decision.effects if isinstance(e, DispatchAttempt)]


def test_cancel_wins_over_a_success_and_over_a_retry() -> None:
    for outcome in ("SUCCEEDED", "FAILED"):
        s = story({"a": []}, retry=RETRY)
        s.fold(s.started("a"))
        s.fold(s.finished("a", outcome), s.cancel())
        assert s.state("a") is TaskState.CANCELLED
        assert s.run.state == "CANCELLED"
        assert not [e for e in s.decision.effects if isinstance(e, SendEvent)]


def test_cancel_during_a_retry_wait_ends_the_run() -> None:
    s = story({"a": []}, retry=RETRY)
    s.fold(s.started("a"), s.finished("a", "FAILED"))
    s.fold(s.cancel())
    assert s.run.state == "CANCELLED"
    s.fold(s.timer(1))
    assert s.reasons[0][0] == "ignored"


def test_cancel_is_forced_when_its_grace_is_over() -> None:
    s = story({"a": []}, {"cancel_grace_ms": 30_000})
    s.fold(s.started("a"))
    s.fold(s.cancel())
    while s.run.state == "CANCELLING":
        s.fire_timer()
    assert s.now_ms == 1_000_000 + 30_000
    assert s.run.state == "CANCELLED"
    assert [e for e in s.decision.effects if isinstance(e, StopAttempt)]


def test_a_cancel_of_a_finished_run_is_ignored() -> None:
    s = story({"a": []})
    s.execute("a")
    s.fold(s.cancel())
    assert s.run.state == "SUCCEEDED"
    assert s.reasons == [("ignored", "run is SUCCEEDED")]


def test_a_silent_worker_is_a_zombie_and_its_task_is_retried() -> None:
    spec = {"timeouts": TimeoutsSpec(heartbeat_ms=5_000), "retry": RETRY}
    s = story({"a": []}, **spec)
    s.fold(s.started("a"))
    s.now_ms += 3_000
    s.fold(s.heartbeat("a"))
    s.fire_timer()
    while s.state("a") is TaskState.RUNNING:
        s.fire_timer()
    assert s.now_ms == 1_000_000 + 3_000 + 5_000, "five seconds after the last heartbeat"
    assert s.state("a") is TaskState.RETRY_WAIT
    assert any("zombie" in getattr(e.event.data, "reason", "") for e in s.decision.ledger)


def test_an_execution_that_takes_too_long_is_a_timeout() -> None:
    s = story({"a": []}, timeouts=TimeoutsSpec(execution_ms=10_000))
    s.fold(s.started("a"))
    while s.run.state == "RUNNING":
        s.now_ms = s.run.timer_ms
        s.fold(s.heartbeat("a"), s.timer())
    assert s.state("a") is TaskState.FAILED
    assert any("TIMEOUT" in getattr(e.event.data, "reason", "") for e in s.decision.ledger)


def test_a_start_timeout_fails_an_attempt_that_nobody_started() -> None:
    s = story({"a": []}, timeouts=TimeoutsSpec(start_ms=2_000))
    s.fire_timer()
    assert s.state("a") is TaskState.FAILED


def test_a_dispatch_that_nobody_started_is_sent_again_under_a_new_name() -> None:
    s = story({"a": []})
    s.fire_timer()
    assert s.now_ms == 1_000_000 + REDISPATCH_MS
    again = [e for e in s.decision.effects if isinstance(e, DispatchAttempt)]
    assert [(e.attempt, e.generation) for e in again] == [(1, 1)]
    s.fire_timer()
    assert s.now_ms == 1_000_000 + 2 * REDISPATCH_MS, "then after twice as long"


def test_a_run_that_takes_too_long_times_out() -> None:
    s = story({"a": [], "b": ["a"]}, {"deadline_ms": 1_000_000 + 60_000})
    s.fold(s.started("a"))
    while s.run.state == "RUNNING":
        s.now_ms = s.run.timer_ms
        s.fold(s.heartbeat("a"), s.timer())
    assert s.run.state == "CANCELLING"
    assert s.state("b") is TaskState.CANCELLED
    s.fold(s.finished("a", "CANCELLED"))
    assert s.run.state == "TIMED_OUT"


def test_a_stale_timer_is_ignored() -> None:
    s = story({"a": []})
    s.fold(s.timer(99))
    assert s.reasons == [("ignored", "stale timer: generation 1 is current")]


def test_an_unknown_event_is_recorded_and_changes_nothing() -> None:
    s = story({"a": []})
    before = s.run.states
    s.fold(s.event("future", UnknownEvent("FromTheFuture", {"x": 1})))
    assert s.run.states == before
    assert s.reasons == [("ignored", "unknown event type FromTheFuture")]


def test_nothing_to_fold_decides_nothing() -> None:
    s = story({"a": []})
    assert s.fold().is_noop


def test_a_failed_blocking_check_is_not_promoted_even_if_the_worker_says_success() -> None:
    checks = [{"name": "positive", "blocking": True, "passed": False, "severity": "error"}]
    s = story({"a": [], "b": ["a"]}, retry=RETRY)
    s.fold(s.started("a"), s.finished("a", checks=checks))
    assert s.state("a") is TaskState.FAILED
    assert s.state("b") is TaskState.SKIPPED
    assert not [e for e in s.decision.effects if isinstance(e, SendEvent)]


def test_a_warning_check_does_not_block() -> None:
    checks = [{"name": "fresh", "blocking": True, "passed": False, "severity": "warn"}]
    s = story({"a": []})
    s.fold(s.started("a"), s.finished("a", checks=checks))
    assert s.run.state == "SUCCEEDED"


def test_the_window_of_attempts_in_flight_is_kept() -> None:
    s = story({f"n{i}": [] for i in range(10)}, {"max_in_flight": 3})
    assert list(s.states().values()).count("DISPATCHED") == 3
    s.execute("n0")
    assert list(s.states().values()).count("DISPATCHED") == 3
    assert list(s.states().values()).count("READY") == 6


def test_what_a_dead_planes_workers_held_is_requeued_without_a_retry() -> None:
    s = story({"a": [], "b": []})
    s.fold(s.started("a", worker="old-1"), s.started("b", worker="new-1"))
    s.fold(s.event("lost", WorkersLost("new-")))
    assert s.states() == {"a": "DISPATCHED", "b": "RUNNING"}
    assert list(s.run.attempts) == [2, 1]
    s.fold(s.finished("a", worker="old-1"))
    assert s.reasons == [("ignored", "stale attempt: 2 is current")]
    s.fold(s.started("a", 2, "new-2"), s.finished("a", attempt=2, worker="new-2"))
    assert s.states()["a"] == "SUCCEEDED"


def test_the_order_of_a_batch_does_not_depend_on_arrival() -> None:
    """Cancel, started, finished, timers: whatever order the same events arrive in."""
    s = story({"a": [], "b": []})
    events = [s.finished("a"), s.started("a"), s.timer(), s.started("b"), s.heartbeat("b")]
    outcomes = {
        encode_run(decide_run(s.run, s.plan, list(order), s.now_ms).state)
        for order in itertools.permutations(events)
    }
    assert len(outcomes) == 1


def test_a_ledger_replays_to_the_same_states() -> None:
    """Folding the recorded inbound events again gives the recorded decisions, bit by bit."""
    s = story({"a": [], "b": ["a"]}, retry=RETRY)
    s.fold(s.started("a"), s.finished("a", "FAILED"))
    s.fire_timer()
    s.fold(s.started("a", 2))
    s.now_ms += 5
    s.fold(s.finished("a", attempt=2))
    s.execute("b")
    run = s.decisions[0].state
    for decision in s.decisions[1:]:
        segment = decode_segment(
            encode_segment(
                Segment(decision.state.version, s.now_ms, ORDER_VERSION, decision.ledger)
            )
        )
        inbound = [e.event for e in segment.entries if e.disposition != "derived"]
        now_ms = next(e.event.time_ms for e in reversed(segment.entries))
        run = decide_run(run, s.plan, inbound, now_ms).state
    assert run == s.run


def test_state_and_debts_survive_packing() -> None:
    s = story({"a": [], "b": ["a"]}, retry=RETRY)
    s.fold(s.started("a"), s.finished("a", "FAILED"))
    assert decode_run(encode_run(s.run)) == s.run
    for decision in s.decisions:
        assert decode_owed(encode_owed(decision.effects)) == decision.effects


def _with(data: object, **changes: object) -> object:
    import msgspec

    return msgspec.structs.replace(data, **changes)


def test_the_number_of_an_attempt_fits_its_byte() -> None:
    """Every retry and every loss that the limits allow, one after the other."""
    s = story({"a": []}, retry={"maxRetries": MAX_RETRIES})
    for _ in range(LOSSES_MAX):
        attempt = s.run.attempts[0]
        s.fold(s.started("a", attempt, "old-1"))
        s.fold(s.event(f"lost:{attempt}", WorkersLost("new-")))
    while s.run.state == "RUNNING":
        attempt = s.run.attempts[0]
        s.fold(s.started("a", attempt), s.finished("a", "FAILED", attempt))
    assert s.run.attempts[0] == 1 + MAX_RETRIES + LOSSES_MAX <= 255
    assert s.state("a") is TaskState.FAILED
