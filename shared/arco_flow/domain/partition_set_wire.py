"""How sets of partitions are written down: as instants and names, not as numbers.

So a set outlives a change of the definition's start, end or exclusions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from arco_flow.domain import partition_trees as trees
from arco_flow.domain.name_partitions import check_name
from arco_flow.domain.partition_trees import Tree
from arco_flow.domain.partitions import MultiPartitions, PartitionsDefinition, TimePartitions

Axis = tuple[str, PartitionsDefinition]
"""A dimension (its name, "" when it is the only one) as a level of a tree."""


MAX_REWRITTEN = 1_000_000
"""Windows of one span that are sought one by one, because the exclusions have changed."""


def axes_of(definition: PartitionsDefinition | None) -> list[Axis]:
    """The dimensions as levels of a tree: names above times, where spans stay longest."""
    if definition is None:
        return []
    if not isinstance(definition, MultiPartitions):
        return [("", definition)]
    dims = definition.dims.items()
    return sorted(dims, key=lambda item: (isinstance(item[1], TimePartitions), item[0]))


def written_exclusions(definition: PartitionsDefinition) -> list[str]:
    """What a definition leaves out: spans on the wire run across it."""
    if not isinstance(definition, TimePartitions):
        return []
    return [str(item) for item in definition.exclusions]


def excluding(definition: PartitionsDefinition, exclusions: Sequence[str]) -> PartitionsDefinition:
    """The definition as it was when a set was written."""
    if not isinstance(definition, TimePartitions) or definition.exclusions == tuple(exclusions):
        return definition
    return replace(definition, exclusions=tuple(exclusions))


def tree_to_wire(tree: Tree | None, axes: Sequence[Axis]) -> Any:
    """[start, end] instants of spans, or names; with what is below them unless it is the last."""
    if tree is None or tree is True:
        return [] if tree is None else True
    last = len(axes) == 1
    definition = axes[0][1]
    if isinstance(tree, dict):
        if last:
            return sorted(tree)
        found = [
            [sorted(map(str, side)), tree_to_wire(below, axes[1:])]
            for side, below in trees.groups(tree)
        ]
        return sorted(found, key=lambda item: item[0])
    assert isinstance(definition, TimePartitions)
    windows = definition.windows
    spans = [[windows.start(start), windows.end(stop - 1)] for start, stop, _ in tree]
    if not last:
        for span, (_, _, below) in zip(spans, tree, strict=True):
            span.append(tree_to_wire(below, axes[1:]))
    return spans


def tree_from_wire(wire: Any, written: Sequence[Axis], axes: Sequence[Axis]) -> Tree | None:
    """Inverse of tree_to_wire(); `written` are the levels as they were at that time.

    Raises LookupError, TypeError, ValueError, AttributeError or InvalidInput for another shape.
    """
    if not axes:
        return True if wire is True else None
    last = len(axes) == 1
    before, now = written[0][1], axes[0][1]
    spans: list[trees.Span] = []
    named: dict[str, Tree] = {}
    for item in _listed(wire):
        below = True if last else tree_from_wire(item[-1], written[1:], axes[1:])
        if below is None:
            continue
        if isinstance(now, TimePartitions) and isinstance(before, TimePartitions):
            numbers = _numbers(before, now, item[0], item[1])
            spans.extend((low, high, below) for low, high in numbers)
        else:
            names = [item] if last else _listed(item[0])
            named.update((check_name(name), below) for name in names)
    return named or trees.level(spans)


def _listed(value: Any) -> list[Any]:
    """The value when it is a list: the characters of a text are no names."""
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return value


def _numbers(
    before: TimePartitions, now: TimePartitions, start: int, end: int
) -> list[tuple[int, int]]:
    """Numbers of the windows that start in [start, end), as they were when it was written."""
    if type(start) is not int or type(end) is not int:
        raise TypeError(f"{start!r}, {end!r} are no instants")
    if before is now:
        low, high = (now.windows.starting_before(at) for at in (start, end))
        return [(max(low, 0), high)]
    low, high = (before.windows.starting_before(at) for at in (start, end))
    if high - low > MAX_REWRITTEN:
        raise ValueError(f"{high - low} windows in one span, at most {MAX_REWRITTEN} are read anew")
    starts = (before.windows.start(number) for number in range(low, high))
    found = (now.windows.find_start(instant) for instant in starts)
    return [(number, number + 1) for number in found if number is not None and number >= 0]
