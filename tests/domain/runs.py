"""Small runs for tests: a manifest from edges, a plan, an opened run, and events of its tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from arco_flow.domain.decision import Decision
from arco_flow.domain.events import (
    Event,
    PlanCreated,
    RunCancelRequested,
    RunRequested,
    RunTriggered,
    TaskFinished,
    TaskHeartbeat,
    TaskStarted,
    TimerFired,
)
from arco_flow.domain.ids import Scope, attempt_id_of, dispatch_id_of
from arco_flow.domain.manifest import AssetSpec, DepSpec, Manifest
from arco_flow.domain.partition_base import PartitionContext
from arco_flow.domain.plan import PlanIndex, index_plan, plan_bytes, plan_id_of
from arco_flow.domain.planner import complete_plan, draft_plan
from arco_flow.domain.run import Run
from arco_flow.domain.run_decide import decide_run, new_run, open_run
from arco_flow.domain.targets import PartitionRequest
from arco_flow.domain.task import TaskState

SCOPE = Scope("acme", "main")
START_MS = 1_000_000


def manifest_of(edges: Mapping[str, Sequence[str]], **spec: Any) -> Manifest:
    """Assets `t.NAME` with value dependencies; keywords apply to all of them."""
    assets = [
        AssetSpec(key=f"t.{name}", deps=[DepSpec(asset=f"t.{up}", param=up) for up in ups], **spec)
        for name, ups in sorted(edges.items())
    ]
    return Manifest(code_version_id="cv_1", module="t", assets=assets)


def plan_of(manifest: Manifest, selection: str = "*") -> PlanIndex:
    """The indexed plan of a selection."""
    draft = draft_plan(manifest, selection, PartitionRequest(), PartitionContext(1_700_000_000))
    plan = complete_plan(draft, manifest, "sha256:m", SCOPE, {})
    return index_plan(plan, plan_id_of(plan_bytes(plan)), manifest)


class Story:
    """A run whose decisions are made one after the other, each checked for what always holds."""

    def __init__(self, plan: PlanIndex, **fields: Any) -> None:
        self.plan = plan
        self.now_ms = START_MS
        seed = new_run(
            plan,
            run_id="run_1",
            run_key="k",
            trigger="manual",
            actor="user:me",
            selection="*",
            tags={},
            fingerprint=plan.plan_id,
            created_ms=START_MS,
            **fields,
        )
        opening = (
            self.event("requested", RunRequested("k", "f", {})),
            self.event("triggered", RunTriggered("run_1", "k", "manual", "cv_1", "m")),
            self.event("planned", PlanCreated("p", len(plan.plan.tasks), "c", "f")),
        )
        self.decision: Decision[Run] = open_run(seed, plan, *opening)
        self.decisions = [self.decision]

    @property
    def run(self) -> Run:
        return self.decision.state

    @property
    def reasons(self) -> list[tuple[str, str]]:
        """(disposition, reason) of the inbound events of the last decision."""
        return [
            (e.disposition, e.reason) for e in self.decision.ledger if e.disposition != "derived"
        ]

    def event(self, event_id: str, data: Any) -> Event:
        return Event(event_id, self.now_ms, "acme:main:run:run_1", data, "test", "run_1")

    def fold(self, *events: Event) -> Decision[Run]:
        before = self.run
        self.decision = decide_run(before, self.plan, events, self.now_ms)
        self.decisions.append(self.decision)
        for old, new in zip(before.states, self.run.states, strict=True):
            if TaskState(old).is_terminal:
                assert old == new, "terminal is terminal"
        return self.decision

    def state(self, name: str) -> TaskState:
        return TaskState(self.run.states[self.plan.index_of[f"t.{name}"]])

    def states(self) -> dict[str, str]:
        return {
            short.removeprefix("t."): TaskState(state).name
            for short, state in zip(self.plan.shorts, self.run.states, strict=True)
        }

    def attempt_id(self, name: str, attempt: int) -> str:
        return attempt_id_of(dispatch_id_of("run_1", f"t.{name}", attempt))

    def started(self, name: str, attempt: int = 1, worker: str = "w1") -> Event:
        key = self.attempt_id(name, attempt)
        return self.event(f"{key}:started", TaskStarted(f"t.{name}", attempt, key, worker))

    def heartbeat(self, name: str, attempt: int = 1, worker: str = "w1") -> Event:
        key = self.attempt_id(name, attempt)
        return self.event(f"{key}:heartbeat", TaskHeartbeat(f"t.{name}", attempt, key, worker))

    def finished(
        self,
        name: str,
        outcome: str = "SUCCEEDED",
        attempt: int = 1,
        worker: str = "w1",
        **more: Any,
    ) -> Event:
        key = self.attempt_id(name, attempt)
        more.setdefault("digest", "ab" * 8 if outcome == "SUCCEEDED" else "cd" * 8)
        if outcome == "FAILED":
            more.setdefault("error", {"category": "USER_CODE", "message": "boom"})
        data = TaskFinished(f"t.{name}", attempt, key, worker, outcome, **more)
        return self.event(f"{key}:finished", data)

    def cancel(self, reason: str = "enough") -> Event:
        return self.event("cancel:run_1", RunCancelRequested(reason))

    def timer(self, generation: int | None = None) -> Event:
        number = self.run.timer_generation if generation is None else generation
        return self.event(f"timer:{number}", TimerFired(number))

    def fire_timer(self) -> Decision[Run]:
        """Let the armed timer fire at its time."""
        self.now_ms = max(self.now_ms, self.run.timer_ms)
        return self.fold(self.timer())

    def execute(self, *names: str) -> None:
        """Start and finish tasks with success."""
        for name in names:
            self.fold(self.started(name))
            self.fold(self.finished(name))
