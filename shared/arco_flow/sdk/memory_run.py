"""Running a plan in this process and keeping the values in memory."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from arco_flow.domain.ids import short_task
from arco_flow.io.base import ValueRefused
from arco_flow.io.convert import convert_value
from arco_flow.sdk.context import AssetContext
from arco_flow.sdk.execution import (
    CheckOutcome,
    bind_arguments,
    collect_input,
    input_annotation,
    output_io,
    refuse_second_output,
    run_asset,
    run_checks,
)
from arco_flow.sdk.logs import ASSET_LOGGER
from arco_flow.sdk.memory_plan import Given, MemoryPlan, Task
from arco_flow.sdk.resource_set import ResourceSet

if TYPE_CHECKING:
    from arco_flow.io.base import IO
    from arco_flow.sdk.asset import Asset
    from arco_flow.sdk.definitions import Definitions
    from arco_flow.sdk.resolve import Dependency


class MemoryRuntime:
    """Stands behind a context in tests; keeps what the function says instead of sending it.

    saved: values given to context.output(). progress: (percent, message) in order.
    cancelled: set it to make `context.cancelled` true.
    """

    def __init__(self) -> None:
        self.saved: list[object] = []
        self.progress: list[tuple[int | None, str]] = []
        self.cancelled = False

    def save_output(self, value: object, io: str | IO | None) -> None:  # noqa: ARG002 - no store
        """Keep the value; no IO is involved."""
        self.saved.append(value)

    def set_progress(self, pct: int | None, message: str) -> None:
        """Keep the report."""
        self.progress.append((pct, message))

    def is_cancelled(self) -> bool:
        """What `cancelled` was set to."""
        return self.cancelled


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What became of one task.

    status: "SUCCEEDED", "FAILED" (error says why; a blocking check leaves it None) or "SKIPPED"
    (something upstream failed).
    """

    asset: str
    partition: str
    status: str
    value: object = None
    checks: tuple[CheckOutcome, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)
    error: BaseException | None = None

    @property
    def name(self) -> str:
        """`asset[partition]`."""
        return short_task(self.asset, self.partition)


class LogCapture(logging.Handler):
    """Keeps the messages of assets' loggers while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        self.messages.append(record.getMessage())

    def __enter__(self) -> LogCapture:
        logging.getLogger(ASSET_LOGGER).addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger(ASSET_LOGGER).removeHandler(self)


class MemoryRun:
    """One run: every task in order, each with the values of its inputs."""

    def __init__(
        self,
        definitions: Definitions,
        plan: MemoryPlan,
        given: Given,
        resources: ResourceSet,
        tags: Mapping[str, str],
        *,
        raises: bool,
    ) -> None:
        self._definitions = definitions
        self._plan = plan
        self._given = given
        self._resources = resources
        self._tags = tags
        self._raises = raises
        self.results: dict[Task, TaskResult] = {}

    def run(self) -> None:
        """Run all tasks. Raises what an asset raises, with a note naming it, if so asked."""
        for task in self._plan.tasks:
            self.results[task] = self._run_task(task)

    def _run_task(self, task: Task) -> TaskResult:
        edges = self._plan.inputs[task]
        upstream = [self.results[one] for ones in edges.values() for one in ones
                    if one in self.results]  # fmt: skip
        if any(result.status != "SUCCEEDED" for result in upstream):
            return TaskResult(*task, "SKIPPED")
        runtime = MemoryRuntime()
        context = self._context(task, runtime)
        try:
            return self._execute(task, edges, context, runtime)
        except Exception as error:
            if self._raises:
                error.add_note(f"while running '{short_task(*task)}'")
                raise
            return TaskResult(*task, "FAILED", metadata=context.metadata, error=error)

    def _execute(
        self,
        task: Task,
        edges: Mapping[Dependency, tuple[Task, ...]],
        context: AssetContext,
        runtime: MemoryRuntime,
    ) -> TaskResult:
        asset = self._definitions.asset(task[0])
        inputs: dict[str, object] = {}
        for edge, tasks in edges.items():
            if edge.parameter:
                inputs.update(self._input(asset, edge, tasks))
        arguments = bind_arguments(asset, context, inputs, self._resources)
        value = run_asset(asset, arguments)
        if runtime.saved:
            refuse_second_output(asset, value)
            value = runtime.saved[-1]
        checks = tuple(run_checks(asset, value, context))
        status = "FAILED" if any(check.blocks for check in checks) else "SUCCEEDED"
        return TaskResult(*task, status, value, checks, context.metadata)

    def _input(
        self, asset: Asset[..., Any], edge: Dependency, tasks: tuple[Task, ...]
    ) -> dict[str, object]:
        type_ = input_annotation(asset, edge.parameter, edge.shape)
        values = {task[1]: self._value(task, type_) for task in tasks}
        return collect_input(asset, edge.parameter, edge.shape, values, edge.upstream)

    def _value(self, task: Task, type_: object) -> object:
        """The value as a reader annotated so would load it."""
        upstream, found = self._definitions.asset(task[0]), self.results.get(task)
        if found is not None:
            return convert_value(found.value, type_, asset=upstream.key, io=output_io(upstream))
        value = self._given.value(task)
        try:
            return convert_value(value, type_, asset=upstream.key, io=output_io(upstream))
        except ValueRefused:
            # A test may give what stands for the value: a mock, a stub.
            return value

    def _context(self, task: Task, runtime: MemoryRuntime) -> AssetContext:
        return AssetContext(
            self._definitions.asset(task[0]),
            runtime,
            run_id="run_in_memory",
            partition_key=task[1],
            run_tags=self._tags,
            attempt_id=f"att_{short_task(*task)}",
        )
