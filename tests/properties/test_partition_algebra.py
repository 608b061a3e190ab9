"""Sets of partitions are sets of keys: any formula over them gives what Python's sets give."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from arco_flow.domain.partition_sets import PartitionSet
from arco_flow.domain.partitions import (
    MonthlyPartitions,
    MultiPartitions,
    PartitionContext,
    TimePartitions,
)
from properties.budget import examples
from properties.partition_spaces import Space, space, spaces, times
from properties.windows_by_hand import windows_by_hand

Pair = tuple[PartitionSet, set[str]]
"""A set of ours and the same set as Python has it."""


def _some(draw: st.DrawFn, of: Space) -> Pair:
    keys = draw(st.lists(st.sampled_from(of.keys), max_size=12)) if of.keys else []
    return PartitionSet.of(of.made, keys), set(keys)


def _range(draw: st.DrawFn, of: Space) -> Pair:
    if not of.keys:
        return PartitionSet.empty(of.made), set()
    ends = draw(st.tuples(st.sampled_from(of.keys), st.sampled_from(of.keys)))
    start, end = _upward(of, *ends)
    return (
        PartitionSet.between(of.made, start, end, of.ctx),
        set(of.made.range(start, end, of.ctx)),
    )


def _upward(of: Space, one: str, two: str) -> tuple[str, str]:
    """Two keys as the ends of a range: of several dimensions, each has to run upward."""
    if not isinstance(of.made, MultiPartitions):
        return min(one, two, key=of.keys.index), max(one, two, key=of.keys.index)
    low, high = {}, {}
    for name, part in of.made.dims.items():
        sides = [of.made.split(key)[name] for key in (one, two)]
        low[name], high[name] = sorted(sides, key=part.keys(of.ctx).index)
    return of.made.join(low), of.made.join(high)


def _all(_: st.DrawFn, of: Space) -> Pair:
    return PartitionSet.all(of.made, of.ctx), set(of.keys)


def _empty(_: st.DrawFn, of: Space) -> Pair:
    return PartitionSet.empty(of.made), set()


JOINS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "or": (PartitionSet.union, set.union),
    "and": (PartitionSet.intersect, set.intersection),
    "minus": (PartitionSet.difference, set.difference),
}


@st.composite
def formulas(draw: st.DrawFn, of: Space) -> Pair:
    """A set made of others by up to six operations, in both worlds."""
    found = [draw(st.sampled_from([_some, _range, _all, _empty]))(draw, of) for _ in range(3)]
    for _ in range(draw(st.integers(0, 6))):
        ours, pythons = JOINS[draw(st.sampled_from(sorted(JOINS)))]
        one, two = (draw(st.integers(0, len(found) - 1)) for _ in range(2))
        found.append((ours(found[one][0], found[two][0]), pythons(found[one][1], found[two][1])))
    return found[-1]


@st.composite
def sets(draw: st.DrawFn) -> tuple[Space, PartitionSet, set[str]]:
    of = draw(spaces)
    return of, *draw(formulas(of))


@examples(120)
@given(sets())
def test_a_formula_over_sets_is_the_same_formula_over_sets_of_keys(
    drawn: tuple[Space, PartitionSet, set[str]],
) -> None:
    of, found, want = drawn
    keys = list(found)
    assert len(keys) == len(set(keys)) == len(found) == found.count
    assert set(keys) == want
    assert bool(found) == bool(want)
    assert found == PartitionSet.of(of.made, want), "equal sets are equal values"
    assert hash(found) == hash(PartitionSet.of(of.made, want))
    assert [key for key in of.keys if key in found] == [key for key in of.keys if key in want]


def _order(of: Space) -> Callable[[str], Any]:
    """The order of the definition; names that are registered come by name within a set."""
    if isinstance(of.made, MultiPartitions):
        parts = [_order(space(part, of.ctx.instant)) for part in of.made.dims.values()]
        split = of.made.split
        return lambda key: [
            place(part) for place, part in zip(parts, split(key).values(), strict=True)
        ]
    return str if of.made.kind == "dynamic" else of.keys.index  # type: ignore[attr-defined]


@examples(80)
@given(sets())
def test_keys_and_ranges_come_in_the_order_of_the_definition_and_cover_the_set_once(
    drawn: tuple[Space, PartitionSet, set[str]],
) -> None:
    of, found, want = drawn
    assert list(found) == sorted(want, key=_order(of))
    if of.made.kind == "dynamic":  # type: ignore[attr-defined]
        return
    ranged = [key for low, high in found.ranges() for key in of.made.range(low, high, of.ctx)]
    assert len(ranged) == len(want)
    assert set(ranged) == want
    if isinstance(of.made, MultiPartitions):
        return
    assert ranged == list(found)
    places = [(of.keys.index(low), of.keys.index(high)) for low, high in found.ranges()]
    assert all(before[1] + 1 < after[0] for before, after in pairwise(places)), "no two adjoin"


@examples(60)
@given(sets())
def test_boxes_are_disjoint_products_that_make_up_the_set(
    drawn: tuple[Space, PartitionSet, set[str]],
) -> None:
    of, found, want = drawn
    if not isinstance(of.made, MultiPartitions):
        assert sum(len(part) for box in found.boxes() for part in box.values()) == len(want)
        return
    whole = PartitionSet.empty(of.made)
    for box in found.boxes():
        points = [{}]
        for name, side in box.items():
            points = [{**point, name: key} for point in points for key in side]
        product = PartitionSet.of(of.made, [of.made.join(point) for point in points])
        assert not whole & product
        whole |= product
    assert whole == found


@examples(100)
@given(sets())
def test_the_compact_form_brings_the_set_back_and_is_one_for_equal_sets(
    drawn: tuple[Space, PartitionSet, set[str]],
) -> None:
    of, found, want = drawn
    wire = json.loads(json.dumps(found.to_wire()))
    assert PartitionSet.from_wire(of.made, wire) == found
    assert PartitionSet.of(of.made, sorted(want, reverse=True)).to_wire() == found.to_wire()


@examples(40)
@given(spaces, st.data())
def test_the_laws_of_sets_hold(of: Space, data: st.DataObject) -> None:
    one, two, three = (data.draw(formulas(of))[0] for _ in range(3))
    everything = PartitionSet.all(of.made, of.ctx)
    assert one & (two | three) == (one & two) | (one & three)
    assert one - (two | three) == (one - two) & (one - three)
    assert everything - (one & two) == (everything - one) | (everything - two)
    assert (one | two) == (two | one)
    assert (one - two) | (one & two) == one
    assert one.count + two.count == (one | two).count + (one & two).count


@examples(60)
@given(sets(), st.integers(-10 * 86_400, 10 * 86_400))
def test_what_exists_of_a_set_is_what_the_definition_has_then(
    drawn: tuple[Space, PartitionSet, set[str]], later: int
) -> None:
    of, found, want = drawn
    ctx = PartitionContext(of.ctx.instant + later, of.ctx.dynamic)
    assert set(found.existing(ctx)) == {key for key in want if of.made.has(key, ctx)}


@examples(60)
@given(times())
def test_windows_are_those_that_are_found_by_looking_at_every_minute(of: Space) -> None:
    made = of.made
    assert isinstance(made, TimePartitions)
    assert [tuple(made.window(key)) for key in of.keys] == windows_by_hand(made, of.ctx.instant)


@examples(60)
@given(times(), st.data())
def test_a_key_at_a_moment_is_the_window_that_holds_it(of: Space, data: st.DataObject) -> None:
    made, at = of.made, data.draw(st.integers(of.ctx.instant - 86_400, of.ctx.instant))
    assert isinstance(made, TimePartitions)
    holding = [key for key in of.keys if made.window(key).start <= at < made.window(key).end]
    assert holding in ([], [made.key_at(at)])
    assert partial(made.has, ctx=of.ctx)(made.key_at(at) or "") is bool(holding)


def _months() -> MonthlyPartitions:
    return MonthlyPartitions("2026-01-01", exclusions=["0 0 1 7,8 *"])


@examples(40)
@given(st.lists(st.integers(1799, 2402), min_size=2, max_size=5))
@example([1801, 2030])
@example([1801, 2399, 1900])
def test_what_was_asked_before_changes_no_answer(years: list[int]) -> None:
    keys = [f"{year}-{month:02}-01" for year in years for month in (1, 7)]
    used = _months()
    assert [used.windows.find(key) for key in keys] == [_months().windows.find(k) for k in keys]


@examples(80)
@given(spaces, st.data())
def test_a_page_of_keys_is_a_slice_of_all_and_a_key_is_at_its_place(
    of: Space, data: st.DataObject
) -> None:
    low, high = (data.draw(st.integers(-2, len(of.keys) + 2)) for _ in range(2))
    assert of.made.page(low, high, of.ctx) == list(of.keys[max(low, 0) : max(high, 0)])
    for place, key in enumerate(of.keys):
        assert of.made.place(key, of.ctx) == place
    for text in ("never|a|b", "never", "2025-3-30"):
        assert of.made.place(text, of.ctx) is None
