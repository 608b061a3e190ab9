"""Assets that read their own earlier partitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest

from arco_flow import (
    Asset,
    DailyPartitions,
    DefinitionError,
    Definitions,
    MultiPartitions,
    PartitionKey,
    PartitionMapping,
    StaticPartitions,
    asset,
)
from arco_flow.domain.manifest import validate_manifest
from arco_flow.testing import materialize_to_memory

NOW = datetime(2026, 1, 5, tzinfo=UTC)
days = DailyPartitions("2026-01-01")
yesterday = PartitionMapping.time_window(start_offset=-1, end_offset=-1)
three_before = PartitionMapping.time_window(start_offset=-3, end_offset=-1)


@asset(namespace="t", partitions=days, mappings={"running_total": yesterday})
def running_total(day: PartitionKey, running_total: Sequence[int]) -> int:
    return sum(running_total) + day.window.start.day


def test_it_is_called_like_any_function() -> None:
    assert running_total(PartitionKey("2026-01-03", days), [3]) == 6


def test_in_memory_its_history_is_made_first() -> None:
    got = materialize_to_memory(running_total, partition_key="2026-01-04", now=NOW)
    assert got.order == [f"t.running_total[2026-01-0{day}]" for day in (1, 2, 3, 4)]
    assert list(got.partitions(running_total).values()) == [1, 3, 6, 10]


def test_a_given_partition_stands_for_what_came_before() -> None:
    got = materialize_to_memory(
        running_total,
        partition_key="2026-01-04",
        given={(running_total, "2026-01-03"): 100},
        now=NOW,
    )
    assert got.order == ["t.running_total[2026-01-04]"]
    assert got[running_total] == 104


def test_the_manifest_says_what_it_reads_and_is_valid() -> None:
    manifest = Definitions([running_total]).manifest()
    validate_manifest(manifest)
    (dep,) = manifest.by_key()["t.running_total"].deps
    assert (dep.asset, dep.param, dep.shape) == ("t.running_total", "running_total", "sequence")
    assert dep.mapping == {"kind": "time_window", "start_offset": -1, "end_offset": -1}


def by_shape() -> list[Asset[..., int]]:
    options = {"namespace": "t", "partitions": days}

    @asset(**options, mappings={"optional": yesterday})  # type: ignore[arg-type]
    def optional(optional: int | None) -> int:
        return 1 if optional is None else optional + 1

    @asset(**options, mappings={"defaulted": yesterday})  # type: ignore[arg-type]
    def defaulted(defaulted: int = 0) -> int:
        return defaulted + 1

    @asset(**options, mappings={"by_key": three_before})  # type: ignore[arg-type]
    def by_key(by_key: Mapping[str, int]) -> int:
        return max(by_key.values(), default=0) + 1

    @asset(**options, mappings={"one_by_key": yesterday})  # type: ignore[arg-type]
    def one_by_key(one_by_key: dict[str, int]) -> int:
        return sum(one_by_key.values()) + 1

    return [optional, defaulted, by_key, one_by_key]


@pytest.mark.parametrize("counter", by_shape(), ids=lambda item: item.name)
def test_every_shape_that_can_be_empty_has_a_beginning(counter: Asset[..., int]) -> None:
    got = materialize_to_memory(counter, partition_key="2026-01-03", now=NOW)
    assert list(got.partitions(counter).values()) == [1, 2, 3]


def test_a_list_that_is_the_value_itself_is_no_window() -> None:
    @asset(namespace="t", partitions=days, mappings={"seen": yesterday})
    def seen(day: PartitionKey, seen: list[str] | None = None) -> list[str]:
        return [*(seen or []), str(day)]

    got = materialize_to_memory(seen, partition_key="2026-01-02", now=NOW)
    assert got.partitions(seen)["2026-01-02"] == ["2026-01-01", "2026-01-02"]


def test_one_of_several_dimensions_may_go_back_in_time() -> None:
    grid = MultiPartitions({"date": days, "region": StaticPartitions(["eu", "us"])})
    mapping = PartitionMapping.dimensions(
        {"date": yesterday, "region": PartitionMapping.identity()}
    )

    @asset(namespace="t", partitions=grid, mappings={"stock": mapping})
    def stock(cell: PartitionKey, stock: Sequence[list[str]]) -> list[str]:
        return [*(stock[0] if stock else []), str(cell)]

    got = materialize_to_memory(stock, partition_key="2026-01-02|us", now=NOW)
    assert got.order == ["t.stock[2026-01-01|us]", "t.stock[2026-01-02|us]"]
    assert got.partitions(stock)["2026-01-02|us"] == ["2026-01-01|us", "2026-01-02|us"]


def test_yesterdays_run_can_be_waited_for_without_reading_it() -> None:
    @asset(key="t.sync", partitions=days, deps=["t.sync"], mappings={"t.sync": yesterday})
    def sync(day: PartitionKey) -> str:
        return str(day)

    got = materialize_to_memory(sync, partition_key="2026-01-02", now=NOW)
    assert got.order == ["t.sync[2026-01-01]", "t.sync[2026-01-02]"]


def refusal(one: Asset[..., object]) -> str:
    with pytest.raises(DefinitionError) as caught:
        Definitions([one]).validate()
    return str(caught.value)


def test_without_a_mapping_it_says_how() -> None:
    @asset(namespace="t", partitions=days)
    def total(total: Sequence[int]) -> int:
        return sum(total)

    told = refusal(total)
    assert told.startswith(
        "asset 't.total': depends on itself, and not on earlier partitions alone"
    )
    assert (
        "mappings={'total': PartitionMapping.time_window(start_offset=-1, end_offset=-1)}" in told
    )


def test_of_several_dimensions_it_says_how_too() -> None:
    grid = MultiPartitions({"date": days, "region": StaticPartitions(["eu", "us"])})

    @asset(namespace="t", partitions=grid)
    def total(total: Sequence[int]) -> int:
        return sum(total)

    assert (
        "PartitionMapping.dimensions({'date': PartitionMapping.time_window(start_offset=-1, "
        "end_offset=-1), 'region': PartitionMapping.identity()})" in refusal(total)
    )


@pytest.mark.parametrize(
    "mapping",
    [
        PartitionMapping.time_window(start_offset=-1),
        PartitionMapping.time_window(start_offset=1, end_offset=1),
        PartitionMapping.all(),
        PartitionMapping.last(),
        PartitionMapping.identity(),
        PartitionMapping.specific(["2026-01-01"]),
    ],
    ids=lambda mapping: mapping.kind,
)
def test_what_is_not_earlier_is_refused(mapping: PartitionMapping) -> None:
    @asset(namespace="t", partitions=days, mappings={"total": mapping})
    def total(total: Sequence[int]) -> int:
        return sum(total)

    assert "not on earlier partitions alone" in refusal(total)


def test_a_value_that_could_never_begin_is_refused() -> None:
    @asset(namespace="t", partitions=days, mappings={"total": yesterday})
    def total(total: int) -> int:
        return total

    told = refusal(total)
    assert "parameter 'total' is int, but the first partition has no earlier one to read" in told
    assert "total: int | None, or a default (total: int = …), or total: Sequence[int]" in told
