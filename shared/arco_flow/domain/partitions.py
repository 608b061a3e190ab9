"""How an asset is cut into partitions: by time, by fixed names, by names that come and go.

A partition key is what people see (`2026-01-31`, `eu`, `2026-01-31|eu`); its canonical form
(domain/partition_keys.py) is what the plane stores. Which partitions exist depends on the time
and on registered names, both of which come in a PartitionContext: nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from arco_flow.domain.errors import InvalidInput, did_you_mean
from arco_flow.domain.multi_partitions import MultiPartitions
from arco_flow.domain.name_partitions import DynamicPartitions, StaticPartitions
from arco_flow.domain.partition_base import (
    PartitionContext,
    PartitionsDefinition,
    require_key,
    unknown_key,
)
from arco_flow.domain.time_partitions import (
    CronPartitions,
    DailyPartitions,
    HourlyPartitions,
    MonthlyPartitions,
    TimePartitions,
    WeeklyPartitions,
)
from arco_flow.domain.time_windows import TimeWindow


def partitions_from_wire(wire: Mapping[str, Any]) -> PartitionsDefinition:
    """The definition that `to_wire()` wrote. Raises InvalidInput for anything else."""
    kind = wire.get("kind") if isinstance(wire, Mapping) else None
    read = _READERS.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise InvalidInput(
            f"unknown kind of partitions {kind!r}{did_you_mean(str(kind), _READERS)}",
            fix=f"one of {', '.join(_READERS)}",
            reason="BAD_PARTITIONS",
        )
    try:
        return read(wire)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InvalidInput(
            f"malformed definition of {kind} partitions: {error!r}", reason="BAD_PARTITIONS"
        ) from error


def _read_multi(wire: Mapping[str, Any]) -> MultiPartitions:
    dims = wire["dims"]
    return MultiPartitions({name: partitions_from_wire(dims[name]) for name in dims})


_READERS: Mapping[str, Callable[[Mapping[str, Any]], PartitionsDefinition]] = {
    "hourly": HourlyPartitions.from_wire,
    "daily": DailyPartitions.from_wire,
    "weekly": WeeklyPartitions.from_wire,
    "monthly": MonthlyPartitions.from_wire,
    "cron": CronPartitions.from_wire,
    "static": StaticPartitions.from_wire,
    "dynamic": DynamicPartitions.from_wire,
    "multi": _read_multi,
}

__all__ = [
    "PartitionsDefinition",
    "PartitionContext",
    "HourlyPartitions",
    "DailyPartitions",
    "WeeklyPartitions",
    "MonthlyPartitions",
    "CronPartitions",
    "TimePartitions",
    "StaticPartitions",
    "DynamicPartitions",
    "MultiPartitions",
    "TimeWindow",
    "partitions_from_wire",
    "require_key",
    "unknown_key",
]
