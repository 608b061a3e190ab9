"""Workers' reports: every case of the table, tokens, malformed bodies, and racing reports."""

from __future__ import annotations

import pytest

from arco_flow.domain.envelope import DispatchEnvelope
from arco_flow.domain.errors import (
    Conflict,
)
from arco_flow.domain.events import (
    CallbackDuplicated,
    Event,
    TaskFinished,
    TaskHeartbeat,
    TimerFired,
    encode_event,
)
from arco_flow.domain.ids import run_entity
from arco_flow.domain.manifest import TimeoutsSpec
from arco_flow.domain.run import decode_run
from arco_flow.engine.dispatch import dispatch
from arco_flow.engine.mailbox import record
from engine.invariants import history_of
from engine.shapes import manifest_of
from engine.workers import Worker
from engine.world import SCOPE, SECONDS, World


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
        history = await history_of(self.world)
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
