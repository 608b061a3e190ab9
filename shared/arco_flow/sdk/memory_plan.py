"""What a run in memory has to make: assets, partitions and the edges between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arco_flow.domain.errors import DefinitionError, InvalidInput
from arco_flow.domain.ids import short_task
from arco_flow.domain.partition_base import PartitionContext, require_key
from arco_flow.domain.partition_mappings import upstream_of
from arco_flow.domain.partition_sets import PartitionSet
from arco_flow.sdk.asset import Asset
from arco_flow.sdk.definitions import Definitions
from arco_flow.sdk.execution import may_be_absent
from arco_flow.sdk.resolve import UNFILLED

if TYPE_CHECKING:
    from arco_flow.domain.graph import AssetGraph
    from arco_flow.sdk.resolve import Dependency

Task = tuple[str, str]
"""(asset key, partition key), "" for what is not partitioned."""


class Given:
    """Values that stand for assets that are not run: of all partitions, or of single ones."""

    def __init__(self, given: Mapping[Any, object]) -> None:
        self.assets: list[Asset[..., Any]] = []
        self._names = {self._task(item): value for item, value in given.items()}
        self._values: dict[Task, object] = {}

    def bind(self, definitions: Definitions) -> None:
        """Resolve the names. Raises NotFound for one that is no asset."""
        for (name, partition), value in self._names.items():
            self._values[definitions.asset(name).key, partition] = value

    def covers(self, task: Task) -> bool:
        """Whether a value was given for a task."""
        return task in self._values or (task[0], "") in self._values

    def whole(self) -> set[str]:
        """Keys of assets of which no partition is to be run."""
        return {key for key, partition in self._values if not partition}

    def value(self, task: Task) -> object:
        """The given value; one of a single partition outweighs the asset's."""
        return self._values[task] if task in self._values else self._values[task[0], ""]

    def _task(self, item: object) -> Task:
        what, partition = item if isinstance(item, tuple) and len(item) == 2 else (item, "")
        if isinstance(what, Asset):
            self.assets.append(what)
            return what.key, str(partition)
        if isinstance(what, str):
            return what, str(partition)
        raise InvalidInput(
            f"given holds {item!r}, which is no asset",
            fix="given={the_asset: value}, or {(the_asset, '2026-01-31'): value}",
        )


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """tasks in the order of execution; inputs: upstream tasks by task and edge."""

    tasks: tuple[Task, ...]
    inputs: Mapping[Task, Mapping[Dependency, tuple[Task, ...]]]


def plan_in_memory(
    definitions: Definitions,
    selected: set[str],
    given: Given,
    partition_key: str | Mapping[str, str] | None,
    context: PartitionContext,
) -> MemoryPlan:
    """Start at the selected assets that no selected one reads, and ask upstream for partitions.

    Raises InvalidInput for a missing or unknown partition key, a partition that does not exist,
    and an input that is neither selected nor given.
    """
    planner = _Planner(definitions, selected, given, context)
    graph = _graph(definitions, selected)
    planner.demand_targets(graph.sinks(selected), partition_key)
    for key in reversed(graph.topological_order()):
        planner.demand_upstream_of(key)
    tasks = [
        (key, part) for key in graph.topological_order() for part in planner.partitions_of(key)
    ]
    return MemoryPlan(tuple(tasks), planner.inputs)


def _graph(definitions: Definitions, selected: set[str]) -> AssetGraph:
    try:
        return definitions.graph(selected)
    except DefinitionError as error:
        if error.reason != UNFILLED:
            raise
        raise DefinitionError(
            error.message,
            where=error.where,
            fix="list the upstream asset too, or give its value: given={the_asset: …}",
            reason="MISSING_GIVEN",
            details=error.details,
        ) from None


class _Planner:
    def __init__(
        self, definitions: Definitions, selected: set[str], given: Given, context: PartitionContext
    ) -> None:
        self.definitions = definitions
        self.selected = selected
        self.given = given
        self.context = context
        self.inputs: dict[Task, dict[Dependency, tuple[Task, ...]]] = {}
        self._demanded: dict[str, set[str]] = {}
        self._waiting: list[str] = []

    def partitions_of(self, key: str) -> list[str]:
        """The demanded partitions of an asset, in the order of its definition."""
        keys = self._demanded.get(key, set())
        return list(PartitionSet.of(self.definitions.asset(key).partitions, keys).keys())

    def demand_targets(
        self, targets: Iterable[str], partition_key: str | Mapping[str, str] | None
    ) -> None:
        is_used = partition_key is None
        for key in targets:
            asset = self.definitions.asset(key)
            if asset.partitions is None:
                self._demanded[key] = {""}
                continue
            self._demanded[key] = {_target_key(asset, partition_key, self.context)}
            is_used = True
        if not is_used:
            raise InvalidInput(
                f"partition_key={partition_key!r}, but nothing that is asked for is partitioned",
                fix="leave partition_key out, or give an asset partitions",
            )

    def demand_upstream_of(self, key: str) -> None:
        """What the demanded partitions of an asset read, its own earlier ones among them."""
        self._waiting = self.partitions_of(key)
        for partition in self._waiting:  # grows on the way
            self._demand_upstream((key, partition))

    def _demand_upstream(self, task: Task) -> None:
        asset = self.definitions.asset(task[0])
        found: dict[Dependency, tuple[Task, ...]] = {}
        for edge in self.definitions.dependencies(asset.key):
            upstream = self.definitions.asset(edge.upstream)
            if edge.upstream not in self.selected and not edge.parameter:
                continue  # order alone, after something that is not part of this run
            mapped = upstream_of(
                edge.mapping, asset.partitions, upstream.partitions, [task[1]], self.context
            )
            keys = (*mapped.existing.keys(), *mapped.nonexistent)
            tasks = tuple((edge.upstream, part) for part in keys)
            if mapped.nonexistent and not all(map(self.given.covers, tasks)):
                raise _nonexistent(task, edge, mapped.nonexistent)
            if edge.shape == "value" and edge.parameter:
                _require_one(asset, task, edge, len(tasks))
            self._demand(task, edge, tasks)
            found[edge] = tasks
        self.inputs[task] = found

    def _demand(self, reader: Task, edge: Dependency, tasks: Iterable[Task]) -> None:
        for task in tasks:
            if self.given.covers(task):
                continue
            if task[0] not in self.selected:
                raise InvalidInput(
                    f"'{short_task(*reader)}' needs '{short_task(*task)}' for its parameter "
                    f"'{edge.parameter}', which is neither run nor given",
                    where=str(self.definitions.asset(reader[0]).place),
                    fix=f"given={{{self.definitions.asset(task[0]).name}: …}}, or list the asset "
                    "so that it is run",
                    reason="MISSING_GIVEN",
                )
            demanded = self._demanded.setdefault(task[0], set())
            if task[0] == reader[0] and task[1] not in demanded:
                self._waiting.append(task[1])
            demanded.add(task[1])


def _target_key(
    asset: Asset[..., Any],
    partition_key: str | Mapping[str, str] | None,
    context: PartitionContext,
) -> str:
    definition = asset.partitions
    assert definition is not None  # by the caller
    if partition_key is None:
        example = definition.first(context) or "…"
        raise InvalidInput(
            f"asset '{asset.key}' is partitioned, and no partition_key is given",
            where=str(asset.place),
            fix=f"partition_key={example!r}",
            reason="MISSING_PARTITION_KEY",
        )
    try:
        if isinstance(partition_key, Mapping):
            join = getattr(definition, "join", None)
            if join is None:
                raise InvalidInput("has one dimension", fix="give the key as text")
            partition_key = str(join(partition_key))
        return require_key(definition, partition_key, context)
    except InvalidInput as error:
        raise InvalidInput(
            f"asset '{asset.key}': {error.message}",
            where=str(asset.place),
            fix=error.fix or "partitions exist once their time is over; now=… sets another time",
            reason="UNKNOWN_PARTITION",
        ) from None


def _nonexistent(task: Task, edge: Dependency, keys: tuple[str, ...]) -> InvalidInput:
    more = "" if len(keys) == 1 else f" and {len(keys) - 1} more"
    return InvalidInput(
        f"'{short_task(*task)}' reads '{short_task(edge.upstream, keys[0])}'{more}, which does "
        "not exist",
        fix="ask for a later partition, set now=…, or map with "
        "PartitionMapping.time_window(…, allow_nonexistent_upstream=True)",
        reason="UNKNOWN_PARTITION",
    )


def _require_one(asset: Asset[..., Any], task: Task, edge: Dependency, count: int) -> None:
    parameter = next(one for one in asset.parameters if one.name == edge.parameter)
    if count == 1 or (count == 0 and may_be_absent(parameter)):
        return
    raise InvalidInput(
        f"'{short_task(*task)}' has {count} partitions of '{edge.upstream}' to read for its "
        f"parameter '{edge.parameter}', it needs exactly one",
        fix="ask for a later partition, annotate it T | None, or take a window as Sequence[T]: "
        "upstream[-1:-1]",
        reason="INPUT_NOT_MATERIALIZED",
    )
