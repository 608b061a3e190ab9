"""Plans: the same for the same request in any spelling, complete, in order, and of bounded size."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from arco_flow.domain.errors import InvalidInput, TooLarge
from arco_flow.domain.ids import Scope
from arco_flow.domain.manifest import AssetSpec, Manifest
from arco_flow.domain.partition_mappings import infer_mapping, mapping_from_wire, upstream_of
from arco_flow.domain.partitions import (
    CronPartitions,
    DailyPartitions,
    MultiPartitions,
    PartitionsDefinition,
    StaticPartitions,
    TimePartitions,
)
from arco_flow.domain.plan import Plan, decode_plan, index_plan, plan_bytes, plan_id_of
from arco_flow.domain.planner import (
    complete_plan,
    draft_plan,
    select_assets,
    widen_draft,
)
from arco_flow.domain.targets import MAX_TASKS, PartitionRequest
from properties.budget import examples
from properties.manifests import CTX, definition_of, keys_of, manifests

SCOPE = Scope("acme", "main")


@dataclass(frozen=True)
class Asked:
    """A request, and the versions that the catalog holds."""

    manifest: Manifest
    selection: str
    request: PartitionRequest
    current: dict[tuple[str, str], str]


def current_of(manifest: Manifest, left_out: frozenset[str] = frozenset()) -> dict[Any, str]:
    """A version of every partition but those of some assets."""
    found = {}
    for spec in manifest.assets:
        definition = definition_of(spec)
        for key in keys_of(spec) if spec.key not in left_out else ():
            canonical = definition.canonical(key) if definition else ""
            found[spec.key, canonical] = f"att_{spec.key}_{key}"
    return found


def _range(draw: st.DrawFn, spec: AssetSpec) -> PartitionRequest:
    keys = keys_of(spec)
    low = draw(st.integers(0, len(keys) - 1))
    return PartitionRequest(start=keys[low], end=keys[min(low + 3, len(keys) - 1)])


@st.composite
def requests(draw: st.DrawFn) -> Asked:
    """A request for some assets and partitions that the planner may also refuse."""
    manifest = draw(manifests())
    keys = [spec.key for spec in manifest.assets]
    selection = draw(
        st.one_of(
            st.sampled_from(["*", "group:x", f"+{keys[-1]}", f"{keys[0]}+", f"roots({keys[-1]}+)"]),
            st.sets(st.sampled_from(keys), min_size=1).map(lambda some: " or ".join(sorted(some))),
        )
    )
    parted = [spec for spec in manifest.assets if spec.partitions and keys_of(spec)]
    request = PartitionRequest()
    if parted:
        spec = draw(st.sampled_from(parted))
        named = st.lists(st.sampled_from(keys_of(spec)), min_size=1, max_size=5)
        request = draw(
            st.one_of(
                st.just(PartitionRequest(everything=True)),
                named.map(lambda some: PartitionRequest(keys=tuple(some))),
                st.composite(_range)(spec),
            )
        )
    left_out = frozenset(draw(st.sets(st.sampled_from(keys), max_size=1)))
    return Asked(manifest, selection, request, current_of(manifest, left_out))


def planned(asked: Asked) -> Plan:
    """The plan, by the steps that the plane takes. Raises InvalidInput."""
    draft = draft_plan(asked.manifest, asked.selection, asked.request, CTX)
    while wider := widen_draft(draft, asked.manifest, asked.selection, asked.current, CTX):
        draft = wider
    return complete_plan(draft, asked.manifest, "sha256:m", SCOPE, asked.current)


def plan_or_reason(asked: Asked) -> Plan | str:
    """The plan, or why there is none."""
    try:
        return planned(asked)
    except InvalidInput as error:
        return error.reason


def plan_or_reject(asked: Asked) -> Plan:
    outcome = plan_or_reason(asked)
    assume(not isinstance(outcome, str))
    assert isinstance(outcome, Plan)
    return outcome


@examples(60)
@given(requests(), st.randoms(use_true_random=False))
def test_the_order_of_what_is_asked_changes_nothing(asked: Asked, random: Any) -> None:
    assets, keys = list(asked.manifest.assets), list(asked.request.keys)
    current = list(asked.current.items())
    for order in (assets, keys, current):
        random.shuffle(order)
    other = Asked(
        msgspec.structs.replace(asked.manifest, assets=assets),
        asked.selection,
        replace(asked.request, keys=(*keys, *keys[:1])),
        dict(current),
    )
    one, two = plan_or_reason(asked), plan_or_reason(other)
    assert one == two
    assert isinstance(one, str) or plan_bytes(one) == plan_bytes(two)


@examples(70)
@given(requests())
def test_a_plan_holds_each_task_once_after_all_that_it_waits_for(asked: Asked) -> None:
    plan = plan_or_reject(asked)
    tasks = [(plan.assets[task.asset], task.name) for task in plan.tasks]
    assert len(set(tasks)) == len(tasks) <= MAX_TASKS
    selected = select_assets(asked.manifest, asked.selection)
    assert {asset for asset, _ in tasks} <= set(selected)
    for number, task in enumerate(plan.tasks):
        for edge in task.edges:
            assert all(upstream < number for upstream in edge.tasks)
    index = index_plan(plan, plan_id_of(plan_bytes(plan)), asked.manifest)
    assert len(index.index_of) == len(tasks), "no two tasks share a short form"
    assert decode_plan(plan_bytes(plan)) == plan


def _needs(manifest: Manifest, spec: AssetSpec, number: int, name: str) -> list[tuple[str, str]]:
    dep = spec.deps[number]
    up, down = definition_of(manifest.by_key()[dep.asset]), definition_of(spec)
    if up is None:
        return [(dep.asset, "")]
    rule = mapping_from_wire(dep.mapping) if dep.mapping else infer_mapping(up, down)
    return [(dep.asset, key) for key in upstream_of(rule, down, up, [name], CTX).existing]


@examples(70)
@given(requests())
def test_edges_hold_exactly_what_the_mappings_say_in_their_order(asked: Asked) -> None:
    plan = plan_or_reject(asked)
    tasks = [(plan.assets[task.asset], task.name) for task in plan.tasks]
    for task in plan.tasks:
        spec = asked.manifest.by_key()[plan.assets[task.asset]]
        edges = {edge.dep: edge for edge in task.edges}
        for number, dep in enumerate(spec.deps):
            edge = edges.get(number)
            found_tasks = iter([tasks[upstream] for upstream in edge.tasks] if edge else ())
            found_pins = iter(
                [(plan.pins[pin].asset, plan.pins[pin].name) for pin in edge.pins] if edge else ()
            )
            order = ""
            for needed in _needs(asked.manifest, spec, number, task.name):
                if needed in tasks:
                    assert next(found_tasks) == needed, "what the run makes is waited for"
                    order += "t"
                elif dep.param:
                    assert next(found_pins) == needed, "what it does not make is pinned"
                    order += "p"
            if edge is not None:
                assert edge.order == (order if len(set(order)) == 2 else "")
            assert next(found_tasks, None) is next(found_pins, None) is None


@examples(60)
@given(requests())
def test_the_fingerprint_changes_with_what_matters_and_with_nothing_else(asked: Asked) -> None:
    plan = plan_or_reject(asked)
    before = plan_id_of(plan_bytes(plan))
    pinned = {(pin.asset, pin.partition) for pin in plan.pins}

    def after(**changed: Any) -> str:
        return plan_id_of(plan_bytes(planned(replace(asked, **changed))))

    unread = {key: f"other_{value}" for key, value in asked.current.items() if key not in pinned}
    assert after(current=asked.current | unread) == before
    for key in pinned:
        assert after(current=asked.current | {key: "other"}) != before
    described = [
        msgspec.structs.replace(spec, description="other", priority=7, code_version="other")
        for spec in asked.manifest.assets
    ]
    of_words = msgspec.structs.replace(asked.manifest, assets=described)
    assert after(manifest=of_words) == before, "that is the manifest's own digest to say"
    of_code = msgspec.structs.replace(asked.manifest, code_version_id="cv_2")
    assert after(manifest=of_code) != before


REFUSALS = {
    *("EMPTY_SELECTION", "PARTITIONS_REQUIRED", "PARTITIONS_UNUSED", "UNKNOWN_PARTITION"),
    *("UPSTREAM_NOT_MATERIALIZED", "UPSTREAM_NONEXISTENT", "BAD_RANGE"),
}


@examples(40)
@given(requests())
def test_what_can_not_be_planned_is_refused_with_a_known_reason(asked: Asked) -> None:
    outcome = plan_or_reason(asked)
    if isinstance(outcome, str):
        assert outcome in REFUSALS
    else:
        assert all(
            pin.attempt_id == asked.current[pin.asset, pin.partition] for pin in outcome.pins
        )


def manifest_of(*definitions: PartitionsDefinition) -> Manifest:
    assets = [
        AssetSpec(key=f"t.a{number}", partitions=made.to_wire())
        for number, made in enumerate(definitions)
    ]
    return Manifest(code_version_id="cv", module="m", assets=assets)


@pytest.mark.parametrize(("rows", "columns"), [(100, 100), (100, 101), (1, 10_000), (10_001, 1)])
def test_ten_thousand_tasks_are_planned_and_one_more_is_refused(rows: int, columns: int) -> None:
    grid = MultiPartitions(
        {
            "a": StaticPartitions(map(str, range(rows))),
            "b": StaticPartitions(map(str, range(columns))),
        }
    )
    everything = PartitionRequest(everything=True)
    if rows * columns <= MAX_TASKS:
        assert len(draft_plan(manifest_of(grid), "*", everything, CTX).tasks) == rows * columns
        return
    with pytest.raises(TooLarge) as caught:
        draft_plan(manifest_of(grid), "*", everything, CTX)
    assert caught.value.details == {"tasks": rows * columns, "limit": MAX_TASKS}


THOUSAND = StaticPartitions(map(str, range(1000)))
CUBE = MultiPartitions({"a": THOUSAND, "b": THOUSAND, "c": THOUSAND})
MINUTES = CronPartitions("* * * * *", start="2000-01-01")
LONG = MultiPartitions({"a": THOUSAND, "date": DailyPartitions("1900-01-01")})


@pytest.mark.parametrize(
    ("definition", "request_", "tasks"),
    [
        (CUBE, PartitionRequest(everything=True), None),
        (CUBE, PartitionRequest(start="0|0|0", end="999|999|999"), None),
        (CUBE, PartitionRequest(start="0|0|0", end="1|1|1"), 8),
        (CUBE, PartitionRequest(keys=("999|0|1", "0|999|2")), 2),
        (MINUTES, PartitionRequest(everything=True), None),
        (MINUTES, PartitionRequest(start="2000-01-01-00:00", end="2024-12-31-00:00"), None),
        (LONG, PartitionRequest(keys=("7|2024-12-31", "7|1900-01-01")), 2),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, PartitionsDefinition) else None,
)
def test_partitions_are_counted_before_they_are_listed(
    definition: PartitionsDefinition, request_: PartitionRequest, tasks: int | None
) -> None:
    """Memory tells: a list of a thousand million keys would not fit into any."""
    declared = manifest_of(definition)
    tracemalloc.start()
    try:
        if tasks is None:
            with pytest.raises(TooLarge):
                draft_plan(declared, "*", request_, CTX)
        else:
            assert len(draft_plan(declared, "*", request_, CTX).tasks) == tasks
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * 1024 * 1024


def test_a_span_of_one_day_lists_one_day_of_a_wide_grid() -> None:
    days = DailyPartitions("1900-01-01")
    declared = manifest_of(days, LONG)
    request = PartitionRequest(start="2024-12-31", end="2024-12-31")
    assert len(draft_plan(declared, "*", request, CTX).tasks) == 1 + 1000
    assert isinstance(days, TimePartitions)
