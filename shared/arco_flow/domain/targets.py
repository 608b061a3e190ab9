"""Which partitions of which assets a run request means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, product
from math import prod
from typing import Any

from arco_flow.domain.errors import InvalidInput, TooLarge
from arco_flow.domain.manifest import AssetSpec
from arco_flow.domain.multi_partitions import MultiPartitions
from arco_flow.domain.name_partitions import DynamicPartitions, check_key_length
from arco_flow.domain.partition_base import (
    PartitionContext,
    PartitionsDefinition,
    backwards,
    unknown_key,
)
from arco_flow.domain.partition_parts import SEPARATOR
from arco_flow.domain.partition_sets import PartitionSet
from arco_flow.domain.time_partitions import TimePartitions

MAX_TASKS = 10_000
"""Tasks of one run: its state is one document. More is what backfills are for."""


@dataclass(frozen=True, slots=True)
class PartitionRequest:
    """The partitions a caller names: a list of keys, an inclusive range, or all of them."""

    keys: tuple[str, ...] = ()
    start: str = ""
    end: str = ""
    everything: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing was named, as for unpartitioned assets."""
        return not (self.keys or self.start or self.end or self.everything)


def resolve_targets(
    specs: Sequence[AssetSpec],
    definitions: Mapping[str, PartitionsDefinition],
    request: PartitionRequest,
    ctx: PartitionContext,
) -> dict[str, list[str]]:
    """Partition keys per asset, in order; [""] for an unpartitioned asset.

    A range means the same span of time for every time-partitioned asset: one that is cut
    otherwise takes its partitions that lie whole within the span. An asset that gets no
    partition by the keys or the range is left out, as long as another one gets some. Raises
    InvalidInput when a partitioned asset is selected and nothing was named, when a key fits no
    selected asset or no asset gets a partition; TooLarge over MAX_TASKS.
    """
    partitioned = [spec.key for spec in specs if spec.key in definitions]
    chosen = {key: definitions[key] for key in partitioned}
    _check_named(chosen, request, ctx)
    span = _span(chosen, request, ctx)
    _check_used(chosen, request, ctx)
    _check_total(
        sum(
            _count_of(chosen[spec.key], request, span, ctx) if spec.key in chosen else 1
            for spec in specs
        )
    )
    found = {
        spec.key: [""] if spec.key not in chosen else _keys_of(chosen[spec.key], request, span, ctx)
        for spec in specs
    }
    if partitioned and not any(found[key] for key in partitioned):
        raise _no_partition(partitioned[0], chosen[partitioned[0]], request, ctx)
    found = {key: keys for key, keys in found.items() if keys}
    check_count(found)
    return found


def _check_named(
    chosen: Mapping[str, PartitionsDefinition], request: PartitionRequest, ctx: PartitionContext
) -> None:
    if chosen and request.is_empty:
        raise _unnamed(chosen, ctx)
    if not chosen and not (request.is_empty or request.everything):
        raise InvalidInput(
            "partitions were named, but no selected asset is partitioned",
            fix="leave them out, or select a partitioned asset",
            reason="PARTITIONS_UNUSED",
        )


def _unnamed(chosen: Mapping[str, PartitionsDefinition], ctx: PartitionContext) -> InvalidInput:
    """The error for a request without partitions; it names one that exists, to be copied."""
    last = {asset: definition.last(ctx) or "" for asset, definition in chosen.items()}
    asset = next((asset for asset, key in last.items() if key), next(iter(last)))
    key = last[asset]
    definition = chosen[asset]
    name = definition.name if isinstance(definition, DynamicPartitions) else ""
    ways = f"-p '{key}', --range START..END, or --all-partitions"
    return InvalidInput(
        f"asset '{asset}' is partitioned: say which partitions to run",
        fix=ways if key else f"no partition exists yet: {_first_partition(name)}",
        reason="PARTITIONS_REQUIRED",
        details={"asset": asset, "partition": key, "definition": name},
    )


def _first_partition(name: str) -> str:
    return f"arco-flow partitions add {name} KEY" if name else "wait for the first"


Span = tuple[int, int]


def _span(
    chosen: Mapping[str, PartitionsDefinition], request: PartitionRequest, ctx: PartitionContext
) -> Span | None:
    """The time that a range means (UTC epoch seconds), by the first definition that reads it."""
    if not request.start and not request.end:
        return None
    for definition in chosen.values():
        time = _time_part(definition)
        if time and time.has(request.start, ctx) and time.has(request.end, ctx):
            start, end = time.window(request.start), time.window(request.end)
            if start.start > end.start:
                raise backwards(request.start, request.end)
            return (start.start, end.end)
    return None


def _time_part(definition: PartitionsDefinition) -> TimePartitions | None:
    if isinstance(definition, TimePartitions):
        return definition
    if isinstance(definition, MultiPartitions) and definition.time_dimension is not None:
        part = definition.dims[definition.time_dimension]
        return part if isinstance(part, TimePartitions) else None
    return None


def _count_of(
    definition: PartitionsDefinition,
    request: PartitionRequest,
    span: Span | None,
    ctx: PartitionContext,
) -> int:
    """How many keys `_keys_of` would list, or at least how many it names: known without a list."""
    if request.everything:
        return definition.count(ctx)
    if request.keys:
        return 0
    if span is None:
        return PartitionSet.between(definition, request.start, request.end, ctx).count
    time = _time_part(definition)
    if time is None:
        return 0
    low, high = _numbers_within(time, span, ctx)
    others = (
        part.count(ctx)
        for part in (definition.dims.values() if isinstance(definition, MultiPartitions) else ())
        if part is not time
    )
    return (high - low) * prod(others)


def _keys_of(
    definition: PartitionsDefinition,
    request: PartitionRequest,
    span: Span | None,
    ctx: PartitionContext,
) -> list[str]:
    if request.everything:
        return definition.keys(ctx)
    if request.keys:
        named = (key for key in dict.fromkeys(request.keys) if definition.has(key, ctx))
        return in_order(definition, named, ctx)
    if span is not None:
        return _within(definition, span, ctx) if _time_part(definition) is not None else []
    return definition.range(request.start, request.end, ctx)


def in_order(
    definition: PartitionsDefinition, names: Iterable[str], ctx: PartitionContext
) -> list[str]:
    """Existing keys in the order of their definition."""
    keys = list(names)
    return keys if len(keys) < 2 else sorted(keys, key=_place_in(definition, ctx))


def _place_in(definition: PartitionsDefinition, ctx: PartitionContext) -> Callable[[str], Any]:
    """Where a key stands, without listing the product of several dimensions."""
    if isinstance(definition, TimePartitions):
        return definition.number
    if isinstance(definition, MultiPartitions):
        parts = [_place_in(part, ctx) for part in definition.dims.values()]
        return lambda key: [
            place(part) for place, part in zip(parts, definition.split(key).values(), strict=True)
        ]
    return {key: number for number, key in enumerate(definition.keys(ctx))}.__getitem__


def _within(definition: PartitionsDefinition, span: Span, ctx: PartitionContext) -> list[str]:
    time = _time_part(definition)
    assert time is not None
    inside = list(time.windows.keys(*_numbers_within(time, span, ctx)))
    if not isinstance(definition, MultiPartitions):
        return inside
    parts = (
        inside if name == definition.time_dimension else part.keys(ctx)
        for name, part in definition.dims.items()
    )
    return [SEPARATOR.join(combination) for combination in product(*parts)]


def _numbers_within(time: TimePartitions, span: Span, ctx: PartitionContext) -> tuple[int, int]:
    """Numbers [low, high) of the existing windows that lie whole within a span."""
    low = max(time.windows.starting_before(span[0]), 0)
    return low, max(low, min(time.windows.ended_by(span[1]), time.count(ctx)))


def _no_partition(
    asset: str, definition: PartitionsDefinition, request: PartitionRequest, ctx: PartitionContext
) -> InvalidInput:
    if len(request.keys) == 1:
        error = unknown_key(definition, request.keys[0], ctx)
        return InvalidInput(
            f"asset '{asset}' has {error.message}",
            fix=None if error.fix is None else error.fix.replace("ASSET", asset),
            reason=error.reason,
            details=error.details,
        )
    asked = f"{request.start} .. {request.end}" if request.start else ", ".join(request.keys[:5])
    first, last = definition.first(ctx), definition.last(ctx)
    return InvalidInput(
        f"asset '{asset}' has no partition in {asked or 'what was asked'} "
        f"(its partitions run from '{first}' to '{last}')",
        fix="leave the asset out of the selection, or name partitions that it has",
        reason="UNKNOWN_PARTITION",
    )


def _check_used(
    chosen: Mapping[str, PartitionsDefinition], request: PartitionRequest, ctx: PartitionContext
) -> None:
    for key in request.keys:
        if not any(definition.has(key, ctx) for definition in chosen.values()):
            asset, definition = next(iter(chosen.items()))
            raise _no_partition(asset, definition, PartitionRequest(keys=(key,)), ctx)


def check_count(found: Mapping[str, Sequence[str]]) -> None:
    """Raises TooLarge over MAX_TASKS, InvalidInput for none, or for a key that is too long."""
    total = sum(len(keys) for keys in found.values())
    _check_total(total)
    for key in chain.from_iterable(found.values()):
        check_key_length(key)
    if total == 0:
        raise InvalidInput(
            "the selection matches no asset",
            fix="arco-flow assets lists what is there",
            reason="EMPTY_SELECTION",
        )


def _check_total(total: int) -> None:
    if total > MAX_TASKS:
        raise TooLarge(
            f"the run would have {total} tasks; at most {MAX_TASKS} fit into one",
            fix="name fewer partitions or assets, and start several runs",
            reason="TOO_MANY_TASKS",
            details={"tasks": total, "limit": MAX_TASKS},
        )
