"""What becomes of a run, told as simply as possible: every rule on its own, nothing counted in
advance, all tasks looked at each time. It knows nothing of packed states, timers and ledgers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

TERMINAL = {"SUCCEEDED", "FAILED", "CANCELLED", "SKIPPED"}
RUN_OVER = {"SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT"}
ORDER = ("cancel", "started", "heartbeat", "finished", "lost", "timer")
"""What of a batch comes first; what is of one kind is taken by its id."""


@dataclass(frozen=True)
class Rules:
    """What a run is told to do. Milliseconds; deadline_ms 0 = none."""

    upstream: dict[str, tuple[str, ...]]
    max_retries: int
    delay_ms: int
    window: int
    heartbeat_ms: int
    grace_ms: int
    deadline_ms: int


@dataclass
class Task:
    """One task. due, heard: times of its retry and of the last sign of life."""

    state: str = "BLOCKED"
    attempt: int = 0
    losses: int = 0
    worker: str = ""
    heard: int = 0
    due: int = 0


@dataclass(frozen=True)
class Told:
    """An event as the model sees it. id: only for the order within a batch."""

    kind: str
    id: str
    task: str = ""
    attempt: int = 0
    worker: str = ""
    outcome: str = ""
    at: int = 0
    current: bool = True


@dataclass
class Model:
    """The run."""

    rules: Rules
    state: str = "RUNNING"
    now: int = 0
    cancelled_at: int = -1
    timed_out: bool = False
    tasks: dict[str, Task] = field(default_factory=dict)
    promoted: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tasks = {name: Task() for name in self.rules.upstream}
        self._spread()
        self._close()

    def fold(self, batch: Sequence[Told], now: int) -> list[bool]:
        """Which events of a batch take effect, in the order in which they are taken."""
        self.now = now
        ordered = sorted(batch, key=lambda told: (ORDER.index(told.kind), told.id))
        applied = [getattr(self, f"_{told.kind}")(told) for told in ordered]
        self._close()
        return applied

    # -- events ---------------------------------------------------------------------------

    def _cancel(self, told: Told) -> bool:
        if self.state != "RUNNING":
            return False
        self._wind_up()
        return True

    def _started(self, told: Told) -> bool:
        task = self.tasks[told.task]
        if told.attempt != task.attempt or task.state != "DISPATCHED":
            return False
        task.state, task.worker, task.heard = "RUNNING", told.worker, told.at
        return True

    def _heartbeat(self, told: Told) -> bool:
        task = self.tasks[told.task]
        if told.attempt != task.attempt or task.state != "RUNNING" or task.worker != told.worker:
            return False
        task.heard = max(task.heard, told.at)
        return True

    def _finished(self, told: Told) -> bool:
        task = self.tasks[told.task]
        mine = task.state == "DISPATCHED" or (
            task.state == "RUNNING" and task.worker == told.worker
        )
        if told.attempt != task.attempt or not mine:
            return False
        if self.state == "CANCELLING" or told.outcome == "CANCELLED":
            self._end(told.task, "CANCELLED")
        elif told.outcome == "SUCCEEDED":
            self.promoted.append(told.task)
            self._end(told.task, "SUCCEEDED")
        else:
            self._fail(told.task)
        return True

    def _lost(self, told: Told) -> bool:
        """Workers of other names than those that begin with told.worker are dead."""
        held = [
            name
            for name, task in self.tasks.items()
            if task.state == "RUNNING" and not task.worker.startswith(told.worker)
        ]
        for name in held:
            if self.state != "RUNNING":
                self._end(name, "CANCELLED")
            else:
                self.tasks[name].losses += 1
                self.tasks[name].state = "READY"
        return bool(held)

    def _timer(self, told: Told) -> bool:
        if not told.current or self.state in RUN_OVER:
            return False
        deadline = self.rules.deadline_ms
        if deadline and self.now >= deadline and self.state == "RUNNING":
            self.timed_out = True
            self._wind_up()
        for task in self.tasks.values():
            if task.state == "RETRY_WAIT" and task.due <= self.now:
                task.state = "READY"
        for name, task in self.tasks.items():
            if task.state != "RUNNING":
                continue
            if 0 <= self.cancelled_at <= self.now - self.rules.grace_ms:
                self._end(name, "CANCELLED")
            elif self.now >= task.heard + self.rules.heartbeat_ms:
                self._fail(name)
        return True

    # -- what follows ---------------------------------------------------------------------

    def _wind_up(self) -> None:
        self.state, self.cancelled_at = "CANCELLING", self.now
        for name, task in self.tasks.items():
            if task.state not in TERMINAL and task.state != "RUNNING":
                self._end(name, "CANCELLED")

    def _fail(self, name: str) -> None:
        task = self.tasks[name]
        if self.state != "RUNNING" or task.attempt - task.losses > self.rules.max_retries:
            self._end(name, "FAILED")
        elif self.rules.delay_ms:
            task.state, task.due = "RETRY_WAIT", self.now + self.rules.delay_ms
        else:
            task.state = "READY"

    def _end(self, name: str, state: str) -> None:
        self.tasks[name].state = state
        self._spread()

    def _spread(self) -> None:
        """Tell blocked tasks what became of their upstream, until nothing moves."""
        moved = True
        while moved:
            moved = False
            for name, task in self.tasks.items():
                after = self._unblocked(name) if task.state == "BLOCKED" else ""
                if after:
                    task.state, moved = after, True

    def _unblocked(self, name: str) -> str:
        states = {self.tasks[up].state for up in self.rules.upstream[name]}
        if states & {"FAILED", "SKIPPED"}:
            return "SKIPPED"
        if "CANCELLED" in states:
            return "CANCELLED"
        return "READY" if states <= {"SUCCEEDED"} else ""

    def _close(self) -> None:
        live = sum(task.state in ("DISPATCHED", "RUNNING") for task in self.tasks.values())
        for task in self.tasks.values():
            if self.state == "RUNNING" and task.state == "READY" and live < self.rules.window:
                task.state, task.attempt, live = "DISPATCHED", task.attempt + 1, live + 1
        states = {task.state for task in self.tasks.values()}
        if self.state in RUN_OVER or not states <= TERMINAL:
            return
        if self.timed_out:
            self.state = "TIMED_OUT"
        elif self.state == "CANCELLING" or "CANCELLED" in states:
            self.state = "CANCELLED"
        else:
            self.state = "FAILED" if "FAILED" in states else "SUCCEEDED"
