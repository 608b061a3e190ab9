"""arco_flow.testing: assets in memory, with the partitions that their mappings ask for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from arco_flow import (
    ArcoError,
    AssetContext,
    DailyPartitions,
    Definitions,
    DynamicPartitions,
    MultiPartitions,
    PartitionKey,
    PartitionMapping,
    Resource,
    StaticPartitions,
    WeeklyPartitions,
    asset,
)
from arco_flow.testing import build_context, materialize_to_memory

NOW = datetime(2026, 3, 1, tzinfo=UTC)
days = DailyPartitions("2026-01-01")


@dataclass
class Columns:
    n: list[int]


class Shop(Resource):
    url: str = "test://"


@asset(namespace="shop", partitions=days)
def orders(day: PartitionKey, shop: Shop, context: AssetContext) -> list[int]:
    context.log.info("%s from %s", day, shop.url)
    context.report(day=str(day))
    return [day.window.start.day]


@orders.check(blocking=True)
def is_not_the_third(rows: list[int]) -> bool:
    return rows != [3]


@asset(namespace="shop", partitions=days)
def revenue(orders: list[int]) -> float:
    return float(sum(orders))


@asset(namespace="shop", partitions=days)
def rolling(last: Sequence[float] = revenue[-6:]) -> list[float]:
    return list(last)


@asset(namespace="shop", partitions=days)
def change(week_before: Sequence[float] = revenue[-7:-1], today: float = revenue.out) -> float:
    return today - sum(week_before)


@asset(namespace="shop", partitions=WeeklyPartitions("2026-01-04"))
def weekly(revenue: dict[str, float]) -> dict[str, float]:
    return revenue


@asset(namespace="shop")
def total(all_days: Sequence[float] = revenue[:]) -> float:
    return sum(all_days)


ALL = [orders, revenue, rolling, weekly, total, change]


def test_an_asset_and_its_upstream_run_in_order() -> None:
    got = materialize_to_memory([revenue, orders], partition_key="2026-02-05", now=NOW)
    assert got.ok
    assert got.order == ["shop.orders[2026-02-05]", "shop.revenue[2026-02-05]"]
    assert got[revenue] == 5.0
    assert got[orders] == [5]
    assert got.logs == ["2026-02-05 from test://"]
    assert got.metadata(orders) == {"day": "2026-02-05"}
    assert [check.name for check in got.checks] == ["is_not_the_third"]


def test_a_week_asks_for_its_seven_days() -> None:
    got = materialize_to_memory([orders, revenue, weekly], partition_key="2026-01-11", now=NOW)
    week = [f"2026-01-{day}" for day in range(11, 18)]
    assert list(got.partitions(orders)) == week
    assert got[weekly] == {day: float(day[-2:]) for day in week}


def test_windows_reach_back_and_stop_at_the_first_partition() -> None:
    got = materialize_to_memory([orders, revenue, rolling], partition_key="2026-02-10", now=NOW)
    assert got[rolling] == [4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    early = materialize_to_memory([orders, revenue, rolling], partition_key="2026-01-02", now=NOW)
    assert early[rolling] == [1.0, 2.0]
    got = materialize_to_memory([orders, revenue, change], partition_key="2026-02-12", now=NOW)
    assert got[change] == 12.0 - sum(range(5, 12))


def test_all_partitions_up_to_now() -> None:
    now = datetime(2026, 1, 3, 12, tzinfo=UTC)
    got = materialize_to_memory([orders, revenue, total], now=now)
    assert list(got.partitions(revenue)) == ["2026-01-01", "2026-01-02"]
    assert got[total] == 3.0


def test_given_values_stand_for_assets_that_are_not_run() -> None:
    got = materialize_to_memory(
        revenue, given={orders: [40, 2]}, partition_key="2026-02-05", now=NOW
    )
    assert got.order == ["shop.revenue[2026-02-05]"]
    assert got[revenue] == 42.0
    got = materialize_to_memory(
        [rolling], given={(revenue, "2026-01-01"): 5.0, revenue: 1.0},
        partition_key="2026-01-02", now=NOW,
    )  # fmt: skip
    assert got[rolling] == [5.0, 1.0]


def test_what_is_neither_run_nor_given_is_named() -> None:
    with pytest.raises(ArcoError) as caught:
        materialize_to_memory(rolling, partition_key="2026-01-02", now=NOW)
    first, where, fix = str(caught.value).splitlines()
    assert first == (
        "'shop.rolling[2026-01-02]' needs 'shop.revenue[2026-01-01]' for its parameter 'last', "
        "which is neither run nor given"
    )
    assert "test_testing.py:" in where
    assert fix == "  fix: given={revenue: …}, or list the asset so that it is run"
    with pytest.raises(ArcoError, match="parameter 'orders' names no asset") as caught:
        materialize_to_memory(revenue, partition_key="2026-01-02", now=NOW)
    assert "or give its value: given={the_asset: …}" in str(caught.value)
    with pytest.raises(ArcoError, match=r"no asset 'shop.order' .*did you mean 'shop.orders'"):
        materialize_to_memory([orders], given={"shop.order": 1})


def test_partition_keys_are_asked_for_and_checked() -> None:
    with pytest.raises(ArcoError, match=r"'shop.orders' is partitioned, and no partition_key"):
        materialize_to_memory(orders)
    with pytest.raises(ArcoError, match=r"no partition '2026-03-01' .there are 59"):
        materialize_to_memory(orders, partition_key="2026-03-01", now=NOW)

    @asset(key="t.plain")
    def plain() -> int:
        return 1

    with pytest.raises(ArcoError, match="nothing that is asked for is partitioned"):
        materialize_to_memory(plain, partition_key="2026-01-01")
    assert materialize_to_memory(plain)[plain] == 1


def test_a_selection_runs_a_part() -> None:
    everything = Definitions(ALL)
    for selection in ("revenue", "shop.revenue", revenue, [revenue], ["revenue"]):
        got = materialize_to_memory(
            everything, selection=selection, given={orders: [1]},  # type: ignore[arg-type]
            partition_key="2026-01-02", now=NOW,
        )  # fmt: skip
        assert got.order == ["shop.revenue[2026-01-02]"]
    got = materialize_to_memory(
        everything, selection="+shop.revenue", partition_key="2026-01-02", now=NOW
    )
    assert got.order == ["shop.orders[2026-01-02]", "shop.revenue[2026-01-02]"]


def test_resources_of_the_call_outweigh_those_of_the_definitions() -> None:
    definitions = Definitions([orders], resources=[Shop(url="one")])
    got = materialize_to_memory(definitions, partition_key="2026-01-01", now=NOW)
    assert got.logs == ["2026-01-01 from one"]
    got = materialize_to_memory(
        definitions, partition_key="2026-01-01", now=NOW, resources=[Shop(url="two")]
    )
    assert got.logs == ["2026-01-01 from two"]


def test_a_failed_blocking_check_stops_the_downstream() -> None:
    got = materialize_to_memory([orders, revenue], partition_key="2026-01-03", now=NOW)
    assert not got.ok
    assert got.order == ["shop.orders[2026-01-03]"]
    assert [task.status for task in got.tasks] == ["FAILED", "SKIPPED"]
    assert got[orders] == [3]
    with pytest.raises(ArcoError, match=r"'shop.revenue' was not made: .* SKIPPED"):
        got[revenue]


def test_an_exception_is_raised_with_the_tasks_name_or_kept() -> None:
    @asset(key="t.bad")
    def bad() -> int:
        raise ValueError("no")

    @asset(key="t.after")
    def after(bad: int) -> int:
        return bad

    with pytest.raises(ValueError, match="no") as caught:
        materialize_to_memory([bad, after])
    assert caught.value.__notes__ == ["while running 't.bad'"]
    got = materialize_to_memory([bad, after], raise_on_error=False)
    assert [task.status for task in got.tasks] == ["FAILED", "SKIPPED"]
    assert isinstance(got.tasks[0].error, ValueError)


def test_async_assets_share_a_loop_with_async_resources() -> None:
    class Session(Resource):
        async def open(self) -> None:
            self.loop = asyncio.get_running_loop()

    @asset(key="t.slow")
    async def slow(session: Session) -> bool:
        await asyncio.sleep(0)
        return session.loop is asyncio.get_running_loop()

    @asset(key="t.after")
    def after(slow: bool) -> bool:
        return slow

    got = materialize_to_memory([slow, after])
    assert got[slow] is True
    assert got[after] is True

    async def inside() -> bool:
        return materialize_to_memory([slow])[slow]

    assert asyncio.run(inside()) is True
    assert threading.current_thread() is threading.main_thread()


def test_explicit_output_is_the_value() -> None:
    @asset(key="t.writes")
    def writes(context: AssetContext) -> None:
        context.output({"a": 1})

    @asset(key="t.reads")
    def reads(value: object = writes.out) -> object:
        return value

    assert materialize_to_memory([writes, reads])[reads] == {"a": 1}

    @asset(key="t.both")
    def both(context: AssetContext) -> int:
        context.output(1)
        return 2

    with pytest.raises(ArcoError, match=r"called context.output.. and returned a value as well"):
        materialize_to_memory(both)


def test_several_dimensions_and_dynamic_partitions() -> None:
    regions = StaticPartitions(["eu", "us"])

    @asset(key="t.by_region", partitions=MultiPartitions({"date": days, "region": regions}))
    def by_region(key: PartitionKey) -> str:
        return str(key)

    @asset(key="t.by_day", partitions=days)
    def by_day(by_region: dict[str, str]) -> list[str]:
        return list(by_region)

    got = materialize_to_memory([by_region, by_day], partition_key="2026-01-05", now=NOW)
    assert got[by_day] == ["2026-01-05|eu", "2026-01-05|us"]
    got = materialize_to_memory(
        by_region, partition_key={"date": "2026-01-05", "region": "us"}, now=NOW
    )
    assert got[by_region] == "2026-01-05|us"

    @asset(key="t.customer", partitions=DynamicPartitions("customers"))
    def customer(key: PartitionKey) -> str:
        return str(key)

    got = materialize_to_memory(customer, partition_key="ana", dynamic={"customers": ["ana"]})
    assert got[customer] == "ana"


def test_mappings_apply_and_a_shifted_one_has_nothing_before_the_first() -> None:
    yesterday = PartitionMapping.time_window(start_offset=-1, end_offset=-1)

    @asset(namespace="shop", partitions=days, mappings={"revenue": yesterday})
    def growth(revenue: float | None) -> float | None:
        return revenue

    assets = [orders, revenue, growth]
    got = materialize_to_memory(assets, partition_key="2026-02-10", now=NOW)
    assert got[growth] == 9.0
    assert materialize_to_memory(assets, partition_key="2026-01-01", now=NOW)[growth] is None

    @asset(namespace="shop", partitions=days, mappings={"revenue": yesterday})
    def step(revenue: float) -> float:
        return revenue

    with pytest.raises(ArcoError, match=r"has 0 partitions of 'shop.revenue' to read"):
        materialize_to_memory([orders, revenue, step], partition_key="2026-01-01", now=NOW)

    @asset(namespace="shop", partitions=days, mappings={"revenue": yesterday})
    def listed(revenue: Sequence[float]) -> list[float]:
        return list(revenue)

    assets = [orders, revenue, listed]
    got = materialize_to_memory(assets, partition_key="2026-01-02", now=NOW)
    assert got[listed] == [1.0]
    assert materialize_to_memory(assets, partition_key="2026-01-01", now=NOW)[listed] == []


def test_values_are_handed_over_as_a_reader_would_load_them() -> None:
    import polars as pl

    @asset(key="t.table")
    def table() -> pl.DataFrame:
        return pl.DataFrame({"n": [1, 2]})

    @asset(key="t.lazily")
    def lazily(table: pl.LazyFrame) -> dict[str, list[int]]:
        return table.select("n").collect().to_dict(as_series=False)

    @asset(key="t.typed")
    def typed(lazily: Columns) -> int:
        return sum(lazily.n)

    got = materialize_to_memory([table, lazily, typed])
    assert got[typed] == 3
    assert isinstance(got[table], pl.DataFrame)
    assert materialize_to_memory(typed, given={lazily: {"n": [5]}})[typed] == 5


def test_a_value_that_could_not_be_stored_is_refused_when_it_is_read_unless_a_test_gives_it() -> (
    None
):
    class Session:
        pass

    @asset(key="t.session")
    def session() -> object:
        return Session()

    @asset(key="t.reader")
    def reader(session: object) -> str:
        return type(session).__name__

    with pytest.raises(ArcoError, match=r"'t.session' returned .*Session, which the IO 'json' can"):
        materialize_to_memory([session, reader])
    assert materialize_to_memory(reader, given={session: Session()})[reader] == "Session"


def test_order_only_dependencies_run_before_when_they_are_part_of_the_run() -> None:
    order: list[str] = []

    @asset(key="t.zz", kind="activity")
    def first() -> None:
        order.append("first")

    @asset(key="t.aa", deps=[first])
    def second() -> None:
        order.append("second")

    assert materialize_to_memory([second, first]).ok
    assert order == ["first", "second"]
    assert materialize_to_memory([second]).order == ["t.aa"]


def test_values_of_several_partitions_are_asked_for_one_by_one() -> None:
    got = materialize_to_memory([orders, revenue, weekly], partition_key="2026-01-11", now=NOW)
    with pytest.raises(ArcoError, match=r"7 partitions of 'shop.orders' were made"):
        got[orders]


def test_a_parameter_with_a_plain_default_keeps_it() -> None:
    @asset(key="t.limited")
    def limited(limit: int = 10) -> int:
        return limit

    assert materialize_to_memory(limited)[limited] == 10
    assert limited(3) == 3


def test_an_asset_stays_a_function() -> None:
    assert revenue([1, 2]) == 3.0
    assert rolling([1.0]) == [1.0]
    key = PartitionKey("2026-01-09", days)
    context = build_context(orders, partition_key=key)
    assert orders(key, Shop(), context) == [9]
    assert context.metadata == {"day": "2026-01-09"}
    with pytest.raises(ArcoError, match="was called without 'last', whose default revenue"):
        rolling()
    assert revenue.__name__ == "revenue"
    assert repr(revenue) == "<asset shop.revenue>"
