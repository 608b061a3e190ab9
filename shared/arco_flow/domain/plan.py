"""A plan: the tasks of one run with their edges and pinned inputs, immutable once made.

The plan object is canonical JSON addressed by its digest. It names nothing that varies between
processes (no times, no random ids), so that equal inputs give an equal fingerprint anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.ids import short_task
from arco_flow.domain.manifest import AssetSpec, Manifest
from arco_flow.domain.retry import RetryPolicy, retry_from_wire
from arco_flow.domain.wire import canonical_json, sha256_hex

PLAN_VERSION = 1


class Edge(msgspec.Struct, frozen=True, array_like=True):
    """What one dependency of a task resolves to.

    dep: index into the asset's deps. tasks: indices of upstream tasks of this plan, in
    partition order. pins: indices into the plan's pins, in partition order. order: how the two
    interleave, as "t"/"p" letters in partition order; "" when one of them is empty.
    """

    dep: int
    tasks: list[int] = []
    pins: list[int] = []
    order: str = ""


class PlanTask(msgspec.Struct, frozen=True, array_like=True):
    """One task. asset: index into the plan's assets; partition: canonical; name: for people."""

    asset: int
    partition: str = ""
    name: str = ""
    edges: list[Edge] = []


class Pin(msgspec.Struct, frozen=True, array_like=True):
    """A version outside the run that an input is bound to."""

    asset: str
    partition: str
    name: str
    attempt_id: str


class Plan(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """The stored document. tasks stand in dispatch order: upstream first."""

    plan_version: int = PLAN_VERSION
    tenant_id: str
    workspace_id: str
    manifest_id: str
    code_version_id: str
    catalog_snapshot_id: str
    assets: list[str]
    tasks: list[PlanTask]
    pins: list[Pin] = []


def plan_bytes(plan: Plan) -> bytes:
    """Canonical bytes of a plan."""
    return canonical_json(msgspec.to_builtins(plan))


def plan_id_of(raw: bytes) -> str:
    """`sha256:…` of a plan's canonical bytes: its id, its fingerprint and its address."""
    return "sha256:" + sha256_hex(raw)


_decoder = msgspec.json.Decoder(Plan)


def decode_plan(raw: bytes) -> Plan:
    """Decode a stored plan. Raises InvalidInput."""
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"malformed plan: {error}", reason="MALFORMED_PLAN") from error


@dataclass(frozen=True, slots=True)
class PlanIndex:
    """A plan with its manifest, indexed for the fold; built once per process and cached.

    shorts: `asset[partition]` by index; index_of: its inverse; downstream and upstream: task
    indices; ranks: indices by descending priority, or None when all priorities are equal.
    """

    plan: Plan
    plan_id: str
    specs: tuple[AssetSpec, ...]
    retries: tuple[RetryPolicy | None, ...]
    shorts: tuple[str, ...]
    index_of: dict[str, int]
    upstream: tuple[tuple[int, ...], ...]
    downstream: tuple[tuple[int, ...], ...]
    ranks: tuple[int, ...] | None

    def spec(self, index: int) -> AssetSpec:
        """The asset of a task."""
        return self.specs[self.plan.tasks[index].asset]

    def retry(self, index: int) -> RetryPolicy | None:
        """The retry policy of a task."""
        return self.retries[self.plan.tasks[index].asset]


def index_plan(plan: Plan, plan_id: str, manifest: Manifest) -> PlanIndex:
    """Build the index. Raises InvalidInput when plan and manifest do not fit."""
    if plan.manifest_id and not manifest.assets and plan.tasks:
        raise InvalidInput("the plan's manifest holds no assets")
    by_key = manifest.by_key()
    specs = tuple(by_key[key] for key in plan.assets)
    retries = tuple(None if s.retry is None else retry_from_wire(s.retry) for s in specs)
    shorts = tuple(short_task(plan.assets[t.asset], t.name) for t in plan.tasks)
    upstream = tuple(_upstream(task) for task in plan.tasks)
    return PlanIndex(
        plan=plan,
        plan_id=plan_id,
        specs=specs,
        retries=retries,
        shorts=shorts,
        index_of={short: index for index, short in enumerate(shorts)},
        upstream=upstream,
        downstream=_downstream(upstream),
        ranks=_ranks(plan, specs),
    )


def _upstream(task: PlanTask) -> tuple[int, ...]:
    if not task.edges:
        return ()
    if len(task.edges) == 1:
        return tuple(task.edges[0].tasks)
    return tuple(dict.fromkeys(index for edge in task.edges for index in edge.tasks))


def _downstream(upstream: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    found: list[list[int]] = [[] for _ in upstream]
    for index, sources in enumerate(upstream):
        for source in sources:
            found[source].append(index)
    return tuple(tuple(targets) for targets in found)


def _ranks(plan: Plan, specs: tuple[AssetSpec, ...]) -> tuple[int, ...] | None:
    if len({spec.priority for spec in specs}) <= 1:
        return None
    order = range(len(plan.tasks))
    return tuple(sorted(order, key=lambda i: (-specs[plan.tasks[i].asset].priority, i)))


def input_versions(
    index: PlanIndex, task_index: int, attempt_id: Callable[[int], str]
) -> dict[str, tuple[str, str, list[tuple[str, str, str]]]]:
    """Pinned inputs of a task: parameter -> (asset, shape, [(name, partition, attempt id)]).

    A parameter that has nothing to read, as before the first partition, has an empty list.
    attempt_id: function from task index to the id of its accepted attempt.
    """
    plan, spec = index.plan, index.spec(task_index)
    found: dict[str, tuple[str, str, list[tuple[str, str, str]]]] = {}
    edges = {edge.dep: edge for edge in plan.tasks[task_index].edges}
    for number, dep in enumerate(spec.deps):
        if not dep.param:
            continue
        edge = edges.get(number) or Edge(number)
        made = [_made(plan, i, attempt_id(i)) for i in edge.tasks]
        pinned = [(p.name, p.partition, p.attempt_id) for p in (plan.pins[i] for i in edge.pins)]
        found[dep.param] = (dep.asset, dep.shape, _merge(made, pinned, edge.order))
    return found


def _made(plan: Plan, index: int, attempt_id: str) -> tuple[str, str, str]:
    task = plan.tasks[index]
    return (task.name, task.partition, attempt_id)


def _merge(
    made: list[tuple[str, str, str]], pinned: list[tuple[str, str, str]], order: str
) -> list[tuple[str, str, str]]:
    if not order:
        return made or pinned
    sources = {"t": iter(made), "p": iter(pinned)}
    return [next(sources[letter]) for letter in order]
