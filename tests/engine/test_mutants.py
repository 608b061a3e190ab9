"""Design errors, put in on purpose: the checks of histories must see each of them.

A check that nothing can fail proves nothing. Each mutant changes one rule of the engine or of a
port at run time; some history of the first seeds has to fail for it, at a check that is about
this rule.
"""

from __future__ import annotations

import asyncio
import itertools
import traceback
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

import msgspec
import pytest

from arco_flow.adapters.memory.store import MemoryStore
from arco_flow.domain import callbacks, run_decide
from arco_flow.domain.errors import Unavailable
from arco_flow.domain.events import TimerFired
from arco_flow.domain.task import TaskState
from arco_flow.engine import mailbox, run_bridge, submit_effects, timer_ingest, worker_callback
from arco_flow.engine.mailbox import record, timer_event
from engine import test_mailbox as races
from engine import test_worker_callback as reports
from engine import world as world_module
from engine.test_histories import history

SEEDS = range(100)

Mutant = Callable[[pytest.MonkeyPatch], None]


def without_the_attempt_guard(patch: pytest.MonkeyPatch) -> None:
    """A report counts whatever attempt it is of."""
    patch.setattr(callbacks, "_check_attempt", lambda *_: None)

    def refusal(fold, data):
        index = fold.plan.index_of[data.task]
        live = fold.states[index] in (TaskState.DISPATCHED, TaskState.RUNNING)
        return None if live else f"task is {TaskState(fold.states[index]).name}"

    patch.setattr(run_decide, "refusal", refusal)


def without_the_claim_guard(patch: pytest.MonkeyPatch) -> None:
    """A report counts whoever holds the claim of its attempt."""

    def on_finished(fold, event):
        reason = run_decide.refusal(fold, event.data)
        if reason is not None:
            fold.ignored(event, reason)
            return
        fold.applied(event)
        index = fold.plan.index_of[event.data.task]
        fold.digests[8 * index : 8 * index + 8] = run_decide.digest_bytes(event.data.digest)
        run_decide._conclude(fold, index, event, event.data)

    kind = next(kind for kind in run_decide._HANDLERS if kind.__name__ == "TaskFinished")
    patch.setitem(run_decide._HANDLERS, kind, on_finished)
    current = callbacks._current

    def unguarded(run, index, data):
        live = msgspec.structs.replace(run.live[index], worker_id="")
        return current(msgspec.structs.replace(run, live={index: live}), index, data)

    patch.setattr(callbacks, "_current", unguarded)


def effects_before_their_commit(patch: pytest.MonkeyPatch) -> None:
    """What a decision wants done is done before it is written down."""
    commit = mailbox._commit

    async def eager(engine, entity, batch):
        effects = batch.decision.effects
        await submit_effects.submit_effects(engine, entity, effects, mailbox.record_all)
        return await commit(engine, entity, batch)

    patch.setattr(mailbox, "_commit", eager)


def effects_without_a_debt(patch: pytest.MonkeyPatch) -> None:
    """What a decision wants done is done after the commit, and written down nowhere."""
    commit = MemoryStore.commit

    async def forgetful(self, wanted):
        head = replace(wanted.head, owed=b"", owed_since_ms=0)
        return await commit(self, replace(wanted, head=head))

    patch.setattr(MemoryStore, "commit", forgetful)


def debts_struck_off_unpaid(patch: pytest.MonkeyPatch) -> None:
    """A submission that failed counts as made."""
    attempt = submit_effects._try

    async def hopeful(work):
        await attempt(work)
        return True

    patch.setattr(submit_effects, "_try", hopeful)


def commits_without_preconditions(patch: pytest.MonkeyPatch) -> None:
    """The last writer wins: of the head, and of the inbox."""

    def unchecked(self, commit):
        for collection, key in commit.documents:
            if (collection, key) in self._documents:
                raise mailbox.Contended("exists")
        inbox = self._inbox[commit.head.entity]
        for item in commit.consumed:
            inbox.setdefault(item.event_id, item)

    patch.setattr(MemoryStore, "_check_preconditions", unchecked)


def events_consumed_though_they_were_replaced(patch: pytest.MonkeyPatch) -> None:
    """A commit deletes what it has read even if something newer stands there by now."""
    checked = MemoryStore._check_preconditions

    def unchecked(self, commit):
        checked(self, replace(commit, consumed=()))
        inbox = self._inbox[commit.head.entity]
        for item in commit.consumed:
            inbox.setdefault(item.event_id, item)

    patch.setattr(MemoryStore, "_check_preconditions", unchecked)


def a_run_key_looked_up_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """The reservation is read first and written afterwards, the run's id is a fresh one."""
    numbers = itertools.count()
    patch.setattr(run_bridge, "run_id_of", lambda *_: f"run_fresh{next(numbers)}")
    commit = MemoryStore.commit

    async def apart(self, wanted):
        head = await commit(self, replace(wanted, documents={}))
        self._documents.update(wanted.documents)
        return head

    patch.setattr(MemoryStore, "commit", apart)


def a_pointer_swapped_without_its_fence(patch: pytest.MonkeyPatch) -> None:
    """Whoever swaps last wins."""

    async def swap(engine, effect):
        body = msgspec.json.encode(effect.body)
        done = None
        while done is None:
            found = await engine.objects.get(effect.path)
            if found is None:
                done = await engine.objects.put_if_absent(effect.path, body)
            else:
                done = await engine.objects.put_if_generation(effect.path, body, found.generation)

    patch.setattr(submit_effects, "_swap_pointer", swap)


def no_sweeper(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks for what was lost."""

    async def idle(_engine, _holder):
        return None

    patch.setattr(world_module, "sweep", idle)


def a_timer_of_any_generation(patch: pytest.MonkeyPatch) -> None:
    """A timer acts although a later one has been armed in its place."""

    def on_timer(fold, event):
        if fold.state.is_terminal:
            fold.ignored(event, "over")
            return
        fold.applied(event)
        fold.timer_ms = 0
        run_decide.meet_deadlines(fold)

    async def ingest(engine, entity_id, generation):
        entity = mailbox.Entity.parse(entity_id)
        now_ms = await engine.store.now_ms()
        await record(engine, entity, timer_event(entity, TimerFired(generation), now_ms))

    patch.setitem(run_decide._HANDLERS, TimerFired, on_timer)
    patch.setattr(timer_ingest, "ingest_timer", ingest)
    patch.setattr(world_module, "ingest_timer", ingest)


def timers_before_signs_of_life(patch: pytest.MonkeyPatch) -> None:
    """In a batch, a silence is judged before the heartbeat that broke it."""
    patch.setitem(run_decide._RANKS, TimerFired, 3)


def an_answer_before_the_work(patch: pytest.MonkeyPatch) -> None:
    """A report is answered with 200 although it could not be stored."""
    keep = worker_callback.record

    async def careless(engine, entity, event):
        try:
            return await keep(engine, entity, event)
        except Unavailable:
            return mailbox.Folded.COMMITTED

    patch.setattr(worker_callback, "record", careless)


def a_batch_that_swallows_what_waits_under_the_same_id(patch: pytest.MonkeyPatch) -> None:
    """A report that comes while another one of its id waits is dropped and answered with 200."""

    def take_in(events, extra, *, full, room):
        del full, room
        known = {event.id for event in events}
        events.extend(event for event in extra if event.id not in known)

    patch.setattr(mailbox, "_take_in", take_in)


LIVENESS = "settle"
MUTANTS: dict[Mutant, set[str]] = {
    without_the_attempt_guard: {"attempts_are_counted_without_gap"},
    without_the_claim_guard: {"only_the_holder_of_the_claim_reports"},
    effects_before_their_commit: {
        LIVENESS,
        "nothing_is_sent_before_its_commit",
        "promotions_are_numbered_and_each_was_accepted",
    },
    effects_without_a_debt: {LIVENESS, "every_success_reached_the_catalog"},
    debts_struck_off_unpaid: {LIVENESS, "every_success_reached_the_catalog"},
    commits_without_preconditions: {
        "every_event_is_applied_at_most_once",
        "ledgers_have_no_gap",
        "every_accepted_callback_is_recorded",
        "runs_are_what_their_ledgers_say",
    },
    a_run_key_looked_up_before_the_commit: {"one_run_per_run_key"},
    a_pointer_swapped_without_its_fence: {
        "a_pointer_never_goes_backwards",
        "the_latest_accepted_result_is_current",
    },
    no_sweeper: {LIVENESS},
    a_timer_of_any_generation: {
        "timers_act_once_and_in_time",
        "every_event_is_applied_at_most_once",
    },
    timers_before_signs_of_life: {"timers_act_once_and_in_time"},
    an_answer_before_the_work: {"every_accepted_callback_is_recorded"},
}
RARE: dict[Mutant, Callable[[], Awaitable[None]]] = {
    events_consumed_though_they_were_replaced: (
        races.test_a_heartbeat_that_replaces_the_one_being_folded_is_not_lost
    ),
    a_batch_that_swallows_what_waits_under_the_same_id: (
        reports.test_a_second_outcome_is_refused_while_the_first_waits_in_the_inbox
    ),
}
"""What needs a coincidence that few histories come by: the test that brings it about."""


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_histories_see_the_mutant(mutant, monkeypatch):
    mutant(monkeypatch)
    caught = next(_failures(), None)
    assert caught is not None, f"no history of {len(SEEDS)} fails"
    seed, places = caught
    assert places & MUTANTS[mutant], f"seed {seed} fails at {sorted(places)}"


@pytest.mark.parametrize("mutant", RARE, ids=lambda mutant: mutant.__name__)
def test_a_test_of_its_own_sees_the_mutant(mutant, monkeypatch):
    asyncio.run(RARE[mutant]())
    mutant(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        asyncio.run(RARE[mutant]())


def _failures() -> Iterator[tuple[int, set[str]]]:
    """Seeds whose history fails, with the names of the functions that the failure came through."""
    for seed in SEEDS:
        try:
            asyncio.run(history(seed))
        except AssertionError as error:
            yield seed, {frame.name for frame in traceback.extract_tb(error.__traceback__)}
