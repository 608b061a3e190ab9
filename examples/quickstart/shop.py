"""A shop's orders by day. Run a month of it: arco-flow run '*' --range 2025-01-01..2025-01-31"""

from collections.abc import Sequence

from arco_flow import DailyPartitions, PartitionKey, asset

days = DailyPartitions("2025-01-01", timezone="Europe/Berlin")


@asset(partitions=days)
def orders(day: PartitionKey) -> list[float]:
    """What each order of a day came to, in euros; a real asset would ask the shop."""
    return [20.0 * number for number in range(1, day.window.start.isoweekday() + 1)]


@orders.check(blocking=True)
def nothing_is_free(orders: list[float]) -> bool:
    """A failed blocking check keeps the day from being published, and `revenue` from running."""
    return all(euros > 0 for euros in orders)


@asset(partitions=days)
def revenue(orders: list[float]) -> float:
    """The parameter is named after an asset, so it gets that asset's value for the same day."""
    return sum(orders)


@asset(partitions=days)
def best_day(last_week: Sequence[float] = revenue[-6:]) -> float:
    """A slice asks for several partitions: this day and the six before it."""
    return max(last_week)
