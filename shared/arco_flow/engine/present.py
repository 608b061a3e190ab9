"""From states to the views that people and programs see."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from arco_flow.domain.decision import APPLIED, Segment
from arco_flow.domain.events import TaskFinished, TaskHeartbeat, TaskStateChanged
from arco_flow.domain.ids import Scope, attempt_id_of, dispatch_id_of, task_key_of
from arco_flow.domain.plan import PlanIndex
from arco_flow.domain.run import Live, Run
from arco_flow.domain.stamps import rfc3339
from arco_flow.domain.task import TaskState
from arco_flow.engine.views import FailedAttempt, PlannedTask, PlanView, RunView, TaskView


def stamp(time_ms: int) -> str:
    """RFC 3339 UTC with milliseconds; "" for 0."""
    return rfc3339(time_ms) if time_ms else ""


def plan_view(plan: PlanIndex, left_out: Sequence[str] = ()) -> PlanView:
    """A plan with names instead of indices."""
    return PlanView(
        plan_id=plan.plan_id,
        fingerprint=plan.plan_id,
        manifest_id=plan.plan.manifest_id,
        code_version_id=plan.plan.code_version_id,
        catalog_snapshot_id=plan.plan.catalog_snapshot_id,
        task_count=len(plan.plan.tasks),
        tasks=[
            PlannedTask(
                task=short,
                task_key=task_key_of(plan.specs[task.asset].key, task.partition),
                asset=plan.specs[task.asset].key,
                partition=task.name,
                upstream=[plan.shorts[i] for i in plan.upstream[index]],
            )
            for index, (short, task) in enumerate(zip(plan.shorts, plan.plan.tasks, strict=True))
        ],
        left_out=list(left_out),
    )


def run_view(scope: Scope, run: Run, tasks: list[TaskView]) -> RunView:
    """A run; `tasks` may be empty."""
    return RunView(
        name=f"workspaces/{scope.workspace}/runs/{run.run_id}",
        run_id=run.run_id,
        run_key=run.run_key,
        state=run.state,
        reason=run.cancel_reason,
        trigger=run.trigger,
        actor=run.actor,
        selection=run.selection,
        tags=run.tags,
        plan_id=run.plan_id,
        manifest_id=run.manifest_id,
        code_version_id=run.code_version_id,
        catalog_snapshot_id=run.catalog_snapshot_id,
        task_counts=run.task_counts(),
        task_total=len(run.states),
        create_time=stamp(run.created_ms),
        start_time=stamp(run.run_started_ms),
        end_time=stamp(run.run_ended_ms),
        version=run.version,
        tasks=tasks,
    )


class RunDetails:
    """What the ledger knows beyond the packed state: reasons, failures, accepted completions.

    version: of the last segment taken in; a follower of a run reads only what came since.
    heartbeats: those that wait to be folded, so that progress is shown as it is reported.
    """

    def __init__(self) -> None:
        self.version = 0
        self.heartbeats: dict[tuple[str, int], TaskHeartbeat] = {}
        self.reasons: dict[str, str] = {}
        self.finished: dict[str, TaskFinished] = {}
        self.failed: dict[str, list[FailedAttempt]] = {}

    def take_in(self, segments: Sequence[Segment], heartbeats: Sequence[TaskHeartbeat]) -> None:
        """Add segments in order; one that is known already changes nothing."""
        self.heartbeats = {(beat.task, beat.attempt): beat for beat in heartbeats}
        for segment in segments:
            if segment.version > self.version:
                self.version = segment.version
                self._take_in(segment)

    def _take_in(self, segment: Segment) -> None:
        for entry in segment.entries:
            data = entry.event.data
            if isinstance(data, TaskStateChanged):
                self.reasons[data.task] = data.reason
                if data.after == TaskState.RETRY_WAIT.name:
                    failed = FailedAttempt(attempt=data.attempt, reason=data.reason)
                    self.failed.setdefault(data.task, []).append(failed)
            elif isinstance(data, TaskFinished) and entry.disposition == APPLIED:
                self.finished[data.task] = data


_IDLE = Live(dispatched_ms=0)


def task_views(run: Run, plan: PlanIndex, details: RunDetails) -> list[TaskView]:
    """Every task of a run, in plan order."""
    return [_task_view(run, plan, index, details) for index in range(len(run.states))]


def _task_view(run: Run, plan: PlanIndex, index: int, details: RunDetails) -> TaskView:
    short, task = plan.shorts[index], plan.plan.tasks[index]
    attempt = run.attempts[index]
    live = _heard(run.live.get(index, _IDLE), details.heartbeats.get((short, attempt)))
    finished = details.finished.get(short)
    current = finished if finished and finished.attempt == attempt else None
    return TaskView(
        task=short,
        asset=plan.specs[task.asset].key,
        partition=task.name,
        state=TaskState(run.states[index]).name,
        attempt=attempt,
        attempt_id=attempt_id_of(dispatch_id_of(run.run_id, short, attempt)) if attempt else "",
        reason=details.reasons.get(short, ""),
        start_time=_offset(run, run.started_ms[index]),
        end_time=_offset(run, run.ended_ms[index]),
        retry_time=stamp(run.retry_due.get(index, 0)),
        progress_pct=live.progress_pct,
        message=live.message,
        error=current.error if current else None,
        output=current.output if current else None,
        checks=list(current.checks or []) if current else [],
        upstream=[plan.shorts[i] for i in plan.upstream[index]],
        worker_id=live.worker_id or (finished.worker_id if finished else ""),
        failed_attempts=details.failed.get(short, []),
    )


def _heard(live: Live, beat: TaskHeartbeat | None) -> Live:
    """What is known of an attempt, with the progress that it reported last."""
    if beat is None or beat.worker_id != live.worker_id:
        return live
    percent = live.progress_pct if beat.progress_pct is None else beat.progress_pct
    message = beat.message or live.message
    return msgspec.structs.replace(live, progress_pct=percent, message=message)


def _offset(run: Run, since_created_ms: int) -> str:
    return stamp(run.created_ms + since_created_ms) if since_created_ms >= 0 else ""
