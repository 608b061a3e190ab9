"""Sets of points of one or more dimensions, as trees that share and merge what is equal.

A tree has one level per dimension. A level by time is a tuple of spans `(start, stop, below)`:
sorted, disjoint, neighbours with equal content merged. A level by name is a dict `{name: below}`.
Below the last level stands True. The empty set is None, never an empty level. So the product of
ranges and names takes the space of its sides, and a million consecutive windows are one span.

Both operands of an operation must have the same kinds of levels in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Literal, TypeAlias

Tree: TypeAlias = "Literal[True] | tuple[tuple[int, int, Tree], ...] | dict[str, Tree]"
Span: TypeAlias = "tuple[int, int, Tree]"
Point = Sequence[int | str]
Join = Callable[["Tree | None", "Tree | None"], "Tree | None"]


def union(left: Tree | None, right: Tree | None) -> Tree | None:
    """Points of either."""

    def join(one: Tree | None, two: Tree | None) -> Tree | None:
        if one is None or two is None or one is two:
            return two if one is None else one
        return combine(one, two)

    combine = _Combiner(join)
    return join(left, right)


def intersect(left: Tree | None, right: Tree | None) -> Tree | None:
    """Points of both."""

    def join(one: Tree | None, two: Tree | None) -> Tree | None:
        if one is None or two is None or one is two:
            return None if two is None else one
        return combine(one, two)

    combine = _Combiner(join)
    return join(left, right)


def subtract(left: Tree | None, right: Tree | None) -> Tree | None:
    """Points of the left one that are not in the right one."""

    def join(one: Tree | None, two: Tree | None) -> Tree | None:
        if one is None or two is None or one is two:
            return one if two is None else None
        return combine(one, two)

    combine = _Combiner(join)
    return join(left, right)


class _Combiner:
    """Joins two trees level by level; a pair of shared subtrees is joined once."""

    def __init__(self, join: Join) -> None:
        self._join = join
        self._done: dict[tuple[int, int], Tree | None] = {}

    def __call__(self, one: Tree, two: Tree) -> Tree | None:
        pair = (id(one), id(two))
        if pair not in self._done:
            self._done[pair] = self._level(one, two)
        return self._done[pair]

    def _level(self, one: Tree, two: Tree) -> Tree | None:
        if isinstance(one, dict) and isinstance(two, dict):
            names = one if len(two) == 0 else {**one, **two}
            joined = ((name, self._join(one.get(name), two.get(name))) for name in names)
            return {name: below for name, below in joined if below is not None} or None
        if isinstance(one, tuple) and isinstance(two, tuple):
            return _merged(self._spans(one, two))
        raise TypeError("sets of different definitions can not be combined")

    def _spans(self, one: tuple[Span, ...], two: tuple[Span, ...]) -> Iterator[Span]:
        cuts = sorted({cut for spans in (one, two) for span in spans for cut in span[:2]})
        left = right = 0
        for start, stop in pairwise(cuts):
            while left < len(one) and one[left][1] <= start:
                left += 1
            while right < len(two) and two[right][1] <= start:
                right += 1
            in_one = one[left][2] if left < len(one) and one[left][0] <= start else None
            in_two = two[right][2] if right < len(two) and two[right][0] <= start else None
            below = self._join(in_one, in_two)
            if below is not None:
                yield start, stop, below


def _merged(spans: Iterable[Span]) -> Tree | None:
    """Sorted, disjoint spans with neighbours of equal content merged."""
    merged: list[Span] = []
    for start, stop, below in spans:
        if merged:
            last = merged[-1]
            if last[1] == start and (last[2] is below or last[2] == below):
                merged[-1] = (last[0], stop, last[2])
                continue
        merged.append((start, stop, below))
    return tuple(merged) or None


def spans(ranges: Iterable[tuple[int, int]], below: Tree = True) -> Tree | None:
    """A level by time from any ranges [start, stop), in any order and overlapping."""
    joined: list[list[int]] = []
    for start, stop in sorted(ranges):
        if start >= stop:
            continue
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], stop)
        else:
            joined.append([start, stop])
    return tuple((start, stop, below) for start, stop in joined) or None


def level(parts: Iterable[Span]) -> Tree | None:
    """A level by time from spans in order. Raises ValueError when they overlap."""
    found = [part for part in parts if part[0] < part[1]]
    if any(after[0] < before[1] for before, after in pairwise(found)):
        raise ValueError("the spans of a set overlap or are not sorted")
    return _merged(found)


def names(keys: Iterable[str], below: Tree = True) -> Tree | None:
    """A level by name."""
    return dict.fromkeys(keys, below) or None


def of_points(points: Iterable[Point], depth: int = 0) -> Tree | None:
    """The tree of points; each is one coordinate per level: a number or a name."""
    grouped: dict[int | str, list[Point]] = {}
    for point in points:
        if depth == len(point):
            return True
        grouped.setdefault(point[depth], []).append(point)
    below = {place: of_points(found, depth + 1) for place, found in grouped.items()}
    named = {place: tree for place, tree in below.items() if isinstance(place, str) and tree}
    if named:
        return named
    numbered = [(place, tree) for place, tree in below.items() if isinstance(place, int) and tree]
    return _merged((place, place + 1, tree) for place, tree in sorted(numbered, key=_place))


def _place(item: tuple[int, Tree]) -> int:
    return item[0]


def contains(tree: Tree | None, point: Point) -> bool:
    """Whether a point is in the set."""
    for place in point:
        if isinstance(tree, dict):
            tree = tree.get(place) if isinstance(place, str) else None
        elif isinstance(tree, tuple) and isinstance(place, int):
            tree = _at(tree, place)
        else:
            return False
    return tree is True


def _at(level: tuple[Span, ...], place: int) -> Tree | None:
    low, high = 0, len(level)
    while low < high:
        middle = (low + high) // 2
        if level[middle][1] <= place:
            low = middle + 1
        else:
            high = middle
    return level[low][2] if low < len(level) and level[low][0] <= place else None


def size(tree: Tree | None) -> int:
    """How many points there are."""
    counted: dict[int, int] = {}

    def count(node: Tree) -> int:
        if node is True:
            return 1
        if id(node) not in counted:
            below = (
                map(count, node.values())
                if isinstance(node, dict)
                else ((stop - start) * count(part) for start, stop, part in node)
            )
            counted[id(node)] = sum(below)
        return counted[id(node)]

    return 0 if tree is None else count(tree)


def points(tree: Tree | None) -> Iterator[tuple[int | str, ...]]:
    """Every point, the last level changing fastest; names in the order of the dicts."""
    if tree is True:
        yield ()
    elif isinstance(tree, dict):
        for name, below in tree.items():
            for rest in points(below):
                yield (name, *rest)
    elif isinstance(tree, tuple):
        for start, stop, below in tree:
            for number in range(start, stop):
                for rest in points(below):
                    yield (number, *rest)


Side = list[tuple[int, int]] | list[str]
"""One side of a box: ranges of numbers, or names."""


def boxes(tree: Tree | None) -> Iterator[tuple[Side, ...]]:
    """The set as a disjoint union of boxes, each a product of one side per level."""
    if tree is True:
        yield ()
    elif tree is not None:
        for side, below in groups(tree):
            for rest in boxes(below):
                yield (side, *rest)


def groups(level: Tree) -> Iterator[tuple[Side, Tree]]:
    """(side, what is below it) with each distinct content once, in order of appearance."""
    ranged: list[tuple[list[tuple[int, int]], Tree]] = []
    named: list[tuple[list[str], Tree]] = []
    seen: dict[object, int] = {}
    frozen: dict[int, object] = {}
    if isinstance(level, dict):
        for name, below in level.items():
            key = frozen.get(id(below)) or frozen.setdefault(id(below), _frozen(below))
            place = seen.setdefault(key, len(named))
            if place == len(named):
                named.append(([], below))
            named[place][0].append(name)
    elif isinstance(level, tuple):
        for start, stop, below in level:
            place = seen.setdefault(_frozen(below), len(ranged))
            if place == len(ranged):
                ranged.append(([], below))
            ranged[place][0].append((start, stop))
    yield from ranged
    yield from named


def _frozen(tree: Tree) -> object:
    """A hashable stand-in that is equal for equal trees."""
    if isinstance(tree, dict):
        return frozenset((name, _frozen(below)) for name, below in tree.items())
    if isinstance(tree, tuple):
        return tuple((start, stop, _frozen(below)) for start, stop, below in tree)
    return True


def product(sides: Sequence[Tree | None]) -> Tree | None:
    """The product of one-level trees, in their order."""
    tree: Tree | None = True
    for side in reversed(sides):
        if side is None or tree is None:
            return None
        tree = (
            dict.fromkeys(side, tree)
            if isinstance(side, dict)
            else tuple((start, stop, tree) for start, stop, _ in side)
            if isinstance(side, tuple)
            else None
        )
    return tree
