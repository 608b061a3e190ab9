"""Assets in unit tests: no store, no server, no files.

    def test_revenue_of_a_day() -> None:
        got = materialize_to_memory([orders, revenue], partition_key="2026-11-20",
                                    resources=[Shop(url="test://")])
        assert got.ok and got[revenue] == 42.0

An asset is a function: `revenue([…])` calls it. `build_context()` makes the context it may want.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

from arco_flow.domain.errors import DefinitionError, InvalidInput, NotFound
from arco_flow.domain.partition_base import PartitionContext, PartitionsDefinition
from arco_flow.sdk.asset import Asset, asset
from arco_flow.sdk.context import AssetContext
from arco_flow.sdk.definitions import Definitions
from arco_flow.sdk.edges import OutEdge, WindowEdge
from arco_flow.sdk.execution import CheckOutcome
from arco_flow.sdk.memory_plan import Given, plan_in_memory
from arco_flow.sdk.memory_run import LogCapture, MemoryRun, MemoryRuntime, TaskResult
from arco_flow.sdk.resource_set import ResourceSet

if TYPE_CHECKING:
    from arco_flow.sdk.resource import Resource

__all__ = [
    "CheckOutcome",
    "MemoryRuntime",
    "Result",
    "TaskResult",
    "build_context",
    "materialize_to_memory",
]

R = TypeVar("R")


class Result:
    """What a run in memory made.

    tasks: every task with status, value, checks, metadata and error, in the order of execution.
    logs: messages that assets logged, secrets blotted out.
    """

    def __init__(self, tasks: Sequence[TaskResult], logs: Sequence[str]) -> None:
        self.tasks = list(tasks)
        self.logs = list(logs)

    @property
    def ok(self) -> bool:
        """Whether every task succeeded; a failed blocking check of severity "error" fails one."""
        return all(task.status == "SUCCEEDED" for task in self.tasks)

    @property
    def order(self) -> list[str]:
        """`asset[partition]` of the tasks that ran, in order."""
        return [task.name for task in self.tasks if task.status != "SKIPPED"]

    @property
    def checks(self) -> list[CheckOutcome]:
        """The outcomes of all checks, in the order of execution."""
        return [check for task in self.tasks for check in task.checks]

    def __getitem__(self, wanted: Asset[..., R]) -> R:
        """The asset's value. Raises NotFound when it was not made, InvalidInput when several
        partitions were: see partitions()."""
        values = self.partitions(wanted)
        if len(values) > 1:
            raise InvalidInput(
                f"{len(values)} partitions of '{wanted.key}' were made: {', '.join(values)}",
                fix=f"result.partitions({wanted.name})['{next(iter(values))}']",
            )
        return next(iter(values.values()))

    def partitions(self, wanted: Asset[..., R]) -> dict[str, R]:
        """The asset's values by partition key; of an asset without partitions the key is "".

        Raises NotFound when none was made, saying what became of it.
        """
        found = [task for task in self.tasks if task.asset == wanted.key]
        values = {task.partition: cast("R", task.value) for task in found if _has_value(task)}
        if not values:
            became = ", ".join(f"{task.name} {task.status}" for task in found)
            raise NotFound(
                f"'{wanted.key}' was not made: {became or 'it was not part of the run'}",
                fix="result.tasks says what happened to each task",
            )
        return values

    def metadata(self, wanted: Asset[..., Any]) -> dict[str, object]:
        """What the asset reported, of all its partitions; later ones win."""
        found: dict[str, object] = {}
        for task in self.tasks:
            if task.asset == wanted.key:
                found.update(task.metadata)
        return found

    def __repr__(self) -> str:
        return f"<result of {len(self.tasks)} tasks, {'ok' if self.ok else 'not ok'}>"


def _has_value(task: TaskResult) -> bool:
    # a version behind a failed blocking check is kept apart, but can be looked at
    return task.status == "SUCCEEDED" or (task.status == "FAILED" and task.error is None)


def materialize_to_memory(
    assets: Asset[..., Any] | Iterable[Asset[..., Any]] | Definitions,
    *,
    selection: str | Asset[..., Any] | Iterable[str | Asset[..., Any]] | None = None,
    partition_key: str | Mapping[str, str] | None = None,
    given: Mapping[Any, object] | None = None,
    resources: Iterable[Resource] = (),
    tags: Mapping[str, str] | None = None,
    now: datetime | None = None,
    dynamic: Mapping[str, Sequence[str]] | None = None,
    raise_on_error: bool = True,
) -> Result:
    """Run assets in this process, each after its upstream, values handed over in memory.

    selection: which of them to run, by default all; assets, keys, or an expression such as
    `"+sales.revenue"`. The selected assets that no other selected one reads are made for
    `partition_key`; upstream of them whatever partitions their mappings ask for. A value reaches
    its readers as their annotations ask, as if they had loaded it; no file is written.
    given: values instead of running: {asset: value} for all its partitions,
    {(asset, partition): value} for one; what no file could hold (a mock) is given as it is.
    resources outweigh those of the definitions.
    now decides which time partitions exist, dynamic which dynamic ones (by definition's name).
    raise_on_error False keeps an asset's exception in the result. Nothing is retried.

    Raises DefinitionError for wrong definitions, InvalidInput for a missing or unknown partition
    and for an input that is neither run nor given, and for a value that its IO would refuse.
    """
    values = Given(given or {})
    listed = _listed(assets)
    found = Definitions(_with_upstream([*listed.assets, *values.assets]))
    values.bind(found)
    listed_keys = {item.key for item in listed.assets} - values.whole()
    chosen = _selected(selection, found, listed_keys) - values.whole()
    context = PartitionContext(now or datetime.now(UTC), dynamic or {})
    plan = plan_in_memory(found, chosen, values, partition_key, context)
    with LogCapture() as logs, _resources(listed, resources) as opened:
        run = MemoryRun(found, plan, values, opened, tags or {}, raises=raise_on_error)
        run.run()
    return Result(list(run.results.values()), logs.messages)


def _listed(assets: Asset[..., Any] | Iterable[Asset[..., Any]] | Definitions) -> Definitions:
    if isinstance(assets, Definitions):
        return assets
    return Definitions([assets] if isinstance(assets, Asset) else assets)


def _with_upstream(assets: Iterable[Asset[..., Any]]) -> list[Asset[..., Any]]:
    """The assets and what their typed edges and deps name, so that all edges can be resolved."""
    found: dict[int, Asset[..., Any]] = {}
    waiting = list(assets)
    while waiting:
        item = waiting.pop()
        if id(item) in found:
            continue
        found[id(item)] = item
        edges = (parameter.edge for parameter in item.parameters)
        waiting += [edge.asset for edge in edges if isinstance(edge, OutEdge | WindowEdge)]
        waiting += [dep for dep in item.options.deps if isinstance(dep, Asset)]
    return list(found.values())


def _selected(
    selection: str | Asset[..., Any] | Iterable[str | Asset[..., Any]] | None,
    found: Definitions,
    listed: set[str],
) -> set[str]:
    if selection is None:
        return listed
    if isinstance(selection, Asset):
        return {selection.key}
    if isinstance(selection, str):
        return _select(selection, found, listed)
    return {item.key if isinstance(item, Asset) else found.asset(item).key for item in selection}


def _select(expression: str, found: Definitions, listed: set[str]) -> set[str]:
    from arco_flow.domain.selection import AssetAttributes, select

    named = [item.key for item in found.assets if expression in (item.key, item.name)]
    if len(named) == 1:
        return set(named)
    attributes = {
        item.key: AssetAttributes(
            group=item.options.group,
            tags=item.options.tags,
            kinds=frozenset(item.options.kinds),
            owners=frozenset(item.options.owners),
        )
        for item in found.assets
    }
    return set(select(expression, found.graph(listed), attributes))


def _resources(listed: Definitions, resources: Iterable[Resource]) -> ResourceSet:
    own = list(resources)
    named = {type(resource) for resource in own}
    return ResourceSet([*own, *(one for one in listed.resources if type(one) not in named)])


def build_context(
    for_asset: Asset[..., Any] | None = None,
    *,
    partition_key: str | Mapping[str, str] | None = None,
    partitions: PartitionsDefinition | None = None,
    run_id: str = "run_in_memory",
    attempt: int = 1,
    retry_number: int = 0,
    run_tags: Mapping[str, str] | None = None,
    runtime: MemoryRuntime | None = None,
) -> AssetContext:
    """A context for calling an asset's function directly.

    partitions: how the partition key is to be read, by default as `for_asset` is partitioned.
    runtime: keeps outputs and progress, and can play a cancelled run.
    Raises DefinitionError for a key of several dimensions without their definition.
    """
    target = for_asset or asset(key="test.asset", partitions=partitions)(_nothing)
    key = partition_key or ""
    if isinstance(key, Mapping):
        join = getattr(target.partitions, "join", None)
        if join is None:
            raise DefinitionError(
                f"partition_key={partition_key!r} has dimensions, its definition has none",
                fix="build_context(partitions=MultiPartitions({…}), …)",
            )
        key = str(join(key))
    return AssetContext(
        target,
        runtime or MemoryRuntime(),
        run_id=run_id,
        partition_key=key,
        attempt=attempt,
        retry_number=retry_number,
        run_tags=run_tags,
    )


def _nothing() -> None:
    """Stands for the asset of a context that belongs to none."""
