"""The life of a run, as a table, and the packed state of one run."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from arco_flow.domain.errors import Conflict, TooLarge
from arco_flow.domain.stored_forms import read_stored
from arco_flow.domain.task import TaskState


class RunState(StrEnum):
    """States of a run."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing can happen to the run any more."""
        return self in _TERMINAL


_TERMINAL = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED, RunState.TIMED_OUT})


class RunStimulus(StrEnum):
    """What can happen to a run."""

    ADMITTED = "admitted"
    """Its plan stands and it may dispatch."""
    CANCEL_REQUESTED = "cancel_requested"
    DEADLINE_PASSED = "deadline_passed"
    """The run's own time-out: it is wound up like a cancelled run."""
    ALL_SUCCEEDED = "all_succeeded"
    SOME_FAILED = "some_failed"
    """All tasks are over and at least one failed; none was cancelled."""
    SOME_CANCELLED = "some_cancelled"
    """All tasks are over and at least one was cancelled."""
    WOUND_UP_AFTER_TIMEOUT = "wound_up_after_timeout"


_S = RunState
_E = RunStimulus

RUN_TRANSITIONS: dict[tuple[RunState, RunStimulus], RunState] = {
    (_S.QUEUED, _E.ADMITTED): _S.RUNNING,
    (_S.QUEUED, _E.CANCEL_REQUESTED): _S.CANCELLING,
    (_S.QUEUED, _E.DEADLINE_PASSED): _S.CANCELLING,
    (_S.RUNNING, _E.CANCEL_REQUESTED): _S.CANCELLING,
    (_S.RUNNING, _E.DEADLINE_PASSED): _S.CANCELLING,
    (_S.RUNNING, _E.ALL_SUCCEEDED): _S.SUCCEEDED,
    (_S.RUNNING, _E.SOME_FAILED): _S.FAILED,
    (_S.RUNNING, _E.SOME_CANCELLED): _S.CANCELLED,
    (_S.CANCELLING, _E.SOME_CANCELLED): _S.CANCELLED,
    (_S.CANCELLING, _E.WOUND_UP_AFTER_TIMEOUT): _S.TIMED_OUT,
}
"""(state, stimulus) -> next state; a pair that is absent is refused."""


def next_run_state(state: RunState, stimulus: RunStimulus) -> RunState:
    """The state after a stimulus. Raises Conflict for a pair that the table does not hold."""
    after = RUN_TRANSITIONS.get((state, stimulus))
    if after is None:
        raise Conflict(
            f"a {state.value} run can not take '{stimulus.value}'",
            reason="INVALID_RUN_TRANSITION",
            details={"state": state.value, "stimulus": stimulus.value},
        )
    return after


class Live(msgspec.Struct, frozen=True, array_like=True):
    """What is known of an attempt that is dispatched or running. Times are store times."""

    dispatched_ms: int
    generation: int = 0
    worker_id: str = ""
    started_ms: int = 0
    heartbeat_ms: int = 0
    progress_pct: int | None = None
    message: str = ""


class Run(msgspec.Struct, frozen=True, array_like=True):
    """The whole state of one run, packed into its head.

    Per task and by index of the plan: states (one byte each, TaskState), attempts (one byte:
    number of the current or last attempt, 0 before the first), waiting (upstreams not yet
    succeeded), started_ms and ended_ms (since created_ms; -1 = not), digests (8 bytes each: of
    the last accepted completion). Sparse: live (attempts in flight), retry_due (index -> time),
    blamed (skipped or cancelled index -> index of the upstream that caused it), losses (index
    -> attempts that were lost by the plane itself and cost no retry). traceparent: of the request.
    """

    run_id: str
    run_key: str
    state: str
    trigger: str
    actor: str
    selection: str
    tags: dict[str, str]
    plan_id: str
    manifest_id: str
    code_version_id: str
    catalog_snapshot_id: str
    fingerprint: str
    created_ms: int
    states: bytes
    attempts: bytes
    waiting: list[int]
    started_ms: list[int]
    ended_ms: list[int]
    digests: bytes
    live: dict[int, Live] = {}
    retry_due: dict[int, int] = {}
    blamed: dict[int, int] = {}
    run_started_ms: int = 0
    run_ended_ms: int = 0
    cancel_requested_ms: int = 0
    cancel_reason: str = ""
    timed_out: bool = False
    deadline_ms: int = 0
    timer_generation: int = 0
    timer_ms: int = 0
    max_in_flight: int = 200
    cancel_grace_ms: int = 30_000
    version: int = 0
    losses: dict[int, int] = {}
    traceparent: str = ""

    @property
    def is_terminal(self) -> bool:
        """Whether the run is over."""
        return RunState(self.state).is_terminal

    def task_counts(self) -> dict[str, int]:
        """Number of tasks by state name, only those that occur."""
        counts = ((s.name, self.states.count(s.value)) for s in TaskState)
        return {name: count for name, count in counts if count}


MAX_STATE_BYTES = 700 * 1024
"""Limit of the packed state: heads are one document of at most 1 MiB, with room for debts."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Run)


def encode_run(run: Run) -> bytes:
    """Pack. Raises TooLarge over MAX_STATE_BYTES."""
    packed = _encoder.encode(run)
    if len(packed) > MAX_STATE_BYTES:
        raise TooLarge(
            f"the state of run {run.run_id} would take {len(packed)} bytes "
            f"(at most {MAX_STATE_BYTES})",
            fix="split the selection or the partitions over several runs",
        )
    return packed


def decode_run(packed: bytes) -> Run:
    """Unpack. Raises Unavailable when the bytes are no packed run."""
    return read_stored(_decoder, packed, "the state of a run")
