"""Any history of a run, folded one by one and in batches, against the model of it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from arco_flow.domain.callbacks import judge_callback
from arco_flow.domain.decision import APPLIED, DERIVED
from arco_flow.domain.effects import DispatchAttempt, SendEvent
from arco_flow.domain.errors import ArcoError
from arco_flow.domain.events import Event, TaskStateChanged, WorkersLost
from arco_flow.domain.manifest import TimeoutsSpec
from arco_flow.domain.run import decode_run, encode_run
from arco_flow.domain.run_deadlines import LOSSES_MAX
from arco_flow.domain.task import TaskState
from domain.runs import START_MS, Story, manifest_of, plan_of
from properties.budget import examples
from properties.run_model import RUN_OVER, Model, Rules, Told

NAMES = "abcd"
KINDS = st.sampled_from(["started", "started", "heartbeat", "finished", "finished"])
MOSTLY = st.sampled_from([True, True, True, False])
RARELY = st.sampled_from([False, False, False, True])
WORKERS = st.sampled_from(["new-1", "new-2", "old-1"])
OUTCOMES = st.sampled_from(["SUCCEEDED", "SUCCEEDED", "FAILED", "FAILED", "CANCELLED"])
STEPS = st.sampled_from([0, 0, 0, 0, 0, 1, -1])
"""Of the attempt that a report names, from the current one: late, right and from nowhere."""


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    """Up to five tasks, each with upstream among those before it."""
    names = NAMES[: draw(st.integers(1, len(NAMES)))]
    return {
        name: tuple(sorted(draw(st.sets(st.sampled_from(names[:place]), max_size=2))))
        if place
        else ()
        for place, name in enumerate(names)
    }


def going_on(machine: RunMachine) -> bool:
    """Whether the run is not over."""
    return machine.model.state not in RUN_OVER


class RunMachine(RuleBasedStateMachine):
    """Rules put events into a batch or fold it; after each fold both worlds are compared."""

    @initialize(
        edges=graphs(),
        max_retries=st.integers(0, 2),
        delay_ms=st.sampled_from([0, 1_000]),
        window=st.sampled_from([1, 2, 200]),
        deadline_ms=st.sampled_from([0, 0, START_MS + 20_000]),
    )
    def open(
        self, edges: Any, max_retries: int, delay_ms: int, window: int, deadline_ms: int
    ) -> None:
        self.rules = Rules(edges, max_retries, delay_ms, window, 5_000, 3_000, deadline_ms)
        manifest = manifest_of(
            edges,
            retry={"maxRetries": max_retries, "delayMs": delay_ms},
            timeouts=TimeoutsSpec(heartbeat_ms=self.rules.heartbeat_ms),
        )
        self.plan = plan_of(manifest)
        self.names = [short.removeprefix("t.") for short in self.plan.shorts]
        self.rules = replace(self.rules, upstream={name: edges[name] for name in self.names})
        self.lost = itertools.count()
        self._begin()

    def _begin(self) -> None:
        self.story = Story(
            self.plan,
            max_in_flight=self.rules.window,
            deadline_ms=self.rules.deadline_ms,
            cancel_grace_ms=self.rules.grace_ms,
        )
        self.model = Model(self.rules)
        self.batch: list[tuple[Event, Told]] = []
        self.past: list[tuple[Event, Told]] = []
        self._compare(())

    # -- what can happen ------------------------------------------------------------------

    @precondition(going_on)
    @rule(kind=KINDS, pick=st.integers(0, 3), step=STEPS, worker=WORKERS, mine=MOSTLY,
          outcome=OUTCOMES, hold=st.booleans())  # fmt: skip
    def report(self, kind: str, pick: int, step: int, worker: str, mine: bool, outcome: str,
               hold: bool) -> None:  # fmt: skip
        names = self._live() or self.names
        self._report(kind, names[pick % len(names)], step, worker, outcome, mine)
        self._fold_unless(hold)

    @precondition(going_on)
    @rule(worker=WORKERS)
    def claim_all(self, worker: str) -> None:
        """A worker starts all that is dispatched."""
        for name in self._live():
            if self.model.tasks[name].state == "DISPATCHED":
                self._report("started", name, 0, worker)
        self._fold()

    @precondition(going_on)
    @rule(later_ms=st.sampled_from([900, 4_000]))
    def live_on(self, later_ms: int) -> None:
        """Time passes, and all that runs is told to be alive."""
        self.story.now_ms += later_ms
        for name in self._live():
            self._report("heartbeat", name, 0, "new-1")
        self._fold()

    @precondition(going_on)
    @rule(outcomes=st.lists(OUTCOMES, min_size=4, max_size=4))
    def end_all(self, outcomes: list[str]) -> None:
        """All that is in work comes to an end."""
        for name, outcome in zip(self._live(), outcomes, strict=False):
            self._report("finished", name, 0, "new-1", outcome)
        self._fold()

    @precondition(going_on)
    @rule(really=st.integers(0, 5), hold=st.booleans())
    def cancel(self, really: int, hold: bool) -> None:
        if really == 0 or self.model.state == "CANCELLING":
            self._take(self.story.cancel(), "cancel")
            self._fold_unless(hold)

    @precondition(going_on)
    @rule(survivors=st.sampled_from(["new-", "old-", "x"]), hold=st.booleans())
    def lose_workers(self, survivors: str, hold: bool) -> None:
        event = self.story.event(f"lost:{next(self.lost)}", WorkersLost(survivors))
        self._take(event, "lost", worker=survivors)
        self._fold_unless(hold)

    @precondition(going_on)
    @rule(late_ms=st.sampled_from([0, 0, 1, 2_500, 30_000]), stale=RARELY, hold=st.booleans())
    def fire_timer(self, late_ms: int, stale: bool, hold: bool) -> None:
        """Whether it is the armed one shows when it is folded: a batch may come in between."""
        self.story.now_ms = max(self.story.now_ms, self.story.run.timer_ms) + late_ms
        self._take(self.story.timer(self.story.run.timer_generation - stale), "timer")
        self._fold_unless(hold)

    @rule(place=st.integers(0, 50), hold=st.booleans())
    def deliver_again(self, place: int, hold: bool) -> None:
        if self.past:
            self.batch.append(self.past[place % len(self.past)])
            self._fold_unless(hold)

    @precondition(lambda self: not going_on(self))
    @rule(pick=st.integers(0, 3), kind=KINDS)
    def come_too_late(self, pick: int, kind: str) -> None:
        """Nothing moves a run that is over; then the next one begins."""
        over = self.story.run.states
        self._report(kind, self.names[pick % len(self.names)], 0, "new-1")
        self._take(self.story.cancel(), "cancel")
        self._take(self.story.timer(), "timer")
        self._fold()
        assert self.story.run.states == over
        self._begin()

    def _live(self) -> list[str]:
        states = ("DISPATCHED", "RUNNING")
        return [name for name in self.names if self.model.tasks[name].state in states]

    def _report(self, kind: str, name: str, step: int, worker: str, outcome: str = "SUCCEEDED",
                mine: bool = True) -> None:  # fmt: skip
        task = self.model.tasks[name]
        attempt, worker = task.attempt + step, (mine and task.worker) or worker
        make = {
            "started": self.story.started,
            "heartbeat": self.story.heartbeat,
            "finished": lambda *of: self.story.finished(name, outcome, *of[1:]),
        }[kind]
        self._take(make(name, attempt, worker), kind, name, attempt, worker, outcome)

    # -- both worlds ----------------------------------------------------------------------

    def _take(self, event: Event, kind: str, task: str = "", attempt: int = 0, worker: str = "",
              outcome: str = "") -> None:  # fmt: skip
        told = Told(kind, event.id, task, attempt, worker, outcome, event.time_ms)
        self.batch.append((event, told))

    def _fold_unless(self, hold: bool) -> None:
        if not hold:
            self._fold()

    def _fold(self) -> None:
        if not self.batch:
            return
        armed = f"timer:{self.story.run.timer_generation}"
        told = [replace(told, current=told.id == armed) for _, told in self.batch]
        events = [event for event, _ in self.batch]
        judged = self._judged(events[0]) if len(events) == 1 else None
        before = self.story.run
        self.story.fold(*events)
        promoted = len(self.model.promoted)
        applied = self.model.fold(told, self.story.now_ms)
        self.past, self.batch = [*self.past, *self.batch][-50:], []
        self._compare(applied)
        if judged is False:
            assert applied == [False], "what is refused to its sender does not count"
        self._compare_effects(before, len(self.model.promoted) - promoted)

    def _judged(self, event: Event) -> bool | None:
        """Whether the sender of a report is told that it is accepted; None for other events."""
        if not hasattr(event.data, "attempt_id"):
            return None
        try:
            return not judge_callback(self.story.run, self.story.plan, event.data).duplicate
        except ArcoError:
            return False

    def _compare(self, applied: Any) -> None:
        run, model = self.story.run, self.model
        assert self.story.states() == {name: task.state for name, task in model.tasks.items()}
        assert run.state == model.state
        assert list(run.attempts) == [task.attempt for task in model.tasks.values()]
        lines = [line for line in self.story.decision.ledger if line.disposition != DERIVED]
        assert not applied or [line.disposition == APPLIED for line in lines] == applied
        assert all(line.reason for line in lines if line.disposition != APPLIED)
        self._check_bookkeeping()

    def _check_bookkeeping(self) -> None:
        run, states = self.story.run, [TaskState(state) for state in self.story.run.states]
        live = {n for n, state in enumerate(states) if state.name in ("DISPATCHED", "RUNNING")}
        waiting = {n for n, state in enumerate(states) if state.name == "RETRY_WAIT"}
        assert run.live.keys() == live
        assert run.retry_due.keys() == waiting
        for number, state in enumerate(states):
            losses = run.losses.get(number, 0)
            assert losses <= LOSSES_MAX
            assert run.attempts[number] <= 1 + self.rules.max_retries + losses
            upstream = [states[up] for up in self.story.plan.upstream[number]]
            if state is TaskState.BLOCKED:
                assert run.waiting[number] == sum(s is not TaskState.SUCCEEDED for s in upstream)
            if state is TaskState.SKIPPED:
                assert states[run.blamed[number]] is TaskState.FAILED, "the culprit has failed"
        assert (run.timer_ms == 0) or run.state not in RUN_OVER
        if live or waiting:
            assert 0 < run.timer_ms <= min([*run.retry_due.values(), 2**62])
        assert decode_run(encode_run(run)) == run

    def _compare_effects(self, before: Any, promoted: int) -> None:
        effects = self.story.decision.effects
        sent = {
            e.task_index for e in effects if isinstance(e, DispatchAttempt) and not e.generation
        }
        assert sent == {
            number
            for number, (old, new) in enumerate(
                zip(before.attempts, self.story.run.attempts, strict=True)
            )
            if old != new
        }
        assert sum(isinstance(effect, SendEvent) for effect in effects) == promoted
        for line in self.story.decision.ledger:
            data = line.event.data
            if isinstance(data, TaskStateChanged) and data.after == "SKIPPED":
                culprit = data.reason.removeprefix("upstream_failed: t.")
                assert self.model.tasks[culprit].state == "FAILED"

    def teardown(self) -> None:
        """Whatever has happened: with workers that work and timers that fire, a run ends."""
        if not hasattr(self, "story"):
            return
        self._fold()
        for _ in range(100):
            if self.model.state in RUN_OVER:
                break
            for name in self._live():
                self._report("finished", name, 0, "new-1")
            self._fold()
            if self.story.run.retry_due:
                self.fire_timer(0, False, False)
        assert self.model.state in RUN_OVER


TestRuns = RunMachine.TestCase
TestRuns.settings = examples(150, stateful_step_count=40)
