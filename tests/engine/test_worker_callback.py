"""Workers' reports: every case of the table, tokens, malformed bodies, and racing reports."""

from __future__ import annotations

import msgspec
import pytest

from arco_flow.adapters.memory.faults import ScriptedFaults
from arco_flow.domain.envelope import DispatchEnvelope
from arco_flow.domain.errors import (
    Conflict,
    Forbidden,
    Gone,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    Unauthenticated,
    Unavailable,
)
from arco_flow.domain.events import (
    CallbackDuplicated,
    Event,
    RunCancelRequested,
    TaskFinished,
    TaskHeartbeat,
    TaskStarted,
    TimerFired,
    encode_event,
)
from arco_flow.domain.ids import callback_task_id, run_entity
from arco_flow.domain.manifest import Manifest, TimeoutsSpec
from arco_flow.domain.run import decode_run
from arco_flow.domain.tokens import AttemptClaims, sign_attempt_token
from arco_flow.engine.cancel_run import cancel_run
from arco_flow.engine.context import Settings
from arco_flow.engine.dispatch import dispatch
from arco_flow.engine.mailbox import record
from arco_flow.engine.worker_callback import record_callback
from arco_flow.simulation.shapes import manifest_of
from arco_flow.simulation.workers import Worker
from engine.meanwhile import Meanwhile
from engine.world import RIVAL, SCOPE, SECONDS, World, check


class Attempt:
    """A run of one task whose first attempt was dispatched to two workers."""

    def __init__(self, world: World, envelope: DispatchEnvelope, run_id: str) -> None:
        self.world = world
        self.envelope = envelope
        self.run_id = run_id
        self.first = Worker(world, envelope, "w1")
        self.second = Worker(world, envelope, "w2")

    async def fold(self) -> None:
        """Let pass what makes the run quiet again, and fold what waits."""
        self.world.clock.advance(2 * SECONDS)
        await dispatch(self.world.engine, str(run_entity(SCOPE, self.run_id)))

    async def task(self):
        """The task as a caller sees it."""
        return (await self.world.view(self.run_id)).tasks[0]

    async def recorded(self, kind: type) -> list[tuple[str, str]]:
        """(disposition, reason) of the events of a kind, in order."""
        history = self.world.history()
        entity = str(run_entity(SCOPE, self.run_id))
        return [
            (entry.disposition, entry.reason)
            for _, entry in history.entries(entity)
            if isinstance(entry.event.data, kind)
        ]


async def dispatched(**spec) -> Attempt:
    world = World(**spec.pop("world", {}))
    await world.deploy(manifest_of({"a": []}, **spec))
    run = await world.request()
    await world.tasks.run_due()
    return Attempt(world, world.envelopes[0], run.run_id)


async def running(**spec) -> Attempt:
    attempt = await dispatched(**spec)
    await attempt.first.started()
    await attempt.fold()
    return attempt


async def refused(kind, error, call):
    with pytest.raises(kind) as raised:
        await call
    assert raised.value.details["error"] == error
    return raised.value.details


# -- races that only several processes show ----------------------------------------------------


async def test_a_second_outcome_is_refused_while_the_first_waits_in_the_inbox() -> None:
    attempt = await running()
    await attempt.first.completed("FAILED")  # the run was just folded, so that it is posted
    attempt.world.clock.advance(5 * SECONDS)  # and the wake does not come
    await refused(Conflict, "task_already_terminal", attempt.first.completed("SUCCEEDED"))
    await attempt.fold()
    assert (await attempt.task()).state == "FAILED"


async def test_the_same_outcome_again_is_accepted_while_the_first_waits() -> None:
    attempt = await running()
    await attempt.first.completed("FAILED")
    attempt.world.clock.advance(5 * SECONDS)
    assert (await attempt.first.completed("FAILED")).final_state == "FAILED"
    await attempt.fold()
    assert await attempt.recorded(TaskFinished) == [("applied", "")]


async def test_a_loser_that_reports_before_the_claim_is_folded_does_not_fail_the_winner() -> None:
    attempt = await dispatched()
    await attempt.first.started()
    await attempt.second.completed("FAILED")
    answer = await attempt.first.completed("SUCCEEDED")
    assert answer.final_state == "SUCCEEDED"
    await attempt.fold()
    assert (await attempt.task()).state == "SUCCEEDED"
    assert sorted(await attempt.recorded(TaskFinished)) == [
        ("applied", ""),
        ("ignored", "claimed by worker w1"),
    ]


async def test_a_loser_with_the_same_result_does_not_swallow_that_of_the_winner() -> None:
    attempt = await dispatched()
    await attempt.first.started()
    await attempt.second.completed("SUCCEEDED")
    await attempt.first.completed("SUCCEEDED")
    await attempt.fold()
    assert (await attempt.task()).state == "SUCCEEDED"
    assert (await attempt.task()).worker_id == "w1"


async def test_a_claim_that_is_folded_meanwhile_is_seen() -> None:
    """It leaves no item behind that the second worker's claim could meet."""
    meanwhile = Meanwhile()
    attempt = await dispatched(world={"faults": meanwhile})

    async def the_first_claims() -> None:
        await attempt.first.started()
        await attempt.fold()

    meanwhile.during("store.post", the_first_claims)
    await refused(Conflict, "attempt_already_claimed", attempt.second.started())
    await attempt.fold()
    assert await attempt.recorded(TaskStarted) == [
        ("applied", ""),
        ("ignored", "claimed by worker w1"),
    ]


async def cancel_waits(attempt: Attempt) -> None:
    """A cancel is in the inbox, and its wake does not come."""
    entity = run_entity(SCOPE, attempt.run_id)
    data = RunCancelRequested("enough")
    event = Event(f"cancel:{attempt.run_id}", attempt.world.now_ms, str(entity), data, "user:me")
    await attempt.world.store.post(str(entity), event.id, encode_event(event))
    attempt.world.clock.advance(5 * SECONDS)


async def test_an_end_folded_together_with_a_cancel_is_told_so() -> None:
    attempt = await running()
    await cancel_waits(attempt)
    answer = await attempt.first.completed("SUCCEEDED")
    assert answer.final_state == "CANCELLED"
    assert (await attempt.task()).state == "CANCELLED"
    assert (await attempt.first.completed("SUCCEEDED")).final_state == "CANCELLED"


async def test_an_end_that_nobody_claimed_is_refused_when_a_cancel_came_before_it() -> None:
    attempt = await dispatched()
    await cancel_waits(attempt)
    await refused(Conflict, "task_already_terminal", attempt.first.completed("SUCCEEDED"))
    assert (await attempt.task()).state == "CANCELLED"
    (recorded,) = await attempt.recorded(TaskFinished)
    assert recorded[0] == "ignored"


async def test_a_timer_waits_for_a_sign_of_life_beyond_the_first_page_of_the_inbox() -> None:
    attempt = await running(timeouts=TimeoutsSpec(heartbeat_ms=10_000))
    world, entity = attempt.world, run_entity(SCOPE, attempt.run_id)
    await attempt.first.heartbeat()
    world.clock.advance(9 * SECONDS)
    await attempt.first.heartbeat()
    for number in range(450):
        noise = CallbackDuplicated("t.a", 1, "att_0", "completed")
        event = Event(f"att_{number:04}:duplicate", world.now_ms, str(entity), noise, "test")
        await world.store.post(str(entity), event.id, encode_event(event))
    world.clock.advance(2 * SECONDS)
    head = await world.store.load(str(entity))
    timer = TimerFired(decode_run(head.state).timer_generation)
    event = Event(f"timer:{timer.generation}", world.now_ms, str(entity), timer, "timer")
    await record(world.engine, entity, event)
    await attempt.fold()
    await attempt.fold()
    assert (await attempt.task()).state == "RUNNING", "two seconds ago it was alive"
    assert await attempt.recorded(TaskHeartbeat) == [("applied", "")]


# -- the table of cases ------------------------------------------------------------------------


async def test_a_dispatched_attempt_takes_every_report() -> None:
    for verb in ("started", "heartbeat"):
        attempt = await dispatched()
        answer = await attempt.first.tell(verb)
        assert (answer.acknowledged, answer.should_cancel, answer.final_state) == (
            True,
            False,
            None,
        )
    attempt = await dispatched()
    assert (await attempt.first.completed()).final_state == "SUCCEEDED"
    await attempt.fold()
    assert (await attempt.task()).state == "SUCCEEDED", "the end overtook the start"


async def test_a_running_attempt_takes_every_report_of_its_worker() -> None:
    attempt = await running()
    assert (await attempt.first.started()).acknowledged
    assert (await attempt.first.heartbeat()).acknowledged
    assert (await attempt.first.completed()).final_state == "SUCCEEDED"
    await attempt.fold()
    view = await attempt.task()
    assert (view.state, view.worker_id, view.progress_pct) == ("SUCCEEDED", "w1", None)


@pytest.mark.parametrize("folded", [True, False])
async def test_another_worker_can_not_claim_an_attempt_that_was_claimed(folded) -> None:
    attempt = await dispatched()
    await attempt.first.started()
    if folded:
        await attempt.fold()
    await refused(Conflict, "attempt_already_claimed", attempt.second.started())
    assert (await attempt.first.started()).acknowledged, "the holder may ask again"


async def test_a_running_attempt_takes_no_report_of_another_worker() -> None:
    attempt = await running()
    for verb, more in (("started", {}), ("heartbeat", {}), ("completed", {"outcome": "SUCCEEDED"})):
        details = await refused(
            Conflict, "attempt_already_claimed", attempt.second.tell(verb, **more)
        )
        assert details["state"] == "RUNNING"
    await attempt.fold()
    assert (await attempt.task()).state == "RUNNING"


async def test_an_attempt_that_waits_for_its_retry_is_over() -> None:
    attempt = await running(retry={"maxRetries": 1, "delayMs": 60_000})
    await attempt.first.completed("FAILED")
    await attempt.fold()
    assert (await attempt.task()).state == "RETRY_WAIT"
    await refused(Conflict, "attempt_already_completed", attempt.first.started())
    await refused(Gone, "task_expired", attempt.first.heartbeat())
    await refused(Conflict, "attempt_already_completed", attempt.first.completed("SUCCEEDED"))
    assert (await attempt.first.completed("FAILED")).final_state == "FAILED"


async def test_an_attempt_whose_retry_waits_for_room_is_over_but_its_task_is_not() -> None:
    """The two tasks that another one makes ready have a higher priority, and take the room."""
    first = manifest_of({"a": [], "b": []}, retry={"maxRetries": 1}).assets
    then = manifest_of({"c": ["b"], "d": ["b"]}, priority=9).assets
    world = World(settings=Settings(max_in_flight=2))
    await world.deploy(Manifest(code_version_id="cv_1", module="t", assets=[*first, *then]))
    run = await world.request()
    await world.tasks.run_due()
    attempt = Attempt(world, world.envelopes[0], run.run_id)
    await attempt.first.completed("FAILED")
    await Worker(world, world.envelopes[1]).completed("SUCCEEDED")
    await attempt.fold()
    view = await attempt.task()
    assert (view.task, view.state, view.attempt) == ("t.a", "READY", 1)
    await refused(Conflict, "attempt_already_completed", attempt.first.completed("SUCCEEDED"))
    assert (await attempt.first.completed("FAILED")).final_state == "FAILED"


@pytest.mark.parametrize("outcome", ["SUCCEEDED", "FAILED"])
async def test_a_finished_attempt_takes_the_same_end_only(outcome) -> None:
    attempt = await running()
    await attempt.first.completed(outcome)
    await attempt.fold()
    other = "FAILED" if outcome == "SUCCEEDED" else "SUCCEEDED"
    details = await refused(Conflict, "task_already_terminal", attempt.first.completed(other))
    assert details["state"] == outcome
    await refused(Conflict, "task_already_terminal", attempt.first.started())
    await refused(Gone, "task_expired", attempt.first.heartbeat())
    assert (await attempt.first.completed(outcome)).final_state == outcome
    await attempt.fold()
    assert await attempt.recorded(CallbackDuplicated) == [("ignored", "duplicate")]


async def test_a_name_of_a_worker_is_short_because_the_run_s_head_holds_it() -> None:
    attempt = await running()
    attempt.first.name = "w" * 257
    await refused(InvalidInput, "invalid_argument", attempt.first.heartbeat())


async def test_a_storm_of_repeated_ends_is_one_item_of_the_inbox() -> None:
    attempt = await running()
    await attempt.first.completed()
    await attempt.fold()
    for _ in range(50):
        await attempt.first.completed()
    entity = str(run_entity(SCOPE, attempt.run_id))
    assert len(await attempt.world.store.inbox(entity, 100)) == 1


async def test_reports_of_an_earlier_attempt_are_refused_once_there_is_another() -> None:
    attempt = await running(retry={"maxRetries": 1})
    await attempt.first.completed("FAILED")
    await attempt.fold()
    for verb, more in (("started", {}), ("heartbeat", {}), ("completed", {"outcome": "SUCCEEDED"})):
        details = await refused(Conflict, "attempt_mismatch", attempt.first.tell(verb, **more))
        assert (details["expectedAttempt"], details["receivedAttempt"]) == (2, 1)


async def test_a_cancelled_run_tells_its_workers_to_stop() -> None:
    attempt = await running()
    await cancel_run(attempt.world.engine, SCOPE, attempt.run_id, reason="enough", actor="me")
    await attempt.fold()
    answer = await attempt.first.heartbeat()
    assert (answer.should_cancel, answer.cancel_reason) == (True, "user_requested")
    answer = await attempt.first.completed("SUCCEEDED")
    assert (answer.should_cancel, answer.final_state) == (True, "CANCELLED")
    await attempt.fold()
    again = await attempt.first.completed("SUCCEEDED")
    assert again.final_state == "CANCELLED", "the same answer as the first time"


async def test_a_run_that_timed_out_says_so() -> None:
    world = World()
    await world.deploy(manifest_of({"a": []}))
    run = await world.request(timeout_ms=30 * SECONDS)
    await world.tasks.run_due()
    attempt = Attempt(world, world.envelopes[0], run.run_id)
    await attempt.first.started()
    await world.run_for(31 * SECONDS)
    assert (await attempt.first.heartbeat()).cancel_reason == "run_timeout"


# -- a claim that is cancelled before it is folded ----------------------------------------------


async def test_a_start_that_was_accepted_and_cancelled_in_one_fold_is_told_at_the_next_report():
    attempt = await dispatched()
    assert (await attempt.first.started()).acknowledged
    await cancel_run(attempt.world.engine, SCOPE, attempt.run_id, reason="enough", actor="me")
    await attempt.fold()
    assert (await attempt.task()).state == "CANCELLED"
    assert await attempt.recorded(TaskStarted) == [("ignored", "task is CANCELLED")]
    await refused(Gone, "task_expired", attempt.first.heartbeat())
    await refused(Conflict, "task_already_terminal", attempt.first.completed())
    await attempt.world.settle()
    check(attempt.world.history())


# -- tokens ------------------------------------------------------------------------------------


async def tell(of: Attempt, /, *, task_id="", token=None, verb="started", **changes):
    """A report with something changed on its way."""
    envelope = of.envelope
    body = {
        "attempt": envelope.attempt,
        "attemptId": envelope.attempt_id,
        "workerId": "w1",
        **changes,
    }
    token = envelope.task_token if token is None else token
    return await record_callback(
        of.world.engine,
        task_id or envelope.task_id,
        verb,
        token,
        msgspec.json.encode(body),
    )


async def test_a_token_is_good_for_its_own_task_alone() -> None:
    world = World()
    await world.deploy(manifest_of({"a": [], "b": []}))
    run = await world.request()
    await world.tasks.run_due()
    attempt = Attempt(world, world.envelopes[0], run.run_id)
    other = world.envelopes[1]
    await refused(Forbidden, "wrong_task", tell(attempt, task_id=other.task_id))
    await refused(Forbidden, "wrong_task", tell(attempt, token=other.task_token))
    await refused(Forbidden, "wrong_task", tell(attempt, task_id="ct1_nonsense"))


async def test_a_token_is_good_for_its_own_attempt_alone() -> None:
    attempt = await running(retry={"maxRetries": 1})
    await attempt.first.completed("FAILED")
    await attempt.fold()
    await attempt.world.tasks.run_due()
    second = attempt.world.envelopes[-1]
    assert second.attempt == 2
    first = attempt.envelope
    details = await refused(
        Conflict,
        "attempt_mismatch",
        tell(attempt, attempt=2, attemptId=second.attempt_id),
    )
    assert (details["expectedAttempt"], details["receivedAttempt"]) == (1, 2)
    await refused(Conflict, "attempt_mismatch", tell(attempt, attemptId=second.attempt_id))
    await refused(
        Conflict,
        "attempt_mismatch",
        tell(attempt, token=second.task_token, attemptId=first.attempt_id),
    )


async def test_a_token_is_good_in_its_own_tenant_alone() -> None:
    attempt = await dispatched()
    claims = AttemptClaims(
        RIVAL.tenant,
        RIVAL.workspace,
        attempt.envelope.task_id,
        attempt.run_id,
        1,
        attempt.envelope.attempt_id,
        attempt.world.now_ms + SECONDS,
    )
    token = sign_attempt_token(b"s" * 32, claims, attempt.world.now_ms)
    await refused(NotFound, "task_not_found", tell(attempt, token=token))


async def test_a_token_expires() -> None:
    attempt = await running()
    attempt.world.clock.advance(24 * 3600 * SECONDS)
    with pytest.raises(Unauthenticated):
        await tell(attempt)


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c"])
async def test_without_a_token_of_ours_nothing_is_taken(token) -> None:
    attempt = await dispatched()
    with pytest.raises(Unauthenticated):
        await tell(attempt, token=token)
    assert not await attempt.world.store.inbox(str(run_entity(SCOPE, attempt.run_id)), 10)


async def test_a_task_that_the_run_does_not_have_is_not_found() -> None:
    attempt = await dispatched()
    task_id = callback_task_id(attempt.run_id, "t.zzz")
    claims = AttemptClaims(
        *SCOPE, task_id, attempt.run_id, 1, "att_1", attempt.world.now_ms + SECONDS
    )
    token = sign_attempt_token(b"s" * 32, claims, attempt.world.now_ms)
    await refused(
        NotFound, "task_not_found", tell(attempt, task_id=task_id, token=token, attemptId="att_1")
    )


# -- bodies ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "raw"),
    [
        ("started", b""),
        ("started", b"{"),
        ("started", b"[]"),
        ("started", b'{"attempt":"1","attemptId":"x","workerId":"w"}'),
        ("started", b'{"attempt":1,"attemptId":"x"}'),
        ("started", b'{"attempt":0,"attemptId":"x","workerId":"w"}'),
        ("started", b'{"attempt":1,"attemptId":"","workerId":"w"}'),
        ("started", b'{"attempt":1,"attemptId":"x","workerId":""}'),
        ("started", b'{"attempt":1,"attemptId":"\xff","workerId":"w"}'),
        ("heartbeat", b'{"attempt":1,"attemptId":"x","workerId":"w","progressPct":101}'),
        ("heartbeat", b'{"attempt":1,"attemptId":"x","workerId":"w","progressPct":-1}'),
        ("completed", b'{"attempt":1,"attemptId":"x","workerId":"w"}'),
        ("completed", b'{"attempt":1,"attemptId":"x","workerId":"w","outcome":"DONE"}'),
        ("completed", b'{"attempt":1,"attemptId":"x","workerId":"w","outcome":"FAILED"}'),
        ("completed", b"[" * 100_000),
    ],
)
async def test_a_malformed_report_is_refused_and_leaves_nothing(verb, raw) -> None:
    attempt = await dispatched()
    envelope, engine = attempt.envelope, attempt.world.engine
    await refused(
        InvalidInput,
        "invalid_argument",
        record_callback(engine, envelope.task_id, verb, envelope.task_token, raw),
    )
    assert not await attempt.world.store.inbox(str(run_entity(SCOPE, attempt.run_id)), 10)


async def test_a_report_of_an_unknown_kind_is_not_found() -> None:
    attempt = await dispatched()
    await refused(NotFound, "not_found", tell(attempt, verb="paused"))


async def test_a_newer_worker_may_tell_more_than_the_plane_knows() -> None:
    attempt = await dispatched()
    assert (await tell(attempt, colour="blue")).acknowledged


# -- outages -----------------------------------------------------------------------------------


@pytest.mark.parametrize("site", ["store.load", "store.post", "store.commit", "tasks.enqueue"])
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_report_that_meets_an_outage_is_repeated_and_counts_once(site, moment) -> None:
    faults = ScriptedFaults()
    attempt = await running(world={"faults": faults})
    attempt.world.clock.advance(5 * SECONDS)
    error = Unavailable("refused") if moment == "before" else OutcomeUnknown("no answer")
    (faults.fail_before if moment == "before" else faults.fail_after)(site, error)
    attempt.world.spawn(attempt.first.succeed())
    await attempt.world.settle()
    assert (await attempt.task()).state == "SUCCEEDED"
    assert await attempt.recorded(TaskFinished) == [("applied", "")]
    check(attempt.world.history())
