"""Applying partition mappings to sets of partitions.

A set of several dimensions is taken apart into products (boxes); a product maps side by side.
Windows are mapped span by span, so a million of them cost what one of them costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

from arco_flow.domain import partition_trees as trees
from arco_flow.domain.mapping_definitions import (
    PartitionMapping,
    check_time_window,
    dimension_of,
    infer_mapping,
    validate_mapping,
)
from arco_flow.domain.partition_set_wire import axes_of
from arco_flow.domain.partition_sets import PartitionSet
from arco_flow.domain.partitions import (
    MultiPartitions,
    PartitionContext,
    PartitionsDefinition,
    TimePartitions,
)


class MappedKeys(NamedTuple):
    """What upstream partitions are read: those that exist, and the keys of those that do not.

    nonexistent: required keys that do not exist now; a partition that has any can not run.
    """

    existing: PartitionSet
    nonexistent: tuple[str, ...] = ()


def upstream_of(
    mapping: PartitionMapping,
    downstream: PartitionsDefinition | None,
    upstream: PartitionsDefinition | None,
    keys: Iterable[str] | PartitionSet,
    ctx: PartitionContext,
) -> MappedKeys:
    """What the downstream partitions `keys` read. Keys that do not exist downstream read nothing.

    An asset without partitions has the one key "" ; `keys` of one may also be left empty.
    Raises DefinitionError when the mapping can not hold between the two definitions.
    """
    if upstream is None:
        return MappedKeys(PartitionSet.all(None, ctx))
    if downstream is None:
        found = PartitionSet.of(None, [""])
    else:
        found = _as_set(downstream, keys, ctx)
    if not found:
        return MappedKeys(PartitionSet.empty(upstream))
    return _up(mapping, found, upstream, ctx)


def downstream_of(
    mapping: PartitionMapping,
    upstream: PartitionsDefinition | None,
    downstream: PartitionsDefinition | None,
    keys: Iterable[str] | PartitionSet,
    ctx: PartitionContext,
) -> PartitionSet:
    """Which existing downstream partitions read any of the upstream partitions `keys`."""
    found = PartitionSet.of(None, [""]) if upstream is None else _as_set(upstream, keys, ctx)
    if not found:
        return PartitionSet.empty(downstream)
    return _down(mapping, found, downstream, ctx)


def _as_set(
    definition: PartitionsDefinition, keys: Iterable[str] | PartitionSet, ctx: PartitionContext
) -> PartitionSet:
    if isinstance(keys, PartitionSet):
        return keys
    if isinstance(definition, TimePartitions):
        count = definition.count(ctx)
        numbers = [definition.windows.find(key) for key in keys]
        known = [(n, n + 1) for n in numbers if n is not None and 0 <= n < count]
        return PartitionSet(definition, trees.spans(known))
    return PartitionSet.of(definition, [key for key in keys if definition.has(key, ctx)])


def _up(
    mapping: PartitionMapping, keys: PartitionSet, upstream: PartitionsDefinition,
    ctx: PartitionContext,
) -> MappedKeys:  # fmt: skip
    downstream = keys.definition
    kind = mapping.kind
    # The first two choose without a look at what reads them, which may have no partitions.
    if kind == "last":
        last = upstream.last(ctx)
        return MappedKeys(PartitionSet.of(upstream, [] if last is None else [last]))
    if kind == "specific":
        return _split(upstream, mapping.keys, ctx)
    if kind == "all" or downstream is None:
        return MappedKeys(PartitionSet.all(upstream, ctx))
    if kind == "static":
        found = (up for up, down in mapping.table if any(key in keys for key in down))
        return _split(upstream, found, ctx)
    if kind == "time_window":
        return _windows_up(mapping, keys, upstream, ctx)
    if kind == "identity":
        return _same_keys(keys, upstream, ctx)
    return _sides_up(_pairs(mapping, upstream, downstream), keys, upstream, ctx)


def _down(
    mapping: PartitionMapping, keys: PartitionSet, downstream: PartitionsDefinition | None,
    ctx: PartitionContext,
) -> PartitionSet:  # fmt: skip
    upstream = keys.definition
    kind = mapping.kind
    if kind in ("last", "specific") and upstream is not None:
        read = [upstream.last(ctx)] if kind == "last" else mapping.keys
        hit = any(key in keys for key in read)
        return PartitionSet.all(downstream, ctx) if hit else PartitionSet.empty(downstream)
    if kind == "all" or upstream is None or downstream is None:
        return PartitionSet.all(downstream, ctx)
    if kind == "static":
        found = (key for up, down in mapping.table if up in keys for key in down)
        return _split(downstream, found, ctx).existing
    if kind == "time_window":
        return _windows_down(mapping, keys, downstream, ctx)
    if kind == "identity":
        return _same_keys(keys, downstream, ctx).existing
    return _sides_down(_pairs(mapping, upstream, downstream), keys, downstream, ctx)


def _split(
    definition: PartitionsDefinition, keys: Iterable[str], ctx: PartitionContext
) -> MappedKeys:
    """Keys by whether they exist."""
    wanted = list(dict.fromkeys(keys))
    existing = [key for key in wanted if definition.has(key, ctx)]
    known = set(existing)
    return MappedKeys(
        PartitionSet.of(definition, existing), tuple(key for key in wanted if key not in known)
    )


def _same_keys(
    keys: PartitionSet, target: PartitionsDefinition, ctx: PartitionContext
) -> MappedKeys:
    if keys.definition != target:
        return _split(target, keys.keys(), ctx)
    existing = keys.existing(ctx)
    return MappedKeys(existing, tuple((keys - existing).keys()) if existing != keys else ())


# By time


def _windows_up(
    mapping: PartitionMapping, keys: PartitionSet, upstream: PartitionsDefinition,
    ctx: PartitionContext,
) -> MappedKeys:  # fmt: skip
    downstream = keys.definition
    assert downstream is not None
    check_time_window(upstream, downstream)
    assert isinstance(upstream, TimePartitions)
    assert isinstance(downstream, TimePartitions)
    count = upstream.count(ctx)
    bounds = _bounds(upstream, count)
    before, after = mapping.start_offset, mapping.end_offset
    found: list[tuple[int, int]] = []
    for low, high in _spans(keys) if before <= after else ():
        for start, end in _stretches(downstream, low + before, high + after):
            clamped = _clamped(start, before, bounds), _clamped(end, after, bounds)
            found.append(upstream.windows.overlapping(*clamped))
    existing = [(max(low, 0), min(high, count)) for low, high in found]
    missing: tuple[str, ...] = ()
    if not mapping.allow_nonexistent_upstream:
        missing = tuple(_outside(upstream, found, count))
    return MappedKeys(PartitionSet(upstream, trees.spans(existing)), missing)


def _windows_down(
    mapping: PartitionMapping, keys: PartitionSet, downstream: PartitionsDefinition,
    ctx: PartitionContext,
) -> PartitionSet:  # fmt: skip
    upstream = keys.definition
    assert upstream is not None
    check_time_window(upstream, downstream)
    assert isinstance(upstream, TimePartitions)
    assert isinstance(downstream, TimePartitions)
    if mapping.start_offset > mapping.end_offset:
        return PartitionSet.empty(downstream)
    count = downstream.count(ctx)
    found: list[tuple[int, int]] = []
    for low, high in _spans(keys):
        for start, end in _stretches(upstream, low, high):
            first, last = downstream.windows.overlapping(start, end)
            if first < last:
                first, last = first - mapping.end_offset, last - mapping.start_offset
                found.append((max(first, 0), min(last, count)))
    return PartitionSet(downstream, trees.spans(found))


def _spans(keys: PartitionSet) -> Iterator[tuple[int, int]]:
    for low, high, _ in keys.tree if isinstance(keys.tree, tuple) else ():
        yield low, high


def _stretches(definition: TimePartitions, low: int, high: int) -> Iterator[tuple[int, int]]:
    """The time that the windows low to high - 1 cover, cut where excluded windows lie between."""
    windows = definition.windows
    start = windows.start(low)
    for number in range(low + 1, high) if definition.exclusions else ():
        end, following = windows.end(number - 1), windows.start(number)
        if end != following:
            yield start, end
            start = following
    yield start, windows.end(high - 1)


def _bounds(definition: TimePartitions, count: int) -> tuple[int, int] | None:
    if count == 0:
        return None
    return definition.windows.start(0), definition.windows.end(count - 1)


def _clamped(instant: int, offset: int, bounds: tuple[int, int] | None) -> int:
    """What an offset pushes over the edge of the existing partitions stops at that edge."""
    if bounds is None or offset == 0:
        return instant
    return max(instant, bounds[0]) if offset < 0 else min(instant, bounds[1])


def _outside(
    definition: TimePartitions, ranges: Sequence[tuple[int, int]], count: int
) -> Iterator[str]:
    """Keys of windows in the ranges that are not among the first `count`."""
    for low, high in ranges:
        if low < 0 or high > count:
            break
    else:
        return
    wanted = trees.subtract(trees.spans(ranges), trees.spans([(0, count)]))
    for low, high, _ in wanted if isinstance(wanted, tuple) else ():
        yield from definition.windows.keys(low, high)


# By dimension

Pair = tuple[str, str, PartitionMapping]
"""(upstream dimension, downstream dimension, mapping); "" for a side without dimensions."""


def _pairs(
    mapping: PartitionMapping, upstream: PartitionsDefinition, downstream: PartitionsDefinition
) -> list[Pair]:
    if mapping.kind == "dimensions":
        validate_mapping(mapping, upstream, downstream)
        return list(mapping.dims)
    name = dimension_of(mapping, upstream, downstream)
    up = name if isinstance(upstream, MultiPartitions) else ""
    down = name if isinstance(downstream, MultiPartitions) else ""
    return [(up, down, infer_mapping(_part(upstream, up), _part(downstream, down)))]


def _part(definition: PartitionsDefinition, name: str) -> PartitionsDefinition:
    return definition.dims[name] if isinstance(definition, MultiPartitions) else definition


def _sides_up(
    pairs: Sequence[Pair], keys: PartitionSet, upstream: PartitionsDefinition,
    ctx: PartitionContext,
) -> MappedKeys:  # fmt: skip
    existing = PartitionSet.empty(upstream)
    missing: dict[str, None] = {}
    for box in _boxes(keys, [down for _, down, _ in pairs]):
        sides: dict[str, MappedKeys] = {
            name: MappedKeys(PartitionSet.all(part, ctx)) for name, part in axes_of(upstream)
        }
        for up, down, mapping in pairs:
            sides[up] = _up(mapping, box[down], _part(upstream, up), ctx)
        product_of = trees.product([side.existing.tree for side in sides.values()])
        existing |= PartitionSet(upstream, product_of)
        if any(side.nonexistent for side in sides.values()):
            missing.update(dict.fromkeys(_missing(upstream, sides)))
    return MappedKeys(existing, tuple(missing))


def _missing(upstream: PartitionsDefinition, sides: Mapping[str, MappedKeys]) -> Iterator[str]:
    """Keys of the product of what is required, in which at least one part does not exist."""
    if not isinstance(upstream, MultiPartitions):
        yield from sides[""].nonexistent
        return
    absent = {name: set(side.nonexistent) for name, side in sides.items()}
    required = [[*sides[name].nonexistent, *sides[name].existing.keys()] for name in upstream.dims]
    for parts in product(*required):
        if any(part in absent[name] for name, part in zip(upstream.dims, parts, strict=True)):
            yield "|".join(parts)


def _sides_down(
    pairs: Sequence[Pair], keys: PartitionSet, downstream: PartitionsDefinition,
    ctx: PartitionContext,
) -> PartitionSet:  # fmt: skip
    found = PartitionSet.empty(downstream)
    for box in _boxes(keys, [up for up, _, _ in pairs]):
        sides = {name: PartitionSet.all(part, ctx) for name, part in axes_of(downstream)}
        for up, down, mapping in pairs:
            sides[down] &= _down(mapping, box[up], _part(downstream, down), ctx)
        product_of = trees.product([side.tree for side in sides.values()])
        found |= PartitionSet(downstream, product_of)
    return found


def _boxes(keys: PartitionSet, used: Sequence[str]) -> Iterator[dict[str, PartitionSet]]:
    """The products that a set consists of.

    A dimension that is used twice is taken key by key: the image of a product under two mappings
    of one side is no product.
    """
    twice = {name for name in used if used.count(name) > 1}
    for box in keys.boxes():
        if not twice:
            yield box
            continue
        singles = [
            [PartitionSet.of(box[name].definition, [key]) for key in box[name]]
            for name in sorted(twice)
        ]
        for combination in product(*singles):
            yield {**box, **dict(zip(sorted(twice), combination, strict=True))}
