"""How many upstream partitions an edge reads, and what a parameter must be to take them."""

from __future__ import annotations

import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from arco_flow.domain.partition_mappings import PartitionMapping, infer_mapping
from arco_flow.domain.partitions import (
    HourlyPartitions,
    MultiPartitions,
    PartitionsDefinition,
    TimePartitions,
)

if TYPE_CHECKING:
    from arco_flow.domain.time_partitions import DailyPartitions

Shape = Literal["value", "sequence", "mapping"]

_SEQUENCES = (list, Sequence, Collection, Iterable)


def reads_one(
    mapping: PartitionMapping,
    upstream: PartitionsDefinition | None,
    downstream: PartitionsDefinition | None,
) -> bool:
    """Whether every downstream partition reads at most one upstream partition."""
    if upstream is None or mapping.kind in ("identity", "last"):
        return True
    if mapping.kind == "specific":
        return len(mapping.keys) == 1
    if downstream is None or mapping.kind == "all":
        return False
    if mapping.kind == "time_window":
        return _one_window(mapping, upstream, downstream)
    if mapping.kind == "static":
        readers = [reader for _, downs in mapping.table for reader in downs]
        return len(readers) == len(set(readers))
    if mapping.kind == "dimensions":
        return _one_per_dimension(mapping, upstream, downstream)
    return _one_of_dimension(mapping, upstream, downstream)


def _one_window(
    mapping: PartitionMapping, upstream: PartitionsDefinition, downstream: PartitionsDefinition
) -> bool:
    if not isinstance(upstream, TimePartitions) or not isinstance(downstream, TimePartitions):
        return False
    if mapping.start_offset != mapping.end_offset:
        return False
    if upstream.cron_text() == downstream.cron_text():
        return True
    return _is_within(downstream, upstream)


def _is_within(fine: TimePartitions, coarse: TimePartitions) -> bool:
    """Whether each window of one lies within one window of the other, by their kinds."""
    order = {"hourly": 0, "daily": 1, "weekly": 2, "monthly": 2}
    low, high = order.get(fine.kind), order.get(coarse.kind)
    if low is None or high is None or low >= high:
        return False
    if isinstance(fine, HourlyPartitions):
        return fine.minute_offset == _time_of_day(coarse)[1]
    return _time_of_day(fine) == _time_of_day(coarse)


def _time_of_day(definition: TimePartitions) -> tuple[int, int]:
    daily = typing.cast("DailyPartitions", definition)
    return daily.hour_offset, daily.minute_offset


def _one_per_dimension(
    mapping: PartitionMapping, upstream: PartitionsDefinition, downstream: PartitionsDefinition
) -> bool:
    assert isinstance(upstream, MultiPartitions)  # validated before
    assert isinstance(downstream, MultiPartitions)
    if {row[0] for row in mapping.dims} != set(upstream.dims):
        return False
    return all(
        reads_one(part, upstream.dims[up], downstream.dims[down]) for up, down, part in mapping.dims
    )


def _one_of_dimension(
    mapping: PartitionMapping, upstream: PartitionsDefinition, downstream: PartitionsDefinition
) -> bool:
    from arco_flow.domain.mapping_definitions import dimension_of

    if isinstance(upstream, MultiPartitions):
        if len(upstream.dims) > 1:
            return False
        part = upstream.dims[dimension_of(mapping, upstream, downstream)]
        return reads_one(infer_mapping(part, downstream), part, downstream)
    assert isinstance(downstream, MultiPartitions)  # validated before
    part = downstream.dims[dimension_of(mapping, upstream, downstream)]
    return reads_one(infer_mapping(upstream, part), upstream, part)


def shape_of_one(annotation: object, produced: object) -> Shape:
    """The shape in which a parameter takes at most one partition of what returns `produced`.

    A "sequence" or "mapping" when the annotation holds such values and can be none itself.
    """
    from arco_flow.io.annotations import is_open
    from arco_flow.sdk.compat import is_certain_mismatch
    from arco_flow.sdk.execution import element_annotation

    shape = shape_of_many(annotation, "value")
    if shape in (None, "value") or is_open(produced):
        return "value"
    element = element_annotation(annotation, shape)
    fits = not is_certain_mismatch(produced, element)
    is_many = element == produced or (fits and is_certain_mismatch(produced, annotation))
    return shape if is_many else "value"


def shape_of_many(annotation: object, default: Shape = "mapping") -> Shape | None:
    """The shape in which a parameter takes several partitions; None when it can take only one.

    default: of a parameter without annotation; "mapping", a dict by partition key, is Dagster's.
    """
    from arco_flow.io.annotations import is_open, plain_annotation

    annotation = plain_annotation(annotation)
    if is_open(annotation):
        return default
    class_ = typing.get_origin(annotation) or annotation
    if class_ in (dict, Mapping):
        return "mapping"
    return "sequence" if class_ in _SEQUENCES else None
