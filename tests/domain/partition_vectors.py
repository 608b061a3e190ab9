"""Reading the oracle's definitions, mappings and results into ours."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from arco_flow.domain.partition_mappings import PartitionMapping, infer_mapping
from arco_flow.domain.partitions import (
    CronPartitions,
    DailyPartitions,
    HourlyPartitions,
    MonthlyPartitions,
    MultiPartitions,
    PartitionContext,
    StaticPartitions,
    WeeklyPartitions,
)

VECTORS = Path(__file__).parents[1] / "vectors"
BY_TYPE = {
    "hourly": HourlyPartitions,
    "daily": DailyPartitions,
    "weekly": WeeklyPartitions,
    "monthly": MonthlyPartitions,
}


def vectors(name: str) -> list[dict[str, Any]]:
    return json.loads((VECTORS / name).read_text("utf-8"))["cases"]


def definition(given: dict[str, Any] | None) -> Any:
    if given is None:
        return None
    rest = {name: value for name, value in given.items() if name != "type"}
    if given["type"] == "static":
        return StaticPartitions(rest["keys"])
    if given["type"] == "multi":
        return MultiPartitions({name: definition(part) for name, part in rest["dims"].items()})
    start = rest.pop("start_date", None) or rest.pop("start")
    end = rest.pop("end_date", None)
    if given["type"] == "time_window":
        return CronPartitions(rest.pop("cron_schedule"), start=start, end=end, **rest)
    return BY_TYPE[given["type"]](start, end=end, **rest)


def context(case: dict[str, Any]) -> PartitionContext:
    return PartitionContext(datetime.fromisoformat(case["now"]) if case.get("now") else 0)


def mapping(given: Any, up: Any, down: Any) -> PartitionMapping:
    if given == "infer":
        return infer_mapping(up, down)
    kind = given["type"]
    if kind == "time_window":
        return PartitionMapping.time_window(
            start_offset=given.get("start_offset", 0),
            end_offset=given.get("end_offset", 0),
            allow_nonexistent_upstream=given.get("allow_nonexistent_upstream_partitions", False),
        )
    if kind == "specific":
        return PartitionMapping.specific(given["keys"])
    if kind == "static":
        return PartitionMapping.static(given["map"])
    if kind == "multi_to_single":
        return PartitionMapping.single_dimension(given.get("partition_dimension_name"))
    if kind == "multi":
        parts = given["dims"].items()
        return PartitionMapping.dimensions(
            {name: (part["dim"], mapping(part["mapping"], None, None)) for name, part in parts}
        )
    return getattr(PartitionMapping, kind)()


def same_keys(want: Any, got: list[str]) -> bool:
    """Long lists are recorded by count, head and tail."""
    if isinstance(want, dict):
        head, tail = want["head"], want["tail"]
        return want["count"] == len(got) and got[: len(head)] == head and got[-len(tail) :] == tail
    return want == got
