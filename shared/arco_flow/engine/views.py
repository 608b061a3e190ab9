"""Requests and answers of the use cases, as the API and the CLI show them (camelCase JSON).

Times are RFC 3339 UTC with milliseconds and a Z, or "" when they did not happen yet.
"""

from __future__ import annotations

from typing import Any

import msgspec


class View(msgspec.Struct, rename="camel", kw_only=True, frozen=True):
    """Base of all answers."""


class PartitionRange(View, frozen=True, rename="camel", kw_only=True):
    """An inclusive range of partition names."""

    start: str
    end: str


class RunSpec(View, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """What a caller asks for.

    selection: expression of the selection language ("*" = everything).
    partitions: names; partition_range: inclusive; all_partitions: each existing one. At most
    one of the three; none is needed when no selected asset is partitioned.
    run_key: idempotency key, "" = a fresh one. timeout_ms: of the whole run, 0 = none.
    missing_only: leave out partitions that have a current version.
    """

    selection: str
    partitions: list[str] = []
    partition_range: PartitionRange | None = None
    all_partitions: bool = False
    missing_only: bool = False
    run_key: str = ""
    tags: dict[str, str] = {}
    timeout_ms: int = 0
    trigger: str = "manual"


class RunAccepted(View, frozen=True, rename="camel", kw_only=True):
    """Answer to a run request; created is False when the run key named an existing run.

    left_out: selected assets that have none of the named partitions.
    """

    run_id: str
    run_key: str
    created: bool
    state: str
    plan_id: str
    fingerprint: str
    task_count: int
    code_version_id: str
    catalog_snapshot_id: str
    create_time: str
    left_out: list[str] = []


class PlannedTask(View, frozen=True, rename="camel", kw_only=True):
    """One task of a plan; upstream holds task short names.

    task_key: canonical JSON of asset, partition and operation: what the task is, in any run.
    """

    task: str
    task_key: str
    asset: str
    partition: str
    upstream: list[str]


class PlanView(View, frozen=True, rename="camel", kw_only=True):
    """A plan, as a dry run or a look at a run shows it."""

    plan_id: str
    fingerprint: str
    manifest_id: str
    code_version_id: str
    catalog_snapshot_id: str
    task_count: int
    tasks: list[PlannedTask]
    left_out: list[str] = []


class AttemptView(View, frozen=True, rename="camel", kw_only=True):
    """One attempt of a task; outcome "" while it goes on."""

    attempt: int
    attempt_id: str
    worker_id: str
    start_time: str
    end_time: str
    outcome: str
    error: dict[str, Any] | None = None


class FailedAttempt(View, frozen=True, rename="camel", kw_only=True):
    """An attempt after which the task was tried again. reason: `CATEGORY: message`, shortened."""

    attempt: int
    reason: str


class TaskView(View, frozen=True, rename="camel", kw_only=True):
    """One task of a run. state: BLOCKED, READY, DISPATCHED, RUNNING, RETRY_WAIT, SUCCEEDED,
    FAILED, SKIPPED or CANCELLED; reason says why (a skipped task names the upstream).

    error: of the attempt that `attempt` counts. failed_attempts: what went wrong in those before
    it; while the task waits for its retry also the one that failed last.
    """

    task: str
    asset: str
    partition: str
    state: str
    attempt: int
    attempt_id: str
    reason: str
    start_time: str
    end_time: str
    retry_time: str
    progress_pct: int | None
    message: str
    error: dict[str, Any] | None
    output: dict[str, Any] | None
    checks: list[dict[str, Any]]
    upstream: list[str]
    worker_id: str = ""
    failed_attempts: list[FailedAttempt] = []


class RunView(View, frozen=True, rename="camel", kw_only=True):
    """A run. state: QUEUED, RUNNING, CANCELLING, SUCCEEDED, FAILED, CANCELLED or TIMED_OUT.

    task_counts: by task state. tasks is empty in lists.
    """

    name: str
    run_id: str
    run_key: str
    state: str
    reason: str
    trigger: str
    actor: str
    selection: str
    tags: dict[str, str]
    plan_id: str
    manifest_id: str
    code_version_id: str
    catalog_snapshot_id: str
    task_counts: dict[str, int]
    task_total: int
    create_time: str
    start_time: str
    end_time: str
    version: int
    tasks: list[TaskView] = []


class RunPage(View, frozen=True, rename="camel", kw_only=True):
    """A page of runs, newest first; next_page_token "" = the end."""

    runs: list[RunView]
    next_page_token: str = ""


class EventView(View, frozen=True, rename="camel", kw_only=True):
    """One ledger line: a CloudEvent, its place (version, index) and its disposition."""

    version: int
    index: int
    disposition: str
    reason: str
    event: dict[str, Any]


class EventPage(View, frozen=True, rename="camel", kw_only=True):
    """Ledger lines in causal order."""

    events: list[EventView]
    next_page_token: str = ""


class LogLine(View, frozen=True, rename="camel", kw_only=True):
    """One captured line. stream: stdout, stderr or log; level for log lines.

    stream "error": how a failed attempt ended, after its last line: the message with the stack
    trace of user code where there is one, level ERROR, seq 0.
    """

    task: str
    attempt: int
    attempt_id: str
    seq: int
    time: str
    stream: str
    level: str
    message: str


class LogPage(View, frozen=True, rename="camel", kw_only=True):
    """Log lines in order; next_page_token continues, also while the run goes on."""

    lines: list[LogLine]
    next_page_token: str = ""
    complete: bool = False


class AssetView(View, frozen=True, rename="camel", kw_only=True):
    """An asset of the current deployment with what the catalog knows of it."""

    name: str
    key: str
    kind: str
    group: str
    description: str
    owners: list[str]
    kinds: list[str]
    tags: dict[str, str]
    metadata: dict[str, Any]
    code_version: str
    partitions: str
    partition_count: int | None
    materialized_count: int
    upstream: list[str]
    downstream: list[str]
    checks: list[dict[str, Any]]
    last_materialization: dict[str, Any] | None


class AssetPage(View, frozen=True, rename="camel", kw_only=True):
    """Assets, upstream first; next_page_token continues."""

    assets: list[AssetView]
    next_page_token: str = ""


class PartitionView(View, frozen=True, rename="camel", kw_only=True):
    """One partition of an asset. state: MISSING, MATERIALIZED or STALE (made by other code)."""

    partition: str
    state: str
    run_id: str
    attempt_id: str
    promotion: int
    update_time: str
    output: dict[str, Any] | None


class PartitionPage(View, frozen=True, rename="camel", kw_only=True):
    """Partitions in order."""

    partitions: list[PartitionView]
    next_page_token: str = ""


class DeployOutcome(View, frozen=True, rename="camel", kw_only=True):
    """What a deployment changed (or would change, when dry_run).

    revision: of what is current then; see DeploymentView.
    stale_partitions: per asset whose code, deps or partitions changed, the number of
    materialized partitions that were made by what is no longer deployed.
    """

    manifest_id: str
    code_version_id: str
    deployment: int
    dry_run: bool
    unchanged: bool
    asset_count: int
    added: list[str]
    changed: dict[str, list[str]]
    removed: list[str]
    stale_partitions: dict[str, int]
    create_time: str
    revision: int = 0


class DeploymentView(View, frozen=True, rename="camel", kw_only=True):
    """The current deployment. revision: grows with each deployment, also of the same code, that
    names what it replaces; the next one names this."""

    manifest_id: str
    code_version_id: str
    deployment: int
    asset_count: int
    module: str
    location: dict[str, str]
    create_time: str
    revision: int = 0
