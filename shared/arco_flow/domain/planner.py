"""From manifest, selection, partitions and a catalog snapshot to a plan: pure and repeatable.

In two steps, because the catalog is read in between: `draft_plan` finds the tasks, their edges
and which versions outside the run they need; `complete_plan` binds those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.ids import Scope, short_task
from arco_flow.domain.manifest import AssetSpec, DepSpec, Manifest
from arco_flow.domain.partition_base import PartitionContext, PartitionsDefinition
from arco_flow.domain.partition_mappings import (
    PartitionMapping,
    infer_mapping,
    mapping_from_wire,
    upstream_of,
)
from arco_flow.domain.partitions import partitions_from_wire
from arco_flow.domain.plan import Edge, Pin, Plan, PlanTask
from arco_flow.domain.selection import AssetAttributes, select
from arco_flow.domain.targets import (
    PartitionRequest,
    check_count,
    in_order,
    resolve_targets,
)
from arco_flow.domain.wire import canonical_json, sha256_hex

Version = tuple[str, str]
"""(asset key, canonical partition): where a current version is looked up."""


@dataclass(frozen=True, slots=True)
class PlanDraft:
    """Tasks and edges; `external` holds what the pins of the edges will be bound to.

    left_out: selected assets that have none of the named partitions.
    """

    assets: tuple[str, ...]
    tasks: tuple[PlanTask, ...]
    external: tuple[Pin, ...]
    needed_by: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def attributes_of(manifest: Manifest) -> dict[str, AssetAttributes]:
    """What the selection language sees of the assets."""
    return {
        spec.key: AssetAttributes(
            group=spec.group,
            tags=spec.tags,
            kinds=frozenset(spec.kinds),
            owners=frozenset(spec.owners),
            partitions=_partitions_word(spec.partitions),
        )
        for spec in manifest.assets
    }


def _partitions_word(wire: Mapping[str, Any] | None) -> Any:
    kind = wire["kind"] if wire else "none"
    return kind if kind in ("none", "static", "dynamic", "multi") else "time"


def select_assets(manifest: Manifest, selection: str) -> tuple[str, ...]:
    """Keys of a selection in topological order. Raises InvalidInput when none matches."""
    keys = select(selection, manifest.graph(), attributes_of(manifest))
    if not keys:
        raise InvalidInput(
            f"the selection '{selection}' matches no asset",
            fix="see the assets: arco-flow assets",
            reason="EMPTY_SELECTION",
        )
    return keys


def definitions_of(manifest: Manifest) -> dict[str, PartitionsDefinition]:
    """Partitions definitions by asset key; equal ones are one object, for their tables' sake."""
    shared: dict[bytes, PartitionsDefinition] = {}
    found: dict[str, PartitionsDefinition] = {}
    for spec in manifest.assets:
        if spec.partitions is not None:
            digest = canonical_json(spec.partitions)
            if digest not in shared:
                shared[digest] = partitions_from_wire(spec.partitions)
            found[spec.key] = shared[digest]
    return found


def draft_plan(
    manifest: Manifest, selection: str, request: PartitionRequest, ctx: PartitionContext
) -> PlanDraft:
    """Resolve selection, partitions and edges. Raises InvalidInput, TooLarge."""
    keys = select_assets(manifest, selection)
    by_key = manifest.by_key()
    definitions = definitions_of(manifest)
    specs = [by_key[key] for key in keys]
    targets = resolve_targets(specs, definitions, request, ctx)
    kept = [spec for spec in specs if spec.key in targets]
    left_out = tuple(key for key in keys if key not in targets)
    return replace(_Drafting(kept, definitions, targets, ctx).run(), left_out=left_out)


def widen_draft(
    draft: PlanDraft,
    manifest: Manifest,
    selection: str,
    current: Mapping[Version, str],
    ctx: PartitionContext,
) -> PlanDraft | None:
    """The draft with the partitions that it needs, that nobody made yet, and whose asset is
    selected: `+weekly` for one week takes the seven days. None when there are none.

    Without this the plan would be refused although the caller has selected what it lacks. What an
    asset lacks of its own earlier partitions is not added: that would run all of its history.
    """
    selected = frozenset(select_assets(manifest, selection))
    lacking = [
        pin
        for pin, needed_by in zip(draft.external, draft.needed_by, strict=True)
        if pin.asset in selected and not _is_own(pin, needed_by)
        if (pin.asset, pin.partition) not in current
    ]
    if not lacking:
        return None
    definitions = definitions_of(manifest)
    targets: dict[str, list[str]] = {
        key: [] for key in (*draft.assets, *(pin.asset for pin in lacking))
    }
    for task in draft.tasks:
        targets[draft.assets[task.asset]].append(task.name)
    for pin in lacking:
        targets[pin.asset].append(pin.name)
    ordered = {
        key: in_order(definitions[key], names, ctx) if key in definitions else names
        for key, names in targets.items()
    }
    check_count(ordered)
    left_out = tuple(key for key in draft.left_out if key not in ordered)
    return replace(draft_tasks(manifest, ordered, ctx), left_out=left_out)


def draft_tasks(
    manifest: Manifest, targets: Mapping[str, Sequence[str]], ctx: PartitionContext
) -> PlanDraft:
    """Draft exactly these partitions (asset key -> keys in order)."""
    by_key = manifest.by_key()
    specs = [by_key[key] for key in manifest.graph().sort(targets)]
    return _Drafting(specs, definitions_of(manifest), targets, ctx).run()


class _Drafting:
    """One pass over the selected assets in topological order."""

    def __init__(
        self,
        specs: Sequence[AssetSpec],
        definitions: Mapping[str, PartitionsDefinition],
        targets: Mapping[str, Sequence[str]],
        ctx: PartitionContext,
    ) -> None:
        self._specs = specs
        self._definitions = definitions
        self._targets = targets
        self._ctx = ctx
        self._index: dict[Version, int] = {}
        self._tasks: list[PlanTask] = []
        self._external: dict[Version, int] = {}
        self._pins: list[Pin] = []
        self._needed_by: list[str] = []

    def run(self) -> PlanDraft:
        """All tasks, upstream first."""
        for spec in self._specs:
            for name in self._targets[spec.key]:
                self._index[(spec.key, name)] = len(self._index)
        for number, spec in enumerate(self._specs):
            resolvers = [self._resolver(spec, dep) for dep in spec.deps]
            definition = self._definitions.get(spec.key)
            for name in self._targets[spec.key]:
                canonical = definition.canonical(name) if definition else ""
                edges = self._edges(spec, name, resolvers)
                self._tasks.append(PlanTask(number, canonical, name, edges))
        assets = tuple(spec.key for spec in self._specs)
        return PlanDraft(assets, tuple(self._tasks), tuple(self._pins), tuple(self._needed_by))

    def _resolver(self, spec: AssetSpec, dep: DepSpec) -> PartitionMapping | None:
        down, up = self._definitions.get(spec.key), self._definitions.get(dep.asset)
        if up is None:
            return None
        if dep.mapping is not None:
            return mapping_from_wire(dep.mapping)
        return infer_mapping(up, down)

    def _edges(
        self, spec: AssetSpec, name: str, resolvers: Sequence[PartitionMapping | None]
    ) -> list[Edge]:
        edges: list[Edge] = []
        for number, dep in enumerate(spec.deps):
            edge = self._edge(spec, name, number, dep, resolvers[number])
            if edge.tasks or edge.pins:
                edges.append(edge)
        return edges

    def _edge(
        self,
        spec: AssetSpec,
        name: str,
        number: int,
        dep: DepSpec,
        mapping: PartitionMapping | None,
    ) -> Edge:
        tasks: list[int] = []
        pins: list[int] = []
        order: list[str] = []
        for upstream_name in self._upstream_names(spec, name, dep, mapping):
            task = self._index.get((dep.asset, upstream_name))
            if task is not None:
                self._check_earlier(spec, name, task)
                tasks.append(task)
                order.append("t")
            elif dep.param:
                pins.append(self._pin(spec, name, dep.asset, upstream_name))
                order.append("p")
        mixed = "".join(order) if tasks and pins else ""
        return Edge(number, tasks, pins, mixed)

    def _upstream_names(
        self, spec: AssetSpec, name: str, dep: DepSpec, mapping: PartitionMapping | None
    ) -> Sequence[str]:
        up, down = self._definitions.get(dep.asset), self._definitions.get(spec.key)
        if up is None or mapping is None:
            return ("",)
        mapped = upstream_of(mapping, down, up, (name,), self._ctx)
        if mapped.nonexistent and dep.param:
            missing = ", ".join(list(mapped.nonexistent)[:5])
            raise InvalidInput(
                f"'{short_task(spec.key, name)}' needs partitions of '{dep.asset}' that do not "
                f"exist: {missing}",
                fix="run another partition, or allow_nonexistent_upstream=True in the mapping",
                reason="UPSTREAM_NONEXISTENT",
            )
        return list(mapped.existing.keys())

    def _check_earlier(self, spec: AssetSpec, name: str, upstream: int) -> None:
        if upstream >= self._index[(spec.key, name)]:
            raise InvalidInput(
                f"'{short_task(spec.key, name)}' would wait for itself or for a later partition",
                fix="give its dependency on itself a mapping to earlier partitions only",
                reason="SELF_DEPENDENCY",
            )

    def _pin(self, spec: AssetSpec, name: str, asset: str, upstream_name: str) -> int:
        key = (asset, upstream_name)
        found = self._external.get(key)
        if found is None:
            definition = self._definitions.get(asset)
            canonical = definition.canonical(upstream_name) if definition else ""
            found = self._external[key] = len(self._pins)
            self._pins.append(Pin(asset, canonical, upstream_name, ""))
            self._needed_by.append(short_task(spec.key, name))
        elif spec.key != asset and _is_own(self._pins[found], self._needed_by[found]):
            # Another asset has a better claim: only by it may the draft be widened.
            self._needed_by[found] = short_task(spec.key, name)
        return found


def _is_own(pin: Pin, needed_by: str) -> bool:
    return needed_by.startswith(f"{pin.asset}[")


def complete_plan(
    draft: PlanDraft,
    manifest: Manifest,
    manifest_id: str,
    scope: Scope,
    current: Mapping[Version, str],
) -> Plan:
    """Bind every external version. current: (asset, canonical partition) -> attempt id.

    Raises InvalidInput when an input was never materialized and is not part of the run.
    """
    pins: list[Pin] = []
    missing: list[tuple[Pin, str]] = []
    for pin, needed_by in zip(draft.external, draft.needed_by, strict=True):
        attempt = current.get((pin.asset, pin.partition))
        if attempt is None:
            missing.append((pin, needed_by))
        else:
            pins.append(Pin(pin.asset, pin.partition, pin.name, attempt))
    if missing:
        raise _unmaterialized(missing)
    return Plan(
        tenant_id=scope.tenant,
        workspace_id=scope.workspace,
        manifest_id=manifest_id,
        code_version_id=manifest.code_version_id,
        catalog_snapshot_id=catalog_snapshot_id(pins),
        assets=list(draft.assets),
        tasks=list(draft.tasks),
        pins=pins,
    )


def catalog_snapshot_id(pins: Sequence[Pin]) -> str:
    """`cat_` + digest of every version outside the run that the plan is bound to."""
    bound = sorted([pin.asset, pin.partition, pin.attempt_id] for pin in pins)
    return "cat_" + sha256_hex(canonical_json(bound))[:32]


def _unmaterialized(missing: Sequence[tuple[Pin, str]]) -> InvalidInput:
    pin, needed_by = missing[0]
    more = f" (and {len(missing) - 1} more inputs)" if len(missing) > 1 else ""
    fix = f"add it to the selection: '{pin.asset} or …', or put + before the asset"
    if _is_own(pin, needed_by):
        fix = "run its earlier partitions before it, or with it: --range FIRST..LAST"
    return InvalidInput(
        f"'{needed_by}' reads '{short_task(pin.asset, pin.name)}', which was never materialized "
        f"and is not part of this run{more}",
        fix=fix,
        reason="UPSTREAM_NOT_MATERIALIZED",
        details={"inputs": [short_task(p.asset, p.name) for p, _ in missing[:20]]},
    )
