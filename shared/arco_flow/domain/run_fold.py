"""The working copy of a run while one batch is folded: guarded moves and what follows from them.

Pure from outside: it is made from a frozen Run and ends as one. Every move goes through the
tables of `task.py` and `run.py`, so that nothing can happen here that the tables do not hold.
"""

from __future__ import annotations

import msgspec

from arco_flow.domain.decision import APPLIED, DERIVED, IGNORED, Entry
from arco_flow.domain.effects import DispatchAttempt, Effect, StopAttempt
from arco_flow.domain.events import Event, EventPayload, RunStateChanged, TaskStateChanged
from arco_flow.domain.ids import attempt_id_of, dispatch_id_of
from arco_flow.domain.plan import PlanIndex
from arco_flow.domain.run import Live, Run, RunState, RunStimulus, next_run_state
from arco_flow.domain.task import TaskState, TaskStimulus, next_task_state

_STIMULUS_DOWNSTREAM = {
    TaskState.SUCCEEDED: TaskStimulus.UPSTREAM_SUCCEEDED,
    TaskState.FAILED: TaskStimulus.UPSTREAM_FAILED,
    TaskState.SKIPPED: TaskStimulus.UPSTREAM_FAILED,
    TaskState.CANCELLED: TaskStimulus.UPSTREAM_CANCELLED,
}


class RunFold:
    """Mutable copy of a Run, with the ledger and the effects that the batch produces."""

    def __init__(self, run: Run, plan: PlanIndex, now_ms: int) -> None:
        self.run = run
        self.plan = plan
        self.now_ms = now_ms
        self.state = RunState(run.state)
        self.states = bytearray(run.states)
        self.attempts = bytearray(run.attempts)
        self.digests = bytearray(run.digests)
        self.waiting = list(run.waiting)
        self.started_ms = list(run.started_ms)
        self.ended_ms = list(run.ended_ms)
        self.live = dict(run.live)
        self.retry_due = dict(run.retry_due)
        self.blamed = dict(run.blamed)
        self.losses = dict(run.losses)
        self.run_started_ms = run.run_started_ms
        self.run_ended_ms = run.run_ended_ms
        self.cancel_requested_ms = run.cancel_requested_ms
        self.cancel_reason = run.cancel_reason
        self.timed_out = run.timed_out
        self.timer_generation = run.timer_generation
        self.timer_ms = run.timer_ms
        self.entries: list[Entry] = []
        self.effects: list[Effect] = []
        self.cause = ""
        self.touched: set[int] = set()
        self._derived = 0

    # -- ledger ---------------------------------------------------------------------------

    def applied(self, event: Event) -> None:
        """Record that the event took effect; what is derived next names it as its cause."""
        self.entries.append(Entry(event, APPLIED))
        self.cause = event.id

    def ignored(self, event: Event, reason: str) -> None:
        """Record that the event changes nothing, and why."""
        self.entries.append(Entry(event, IGNORED, reason))

    def derive(self, data: EventPayload) -> None:
        """Record a fact that follows from what was applied."""
        version = self.run.version + 1
        fact = Event(
            id=f"{self.run.run_id}:v{version}:{self._derived}",
            time_ms=self.now_ms,
            subject=self.run.run_id,
            data=data,
            actor="plane",
            correlation=self.run.run_id,
            causation=self.cause,
        )
        self._derived += 1
        self.entries.append(Entry(fact, DERIVED))

    # -- the run --------------------------------------------------------------------------

    def move_run(self, stimulus: RunStimulus, reason: str = "") -> None:
        """Take one step of the run's table."""
        before = self.state
        self.state = next_run_state(before, stimulus)
        self.derive(RunStateChanged(before.value, self.state.value, reason))
        if self.state is RunState.RUNNING:
            self.run_started_ms = self.now_ms
        if self.state.is_terminal:
            self.run_ended_ms = self.now_ms
            # The armed timer becomes a stranger: a terminal run owes nobody a deadline.
            self.timer_generation += 1
            self.timer_ms = 0

    def wind_up(self, stimulus: RunStimulus, reason: str) -> None:
        """Start cancelling: everything that no worker holds is cancelled at once."""
        self.move_run(stimulus, reason)
        self.cancel_requested_ms = self.now_ms
        self.cancel_reason = reason
        self.touched.update(self.live)
        for index, state in enumerate(self.states):
            if state < TaskState.SKIPPED and state != TaskState.RUNNING:
                self.move(index, TaskStimulus.CANCELLED, reason)

    def finish_if_over(self) -> None:
        """Close the run when no task can change any more."""
        if self.state.is_terminal or self.live or self.retry_due:
            return
        if any(state in self.states for state in _OPEN_STATES):
            return
        if self.timed_out:
            self.move_run(RunStimulus.WOUND_UP_AFTER_TIMEOUT, self.cancel_reason)
        elif self.state is RunState.CANCELLING or TaskState.CANCELLED in self.states:
            self.move_run(RunStimulus.SOME_CANCELLED, self.cancel_reason)
        elif TaskState.FAILED in self.states:
            failed = self.states.count(TaskState.FAILED)
            self.move_run(RunStimulus.SOME_FAILED, f"{failed} of {len(self.states)} tasks failed")
        else:
            self.move_run(RunStimulus.ALL_SUCCEEDED)

    # -- tasks ----------------------------------------------------------------------------

    def attempt_id(self, index: int) -> str:
        """Id of the current attempt of a task."""
        short = self.plan.shorts[index]
        return attempt_id_of(dispatch_id_of(self.run.run_id, short, self.attempts[index]))

    def move(self, index: int, stimulus: TaskStimulus, reason: str = "") -> None:
        """Take one step of a task's table, and all steps that follow downstream."""
        after = self._step(index, stimulus, reason)
        if after.is_terminal:
            self._settle(index)

    def _step(self, index: int, stimulus: TaskStimulus, reason: str) -> TaskState:
        self.touched.add(index)
        before = TaskState(self.states[index])
        after = next_task_state(before, stimulus)
        self.states[index] = after
        if after is not TaskState.DISPATCHED and after is not TaskState.RUNNING:
            self.live.pop(index, None)
        if after is not TaskState.RETRY_WAIT:
            self.retry_due.pop(index, None)
        if after.is_terminal:
            self.ended_ms[index] = self.now_ms - self.run.created_ms
        short = self.plan.shorts[index]
        self.derive(TaskStateChanged(short, before.name, after.name, self.attempts[index], reason))
        return after

    def _settle(self, first: int) -> None:
        """Tell the downstream tasks of a finished one; iterative, for chains are deep."""
        pending = [first]
        while pending:
            source = pending.pop()
            stimulus = _STIMULUS_DOWNSTREAM[TaskState(self.states[source])]
            for target in self.plan.downstream[source]:
                if self.states[target] == TaskState.BLOCKED and self._told(
                    source, target, stimulus
                ):
                    pending.append(target)

    def _told(self, source: int, target: int, stimulus: TaskStimulus) -> bool:
        """Apply one upstream's end to a blocked task; True when the task ended by it."""
        if stimulus is TaskStimulus.UPSTREAM_SUCCEEDED:
            self.waiting[target] -= 1
            if self.waiting[target] == 0:
                self._step(target, stimulus, "")
            return False
        # The root cause is named, not the skipped task in between.
        culprit = self.blamed.get(source, source)
        self.blamed[target] = culprit
        word = "upstream_failed" if stimulus is TaskStimulus.UPSTREAM_FAILED else "cancelled"
        self._step(target, stimulus, f"{word}: {self.plan.shorts[culprit]}")
        return True

    def dispatch_ready(self) -> None:
        """Dispatch ready tasks, by priority then plan order, up to the run's window."""
        if self.state is not RunState.RUNNING:
            return
        room = self.run.max_in_flight - len(self.live)
        for index in self._ready(room):
            self.attempts[index] += 1
            self.live[index] = Live(dispatched_ms=self.now_ms)
            self._step(index, TaskStimulus.DISPATCHED, "")
            self.effects.append(DispatchAttempt(self.run.run_id, index, self.attempts[index]))

    def _ready(self, room: int) -> list[int]:
        if self.plan.ranks is not None:
            ready = (i for i in self.plan.ranks if self.states[i] == TaskState.READY)
            return [index for index, _ in zip(ready, range(max(room, 0)), strict=False)]
        found: list[int] = []
        position = self.states.find(TaskState.READY)
        while position >= 0 and len(found) < room:
            found.append(position)
            position = self.states.find(TaskState.READY, position + 1)
        return found

    def stop(self, index: int, reason: str) -> None:
        """Ask the platform to end the worker of a running attempt by force."""
        worker = self.live[index].worker_id if index in self.live else ""
        self.effects.append(StopAttempt(self.run.run_id, self.attempt_id(index), worker, reason))

    def frozen(self) -> Run:
        """The new state."""
        return msgspec.structs.replace(
            self.run,
            state=self.state.value,
            states=bytes(self.states),
            attempts=bytes(self.attempts),
            digests=bytes(self.digests),
            waiting=self.waiting,
            started_ms=self.started_ms,
            ended_ms=self.ended_ms,
            live=self.live,
            retry_due=self.retry_due,
            blamed=self.blamed,
            losses=self.losses,
            run_started_ms=self.run_started_ms,
            run_ended_ms=self.run_ended_ms,
            cancel_requested_ms=self.cancel_requested_ms,
            cancel_reason=self.cancel_reason,
            timed_out=self.timed_out,
            timer_generation=self.timer_generation,
            timer_ms=self.timer_ms,
            version=self.run.version + 1,
        )


_OPEN_STATES = (
    TaskState.BLOCKED,
    TaskState.READY,
    TaskState.DISPATCHED,
    TaskState.RUNNING,
    TaskState.RETRY_WAIT,
)
