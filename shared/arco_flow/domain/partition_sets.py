"""Compact sets of partitions of one definition.

A set by time is a few spans of window numbers; a set by name is its names; a set of several
dimensions merges what is equal (domain/partition_trees.py). Sets are values: operations return
new ones. What is written down are instants and names, not numbers, so that a set survives a
definition whose start moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from arco_flow.domain import partition_trees as trees
from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.partition_base import backwards
from arco_flow.domain.partition_set_wire import (
    Axis,
    axes_of,
    excluding,
    tree_from_wire,
    tree_to_wire,
    written_exclusions,
)
from arco_flow.domain.partition_trees import Side, Tree
from arco_flow.domain.partitions import (
    MultiPartitions,
    PartitionContext,
    PartitionsDefinition,
    StaticPartitions,
    TimePartitions,
)


@dataclass(frozen=True, slots=True, repr=False)
class PartitionSet:
    """A set of partition keys of `definition`; None is what is not partitioned (one key: "").

    Make one with empty(), of(), all() or between(). Operands of an operation must have equal
    definitions: anything else raises InvalidInput.
    """

    definition: PartitionsDefinition | None
    tree: Tree | None = None

    @classmethod
    def empty(cls, definition: PartitionsDefinition | None) -> PartitionSet:
        """No key."""
        return cls(definition)

    @classmethod
    def of(cls, definition: PartitionsDefinition | None, keys: Iterable[str]) -> PartitionSet:
        """These keys, whether or not they exist yet. Raises InvalidInput for impossible ones."""
        axes = axes_of(definition)
        if definition is None:
            return cls(None, True if any(key == "" for key in keys) else None)
        return cls(definition, trees.of_points([_point(definition, axes, key) for key in keys]))

    @classmethod
    def all(cls, definition: PartitionsDefinition | None, ctx: PartitionContext) -> PartitionSet:
        """Every key that exists now."""
        sides = [_all_of(part, ctx) for _, part in axes_of(definition)]
        return cls(definition, trees.product(sides))

    @classmethod
    def between(
        cls, definition: PartitionsDefinition, start: str, end: str, ctx: PartitionContext
    ) -> PartitionSet:
        """definition.range(start, end) as a set. Raises InvalidInput as that does."""
        if isinstance(definition, MultiPartitions):
            low, high = definition.split(start), definition.split(end)
            sides = [
                cls.between(part, low[name], high[name], ctx).tree
                for name, part in axes_of(definition)
            ]
            return cls(definition, trees.product(sides))
        if isinstance(definition, TimePartitions):
            found = definition.range(start, start, ctx) and definition.range(end, end, ctx)
            numbers = definition.number(start), definition.number(end)
            if numbers[0] > numbers[1] or not found:
                raise backwards(start, end)
            return cls(definition, trees.spans([(numbers[0], numbers[1] + 1)]))
        return cls(definition, trees.names(definition.range(start, end, ctx)))

    def existing(self, ctx: PartitionContext) -> PartitionSet:
        """Those of the keys that exist now."""
        return PartitionSet(self.definition, _restricted(self.tree, axes_of(self.definition), ctx))

    def union(self, other: PartitionSet) -> PartitionSet:
        """Keys of either."""
        return self._with(other, trees.union)

    def intersect(self, other: PartitionSet) -> PartitionSet:
        """Keys of both."""
        return self._with(other, trees.intersect)

    def difference(self, other: PartitionSet) -> PartitionSet:
        """Keys of this one that are not in the other."""
        return self._with(other, trees.subtract)

    def __or__(self, other: PartitionSet) -> PartitionSet:
        return self.union(other)

    def __and__(self, other: PartitionSet) -> PartitionSet:
        return self.intersect(other)

    def __sub__(self, other: PartitionSet) -> PartitionSet:
        return self.difference(other)

    def __bool__(self) -> bool:
        return self.tree is not None

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False
        if self.definition is None:
            return key == "" and self.tree is True
        try:
            point = _point(self.definition, axes_of(self.definition), key)
        except InvalidInput:
            return False
        return trees.contains(self.tree, point)

    def __len__(self) -> int:
        return trees.size(self.tree)

    def __iter__(self) -> Iterator[str]:
        return self.keys()

    def __repr__(self) -> str:
        shown = [start if start == end else f"{start}…{end}" for start, end in self.ranges()[:4]]
        return f"PartitionSet({len(self)}: {', '.join(shown)})"

    def __hash__(self) -> int:
        return hash((type(self.definition), len(self)))

    @property
    def count(self) -> int:
        """How many keys there are."""
        return trees.size(self.tree)

    def keys(self) -> Iterator[str]:
        """The keys in the definition's order (dynamic ones: by name)."""
        if self.definition is None:
            return iter([""] if self.tree else [])
        if isinstance(self.definition, MultiPartitions):
            return self._multi_keys(self.definition)
        return (key for low, high in self._runs() for key in _side_keys(self.definition, low, high))

    def ranges(self) -> list[tuple[str, str]]:
        """(first, last) of every run of neighbouring keys, in order, for people.

        Of several dimensions, each is a box: what definition.range(first, last) gives.
        """
        if not isinstance(self.definition, MultiPartitions):
            if self.definition is None:
                return [("", "")] if self.tree else []
            return [_ends(self.definition, low, high) for low, high in self._runs()]
        axes = axes_of(self.definition)
        found = []
        for box in trees.boxes(self.tree):
            sides = [
                [_ends(part, low, high) for low, high in _runs(part, side)]
                for (_, part), side in zip(axes, box, strict=True)
            ]
            for ends in product(*sides):
                corners = [
                    dict(zip(dict(axes), corner, strict=True)) for corner in zip(*ends, strict=True)
                ]
                found.append((self.definition.join(corners[0]), self.definition.join(corners[1])))
        return found

    def boxes(self) -> Iterator[dict[str, PartitionSet]]:
        """The set as a disjoint union of products: one set per dimension each."""
        axes = axes_of(self.definition)
        for box in trees.boxes(self.tree):
            sides = (_tree_of(side) for side in box)
            yield {
                name: PartitionSet(part, side)
                for (name, part), side in zip(axes, sides, strict=True)
            }

    def to_wire(self) -> dict[str, Any]:
        """JSON of the set: instants and names; text, integers, lists and objects only.

        Equal sets of equal definitions give equal JSON.
        """
        axes = axes_of(self.definition)
        wire: dict[str, Any] = {"set": tree_to_wire(self.tree, axes)}
        if isinstance(self.definition, MultiPartitions):
            wire["axes"] = [name for name, _ in axes]
        excluded = {
            name: written_exclusions(part) for name, part in axes if written_exclusions(part)
        }
        if excluded:
            wire["exclusions"] = excluded
        return wire

    @classmethod
    def from_wire(
        cls, definition: PartitionsDefinition | None, wire: Mapping[str, Any]
    ) -> PartitionSet:
        """Inverse of to_wire(), also when the start, end or exclusions have changed since.

        Windows that the definition no longer has are dropped. Raises InvalidInput for JSON of
        another shape.
        """
        axes = axes_of(definition)
        if isinstance(definition, MultiPartitions) and wire.get("axes") != [n for n, _ in axes]:
            raise InvalidInput(f"a set over {wire.get('axes')} is none of {[n for n, _ in axes]}")
        try:
            excluded = wire.get("exclusions", {})
            written = [(name, excluding(part, excluded.get(name, ()))) for name, part in axes]
            tree = tree_from_wire(wire["set"], written, axes)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput(f"malformed set of partitions: {error!r}") from error
        return cls(definition, tree)

    def _with(
        self, other: PartitionSet, join: Callable[[Tree | None, Tree | None], Tree | None]
    ) -> PartitionSet:
        if self.definition is not other.definition and self.definition != other.definition:
            raise InvalidInput(
                "sets of different partitions can not be combined",
                fix="map one to the other's definition first",
            )
        return PartitionSet(self.definition, join(self.tree, other.tree))

    def _runs(self) -> list[tuple[int | str, int | str]]:
        assert self.definition is not None
        return [
            run
            for side in (box[0] for box in trees.boxes(self.tree))
            for run in _runs(self.definition, side)
        ]

    def _multi_keys(self, definition: MultiPartitions) -> Iterator[str]:
        axes = axes_of(definition)
        order = [next(i for i, (n, _) in enumerate(axes) if n == name) for name in definition.dims]
        found = (tuple(point[i] for i in order) for point in trees.points(self.tree))
        parts = list(definition.dims.values())

        def place(point: tuple[int | str, ...]) -> tuple[tuple[int, str], ...]:
            return tuple(_place(part, at) for part, at in zip(parts, point, strict=True))

        for point in sorted(found, key=place):
            yield "|".join(_key(part, at) for part, at in zip(parts, point, strict=True))


def _point(
    definition: PartitionsDefinition, axes: Sequence[Axis], key: str
) -> tuple[int | str, ...]:
    if isinstance(definition, MultiPartitions):
        parts = definition.split(key)
        return tuple(_coordinate(part, parts[name]) for name, part in axes)
    return (_coordinate(definition, key),)


def _coordinate(definition: PartitionsDefinition, key: str) -> int | str:
    if isinstance(definition, TimePartitions):
        return definition.number(key)
    return str(definition.value(key))


def _key(definition: PartitionsDefinition, place: int | str) -> str:
    if isinstance(place, int) and isinstance(definition, TimePartitions):
        return definition.windows.key(place)
    return str(place)


def _place(definition: PartitionsDefinition, at: int | str) -> tuple[int, str]:
    """Where a coordinate stands in the order of its dimension."""
    if isinstance(at, int):
        return at, ""
    known = definition.places.get(at, -1) if isinstance(definition, StaticPartitions) else 0
    return known, at


def _all_of(definition: PartitionsDefinition, ctx: PartitionContext) -> Tree | None:
    if isinstance(definition, TimePartitions):
        return trees.spans([(0, definition.count(ctx))])
    # Made once: a mapping to all of ten thousand names is asked for once per downstream key.
    # The definition is kept in the entry, so that its id stays its own.
    made: tuple[Tree | None, PartitionsDefinition] = ctx.once(
        id(definition), lambda: (trees.names(definition.keys(ctx)), definition)
    )
    return made[0]


def _restricted(tree: Tree | None, axes: Sequence[Axis], ctx: PartitionContext) -> Tree | None:
    if not axes or tree is None:
        return tree
    definition, rest = axes[0][1], axes[1:]
    if isinstance(tree, dict):
        kept = ((n, _restricted(b, rest, ctx)) for n, b in tree.items() if definition.has(n, ctx))
        return {name: below for name, below in kept if below is not None} or None
    assert isinstance(tree, tuple)
    count = definition.count(ctx)
    spans = ((max(low, 0), min(high, count), below) for low, high, below in tree)
    found = ((low, high, _restricted(below, rest, ctx)) for low, high, below in spans)
    return trees.level((low, high, below) for low, high, below in found if below is not None)


def _tree_of(side: Side) -> Tree | None:
    if side and isinstance(side[0], str):
        return trees.names(str(name) for name in side)
    return trees.spans((span[0], span[1]) for span in side if isinstance(span, tuple))


def _runs(definition: PartitionsDefinition, side: Side) -> list[tuple[int | str, int | str]]:
    """First and last coordinate of every run of neighbours."""
    if side and isinstance(side[0], tuple):
        return [(span[0], span[1] - 1) for span in side if isinstance(span, tuple)]
    ordered = sorted((str(name) for name in side), key=lambda name: _place(definition, name))
    if not isinstance(definition, StaticPartitions):
        return [(name, name) for name in ordered]
    runs: list[tuple[int | str, int | str]] = []
    expected = -1
    for name in ordered:
        place = definition.places.get(name, -1)
        if runs and place == expected:
            runs[-1] = (runs[-1][0], name)
        else:
            runs.append((name, name))
        expected = place + 1 if place >= 0 else -2
    return runs


def _ends(definition: PartitionsDefinition, low: int | str, high: int | str) -> tuple[str, str]:
    return _key(definition, low), _key(definition, high)


def _side_keys(definition: PartitionsDefinition, low: int | str, high: int | str) -> Iterable[str]:
    if isinstance(low, int) and isinstance(high, int) and isinstance(definition, TimePartitions):
        return definition.windows.keys(low, high + 1)
    if isinstance(definition, StaticPartitions) and low != high:
        places = definition.places
        return definition.keys_in_order[places[str(low)] : places[str(high)] + 1]
    return [str(low)]
