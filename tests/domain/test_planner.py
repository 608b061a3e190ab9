"""Plans: which partitions a request means, their edges, what is pinned, what is refused."""

from __future__ import annotations

import pytest

from arco_flow.domain.errors import InvalidInput, TooLarge
from arco_flow.domain.ids import Scope
from arco_flow.domain.manifest import AssetSpec, DepSpec, Manifest
from arco_flow.domain.partitions import (
    DailyPartitions,
    MonthlyPartitions,
    MultiPartitions,
    PartitionContext,
    StaticPartitions,
    WeeklyPartitions,
)
from arco_flow.domain.plan import (
    decode_plan,
    index_plan,
    input_versions,
    plan_bytes,
    plan_id_of,
)
from arco_flow.domain.planner import complete_plan, draft_plan, widen_draft
from arco_flow.domain.targets import PartitionRequest

SCOPE = Scope("acme", "main")
NOW = PartitionContext(1_735_689_600)  # 2025-01-01T00:00:00Z
DAYS = DailyPartitions("2024-01-01").to_wire()
WEEKS = WeeklyPartitions("2024-01-01", day_offset=1).to_wire()
MONTHS = MonthlyPartitions("2024-01-01").to_wire()


def manifest(*assets: AssetSpec) -> Manifest:
    return Manifest(code_version_id="cv_1", module="t", assets=sorted(assets, key=lambda a: a.key))


REPORTS = manifest(
    AssetSpec(key="t.raw"),
    AssetSpec(key="t.day", partitions=DAYS, deps=[DepSpec(asset="t.raw", param="raw")]),
    AssetSpec(
        key="t.week", partitions=WEEKS, deps=[DepSpec(asset="t.day", param="d", shape="sequence")]
    ),
    AssetSpec(
        key="t.month", partitions=MONTHS, deps=[DepSpec(asset="t.day", param="d", shape="mapping")]
    ),
)


def plan(
    declared: Manifest, selection: str, request: PartitionRequest, current: dict | None = None
):
    current = current or {}
    draft = draft_plan(declared, selection, request, NOW)
    while wider := widen_draft(draft, declared, selection, current, NOW):
        draft = wider
    made = complete_plan(draft, declared, "sha256:m", SCOPE, current)
    return draft, index_plan(made, plan_id_of(plan_bytes(made)), declared)


def tasks(index) -> list[str]:
    return list(index.shorts)


def test_a_range_means_the_same_span_for_every_asset() -> None:
    span = PartitionRequest(start="2024-01-01", end="2024-01-31")
    _, index = plan(REPORTS, "*", span)
    assert sum(short.startswith("t.day[") for short in tasks(index)) == 31
    weeks = [short for short in tasks(index) if short.startswith("t.week")]
    assert weeks == [f"t.week[2024-01-{day:02d}]" for day in (1, 8, 15, 22)]
    assert "t.month[2024-01-01]" in tasks(index)


def test_edges_follow_the_mappings() -> None:
    _, index = plan(REPORTS, "*", PartitionRequest(start="2024-01-01", end="2024-01-31"))
    week = index.index_of["t.week[2024-01-08]"]
    upstream = [index.shorts[i] for i in index.upstream[week]]
    assert upstream == [f"t.day[2024-01-{day:02d}]" for day in range(8, 15)]
    month = index.index_of["t.month[2024-01-01]"]
    assert len(index.upstream[month]) == 31


def test_an_asset_without_a_partition_in_the_range_is_left_out_and_named() -> None:
    draft, index = plan(REPORTS, "*", PartitionRequest(start="2024-01-01", end="2024-01-07"))
    assert draft.left_out == ("t.month",)
    assert "t.week[2024-01-01]" in tasks(index)


def test_one_week_with_its_upstream_takes_the_seven_days() -> None:
    _, index = plan(REPORTS, "+t.week", PartitionRequest(keys=("2024-01-08",)))
    days = [short for short in tasks(index) if short.startswith("t.day")]
    assert days == [f"t.day[2024-01-{day:02d}]" for day in range(8, 15)]


def test_what_is_materialized_already_is_pinned_instead() -> None:
    days = [f"2024-01-{day:02d}" for day in range(8, 15)]
    current = {("t.day", f"date=d:{day}"): f"att_{day}" for day in days}
    _, index = plan(REPORTS, "t.week", PartitionRequest(keys=("2024-01-08",)), current)
    assert tasks(index) == ["t.week[2024-01-08]"]
    assert [pin.name for pin in index.plan.pins] == days


def test_an_input_that_nobody_made_is_refused_with_the_way_out() -> None:
    with pytest.raises(InvalidInput) as caught:
        plan(REPORTS, "t.week", PartitionRequest(keys=("2024-01-08",)))
    assert caught.value.reason == "UPSTREAM_NOT_MATERIALIZED"
    assert "t.week[2024-01-08]" in caught.value.message
    assert "(and 6 more inputs)" in caught.value.message


def test_the_same_inputs_give_the_same_bytes() -> None:
    request = PartitionRequest(start="2024-01-01", end="2024-01-31")
    made = [plan(REPORTS, "*", request)[1] for _ in range(2)]
    assert made[0].plan_id == made[1].plan_id
    raw = plan_bytes(made[0].plan)
    assert plan_bytes(decode_plan(raw)) == raw


def test_the_catalog_snapshot_is_part_of_the_plan() -> None:
    current = {("t.day", f"date=d:2024-01-{day:02d}"): "att_1" for day in range(8, 15)}
    other = {**current, ("t.day", "date=d:2024-01-08"): "att_2"}
    request = PartitionRequest(keys=("2024-01-08",))
    first = plan(REPORTS, "t.week", request, current)[1].plan
    second = plan(REPORTS, "t.week", request, other)[1].plan
    assert first.catalog_snapshot_id != second.catalog_snapshot_id


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (PartitionRequest(), "PARTITIONS_REQUIRED"),
        (PartitionRequest(keys=("2024-02-30",)), "UNKNOWN_PARTITION"),
        (PartitionRequest(start="2024-02-02", end="2024-02-01"), "BAD_RANGE"),
        (PartitionRequest(start="2024-02-02", end="2099-02-01"), "UNKNOWN_PARTITION"),
    ],
)
def test_bad_partitions_are_refused(request_: PartitionRequest, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        plan(REPORTS, "t.day", request_)
    assert caught.value.reason == reason


def test_partitions_for_assets_that_have_none_are_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        plan(REPORTS, "t.raw", PartitionRequest(keys=("2024-01-01",)))
    assert caught.value.reason == "PARTITIONS_UNUSED"


def test_more_tasks_than_one_run_holds_are_refused_with_the_way_out() -> None:
    grid = MultiPartitions(
        {
            "a": StaticPartitions([f"a{i}" for i in range(101)]),
            "b": StaticPartitions([f"b{i}" for i in range(100)]),
        }
    )
    declared = manifest(AssetSpec(key="t.grid", partitions=grid.to_wire()))
    with pytest.raises(TooLarge) as caught:
        plan(declared, "*", PartitionRequest(everything=True))
    assert caught.value.details == {"tasks": 10_100, "limit": 10_000}
    assert caught.value.fix


def test_an_asset_reads_its_own_earlier_partition() -> None:
    from arco_flow.domain.partition_mappings import PartitionMapping

    yesterday = PartitionMapping.time_window(start_offset=-1, end_offset=-1).to_wire()
    declared = manifest(
        AssetSpec(
            key="t.total",
            partitions=DAYS,
            deps=[DepSpec(asset="t.total", param="before", mapping=yesterday, shape="sequence")],
        )
    )
    _, index = plan(declared, "*", PartitionRequest(start="2024-01-01", end="2024-01-03"))
    chain = [[index.shorts[i] for i in up] for up in index.upstream]
    assert chain == [[], ["t.total[2024-01-01]"], ["t.total[2024-01-02]"]]


def total_of_days() -> AssetSpec:
    from arco_flow.domain.partition_mappings import PartitionMapping

    yesterday = PartitionMapping.time_window(start_offset=-1, end_offset=-1).to_wire()
    before = DepSpec(asset="t.total", param="before", mapping=yesterday, shape="sequence")
    return AssetSpec(key="t.total", partitions=DAYS, deps=[before])


def test_one_partition_of_it_reads_the_stored_one_before_and_the_first_reads_nothing() -> None:
    declared = manifest(total_of_days())
    current = {("t.total", "date=d:2024-01-01"): "att_1"}
    _, index = plan(declared, "*", PartitionRequest(keys=("2024-01-02",)), current)
    assert input_versions(index, 0, str)["before"] == (
        "t.total", "sequence", [("2024-01-01", "date=d:2024-01-01", "att_1")],
    )  # fmt: skip
    _, first = plan(declared, "*", PartitionRequest(keys=("2024-01-01",)))
    assert input_versions(first, 0, str) == {"before": ("t.total", "sequence", [])}


def test_history_that_nobody_made_is_not_run_for_one_partition() -> None:
    with pytest.raises(InvalidInput, match=r"'t.total\[2024-03-02\]' reads 't.total\[") as caught:
        plan(manifest(total_of_days()), "*", PartitionRequest(keys=("2024-03-02",)))
    assert (
        caught.value.fix == "run its earlier partitions before it, or with it: --range FIRST..LAST"
    )


def test_what_another_asset_needs_of_it_is_run_with_its_earlier_partition_pinned() -> None:
    week = AssetSpec(
        key="t.week",
        partitions=WEEKS,
        deps=[DepSpec(asset="t.total", param="d", shape="sequence")],
    )
    declared = manifest(total_of_days(), week)
    current = {("t.total", "date=d:2024-01-07"): "att_7"}
    _, index = plan(declared, "+t.week", PartitionRequest(keys=("2024-01-08",)), current)
    assert [pin.name for pin in index.plan.pins] == ["2024-01-07"]
    assert len(tasks(index)) == 8


def test_an_order_only_dependency_needs_no_version() -> None:
    declared = manifest(AssetSpec(key="t.a"), AssetSpec(key="t.b", deps=[DepSpec(asset="t.a")]))
    _, alone = plan(declared, "t.b", PartitionRequest())
    assert tasks(alone) == ["t.b"]
    _, both = plan(declared, "*", PartitionRequest())
    assert both.upstream == ((), (0,))


def test_priorities_rank_tasks_without_moving_them_before_their_upstream() -> None:
    declared = manifest(
        AssetSpec(key="t.a"), AssetSpec(key="t.b", priority=5), AssetSpec(key="t.c", priority=-1)
    )
    _, index = plan(declared, "*", PartitionRequest())
    assert index.ranks is not None
    assert [index.shorts[i] for i in index.ranks] == ["t.b", "t.a", "t.c"]
