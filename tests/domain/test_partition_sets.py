"""Sets of partitions behave like sets of keys, take little space and outlive their definition."""

from __future__ import annotations

import json
from math import prod
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.partition_sets import PartitionSet
from arco_flow.domain.partitions import (
    DailyPartitions,
    DynamicPartitions,
    HourlyPartitions,
    MultiPartitions,
    PartitionContext,
    StaticPartitions,
)
from domain.partition_vectors import definition, vectors

CTX = PartitionContext(1_768_000_000, {"who": ["zoe", "adam", "eve"]})  # 2026-01-09
DAYS = DailyPartitions("2026-01-01", timezone="Europe/Berlin")
WORKDAYS = DailyPartitions("2025-12-20", exclusions=["0 0 * * SAT,SUN"])
REGIONS = StaticPartitions(["us", "eu", "apac"])
WHO = DynamicPartitions("who")
GRID = MultiPartitions({"date": DAYS, "region": REGIONS})
CUBE = MultiPartitions({"region": REGIONS, "who": WHO, "day": WORKDAYS})
SQUARE = MultiPartitions({"one": DAYS, "two": HourlyPartitions("2026-01-08-18:00")})
ALL = [DAYS, WORKDAYS, REGIONS, WHO, GRID, CUBE, SQUARE]


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Any, list[str], list[str]]:
    made = draw(st.sampled_from(ALL))
    keys = made.keys(CTX)
    some = st.lists(st.sampled_from(keys), max_size=25)
    return made, draw(some), draw(some)


@settings(max_examples=150, deadline=None)
@given(pairs())
def test_they_are_sets_of_keys(given_pair: tuple[Any, list[str], list[str]]) -> None:
    made, one, two = given_pair
    left, right = PartitionSet.of(made, one), PartitionSet.of(made, two)
    for got, want in (
        (left | right, set(one) | set(two)),
        (left & right, set(one) & set(two)),
        (left - right, set(one) - set(two)),
    ):
        keys = list(got.keys())
        assert len(keys) == len(set(keys)) == len(got) == got.count
        assert set(keys) == want
        assert got == PartitionSet.of(made, want), "equal sets have one form"
        assert got.to_wire() == PartitionSet.of(made, want).to_wire()
        assert bool(got) == bool(want)
        assert all((key in got) == (key in want) for key in made.keys(CTX))
        assert PartitionSet.from_wire(made, json.loads(json.dumps(got.to_wire()))) == got


@settings(max_examples=60, deadline=None)
@given(pairs())
def test_ranges_and_boxes_cover_a_set_exactly_once(
    given_pair: tuple[Any, list[str], list[str]],
) -> None:
    made, one, _ = given_pair
    whole = PartitionSet.of(made, one)
    ranged = [key for start, end in whole.ranges() for key in made.range(start, end, CTX)]
    assert sorted(ranged) == sorted(whole.keys())
    for start, end in whole.ranges():
        assert PartitionSet.between(made, start, end, CTX) & whole == PartitionSet.between(
            made, start, end, CTX
        )
    boxes = list(whole.boxes())
    sizes = [prod(len(side) for side in box.values()) for box in boxes]
    assert sum(sizes) == len(whole)


@pytest.mark.parametrize("made", ALL, ids=lambda made: type(made).__name__)
def test_all_keys_come_in_the_order_of_the_definition(made: Any) -> None:
    whole = PartitionSet.all(made, CTX)
    if made in (WHO, CUBE):  # the order of registration is not part of a set
        assert sorted(whole.keys()) == sorted(made.keys(CTX))
    else:
        assert list(whole.keys()) == made.keys(CTX)
    assert whole.existing(CTX) == whole
    assert not whole - whole
    assert len(whole) == made.count(CTX)


def test_the_oracles_subsets() -> None:
    for case in vectors("12_misc.json"):
        if case["kind"] != "subset":
            continue
        made = definition(case["def"])
        whole = PartitionSet.empty(made)
        for step in case["steps"]:
            whole |= PartitionSet.of(made, step["add"])
            assert [list(ends) for ends in whole.ranges()] == step["ranges"]
            assert len(whole) == step["count"]
            assert whole.to_wire() == {"set": step["windows"]}


def objects(tree: Any, seen: set[int]) -> int:
    """How many containers a set consists of, shared ones once."""
    if isinstance(tree, (tuple, dict)) and id(tree) not in seen:
        seen.add(id(tree))
        parts = tree.values() if isinstance(tree, dict) else tree
        return 1 + sum(objects(part, seen) for part in parts)
    return 0


def test_a_million_windows_take_kilobytes() -> None:
    hours = HourlyPartitions("1910-01-01")
    grid = MultiPartitions({"hour": hours, "region": StaticPartitions(["us", "eu"])})
    ctx = PartitionContext(hours.windows.start(1_000_000))
    whole = PartitionSet.all(grid, ctx)
    assert len(whole) == 2_000_000
    holes = PartitionSet.of(grid, [f"{hours.windows.key(n * 9_973)}|eu" for n in range(100)])
    rest = whole - holes
    assert len(rest) == 1_999_900
    assert len(json.dumps(rest.to_wire())) < 4_000
    assert objects(rest.tree, set()) < 250
    assert rest | holes == whole
    assert rest.existing(PartitionContext(hours.windows.start(500_000))).count == 500_000 * 2 - 51


def test_a_product_of_names_is_stored_as_one() -> None:
    wide = MultiPartitions({n: StaticPartitions(map(str, range(100))) for n in ("a", "b", "c")})
    whole = PartitionSet.all(wide, CTX)
    assert len(whole) == 1_000_000
    assert objects(whole.tree, set()) == 3
    less = whole - PartitionSet.of(wide, ["1|2|3"])
    assert len(less) == 999_999
    assert objects(less.tree, set()) < 10
    assert len(json.dumps(less.to_wire())) < 6_000


def test_workdays_that_follow_each_other_are_one_range() -> None:
    whole = PartitionSet.all(WORKDAYS, CTX)
    assert whole.ranges() == [("2025-12-22", "2026-01-08")]
    assert len(whole.to_wire()["set"]) == 1


def test_a_written_set_outlives_a_change_of_the_definition() -> None:
    wire = PartitionSet.of(DAYS, ["2026-01-03", "2026-01-04", "2026-01-06"]).to_wire()
    earlier = DailyPartitions("2025-06-01", timezone="Europe/Berlin", end="2026-01-06")
    assert list(PartitionSet.from_wire(earlier, wire)) == ["2026-01-03", "2026-01-04", "2026-01-06"]
    later = DailyPartitions("2026-01-04", timezone="Europe/Berlin")
    assert list(PartitionSet.from_wire(later, wire)) == ["2026-01-04", "2026-01-06"]
    weekdays = PartitionSet.between(WORKDAYS, "2026-01-01", "2026-01-06", CTX)
    every_day = DailyPartitions("2025-12-20")
    assert list(PartitionSet.from_wire(every_day, weekdays.to_wire())) == [
        "2026-01-01", "2026-01-02", "2026-01-05", "2026-01-06",
    ], "weekends do not appear as done"  # fmt: skip
    no_mondays = DailyPartitions("2025-12-20", exclusions=["0 0 * * MON"])
    assert "2026-01-05" not in PartitionSet.from_wire(no_mondays, weekdays.to_wire())


def test_only_sets_of_the_same_partitions_combine() -> None:
    with pytest.raises(InvalidInput, match="different partitions"):
        PartitionSet.empty(DAYS) | PartitionSet.empty(REGIONS)
    with pytest.raises(InvalidInput, match="no key"):
        PartitionSet.of(DAYS, ["2026-1-1"])
    assert 5 not in PartitionSet.all(DAYS, CTX)
    assert "nonsense" not in PartitionSet.all(GRID, CTX)


def test_what_is_not_partitioned_has_the_one_key_that_is_empty() -> None:
    one = PartitionSet.all(None, CTX)
    assert list(one) == [""]
    assert PartitionSet.of(None, [""]) == one
    assert one - one == PartitionSet.empty(None)
    assert PartitionSet.from_wire(None, one.to_wire()) == one


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([DAYS, REGIONS, GRID, SQUARE]),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(-10, 2_000_000_000), st.text(max_size=3)),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=8,
    ),
)
def test_malformed_wire_forms_raise_invalid_input(made: Any, value: Any) -> None:
    axes = {"axes": ["region", "date"] if made is GRID else ["one", "two"]}
    try:
        found = PartitionSet.from_wire(made, {"set": value, **axes})
    except InvalidInput:
        return
    assert found.count >= 0
    assert PartitionSet.from_wire(made, found.to_wire()) == found
