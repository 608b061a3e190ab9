"""A user's file that every type checker must accept without a word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_type

from arco_flow import (
    Asset,
    AssetContext,
    Check,
    CheckResult,
    DailyPartitions,
    Definitions,
    PartitionKey,
    PartitionMapping,
    Resource,
    RetryPolicy,
    WeeklyPartitions,
    asset,
    env,
    load_asset_value,
    secret,
)
from arco_flow.testing import build_context, materialize_to_memory

days = DailyPartitions("2026-01-01", timezone="Europe/Berlin")
Rows = list[dict[str, float]]


class Shop(Resource):
    url: str = env("SHOP_URL", "https://shop.example")
    token: str = secret("SHOP_TOKEN")
    page_size: int = 100

    async def open(self) -> None:
        return None

    def orders(self, day: str) -> Rows:
        return [{"id": float(len(day)), "eur": 40.0}]


class Report(Resource):
    shop: Shop = Shop()
    title: str = "Report"


@asset(partitions=days, retry=RetryPolicy(3, delay="10s", on=(TimeoutError,)), owners=["team:a"])
def orders(shop: Shop, day: PartitionKey, context: AssetContext) -> Rows:
    """Every paid order of one day."""
    rows = shop.orders(day)
    context.report(rows=len(rows), source=shop.url)
    return rows


@orders.check(blocking=True)
def ids_are_unique(rows: Rows) -> CheckResult:
    doubles = len(rows) - len({row["id"] for row in rows})
    return CheckResult(doubles == 0, f"{doubles} duplicate ids")


@orders.check(severity="warn")
def knows_its_attempt(rows: Rows, context: AssetContext) -> bool:
    return bool(rows) or context.attempt > 1


@orders.check
def knows_its_day(rows: Rows, day: PartitionKey) -> CheckResult:
    return CheckResult(bool(rows), f"orders of {day.window.start:%A}")


@orders.check
def is_not_empty(rows: Rows) -> bool:
    return bool(rows)


@asset(partitions=days, tags={"tier": "gold"}, cpu=0.5, memory="1GiB", timeout="1h")
def revenue(orders: Rows) -> float:
    return sum(row["eur"] for row in orders)


@asset(partitions=days)
def rolling(last: Sequence[float] = revenue[-6:]) -> float:
    return sum(last)


@asset(
    partitions=WeeklyPartitions("2026-01-01", timezone="Europe/Berlin"),
    mappings={"revenue": PartitionMapping.time_window(), rolling: PartitionMapping.last()},
    deps=[rolling, "other.asset"],
)
async def weekly(revenue: dict[str, float]) -> float:
    return sum(revenue.values())


@asset
def summary(week: float = weekly.out) -> str:
    return f"{week} EUR"


@asset(kind="activity", deps=[summary])
def notify(summary: str) -> None:
    return None


definitions = Definitions([orders, revenue], resources=[Shop(page_size=5), Report()])

assert_type(orders(Shop(url="x"), PartitionKey("2026-01-01"), build_context()), Rows)
assert_type(revenue([{"eur": 1.0}]), float)
assert_type(rolling([1.0]), float)
assert_type(summary.out, str)
assert_type(weekly.out, float)
assert_type(revenue[-6:], Sequence[float])
assert_type(ids_are_unique, Check[Rows])
assert_type(knows_its_day, Check[Rows])
assert_type(is_not_empty([]), bool | CheckResult)
knows_its_attempt([], build_context())

assert_type(load_asset_value(orders, "2026-01-01", project="."), Rows)
assert_type(load_asset_value(weekly), float)
assert_type(load_asset_value(weekly, project="gs://lake", tenant="acme", workspace="prod"), float)
assert_type(load_asset_value(orders, {"date": "2026-01-01"}, type_=list[int]), list[int])
assert_type(load_asset_value("sales.orders", type_=str), str)
assert_type(load_asset_value("sales.orders"), Any)


@asset(
    partitions=days,
    mappings={"balance": PartitionMapping.time_window(start_offset=-1, end_offset=-1)},
)
def balance(revenue: float, balance: Sequence[float]) -> float:
    return sum(balance) + revenue


assert_type(balance(1.0, [2.0]), float)

result = materialize_to_memory([orders, revenue], partition_key="2026-01-01")
assert_type(result[revenue], float)
assert_type(result.partitions(orders), dict[str, Rows])


def run_any(some: Asset[..., Any]) -> str:
    return some.key


run_any(orders)
run_any(weekly)


def value_of_an_async_asset() -> float:
    return assert_type(result[weekly], float)


async def sum_of_week() -> float:
    return assert_type(await weekly({"2026-01-01": 1.0}), float)
