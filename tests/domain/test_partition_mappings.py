"""What a partition reads, what reads it, and where we answer otherwise than the oracle."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arco_flow.domain.errors import DefinitionError, InvalidInput
from arco_flow.domain.partition_mappings import (
    PartitionMapping,
    downstream_of,
    infer_mapping,
    mapping_from_wire,
    upstream_of,
    validate_mapping,
)
from arco_flow.domain.partition_sets import PartitionSet
from arco_flow.domain.partitions import (
    CronPartitions,
    DailyPartitions,
    DynamicPartitions,
    HourlyPartitions,
    MonthlyPartitions,
    MultiPartitions,
    PartitionContext,
    StaticPartitions,
    WeeklyPartitions,
)
from domain.partition_vectors import context, definition, mapping, same_keys, vectors

CASES = vectors("03_partition_mappings.json")
MISSING_WINDOW = "a window that is read and does not exist is missing, whatever its length"
NO_SUCH_HOUR = "an hour that the clocks skipped is no key"
UNKNOWN_KEY = "a specific key that does not exist is missing"
MULTI_MISSING = "missing keys of several dimensions are whole keys"
DIFFERENT = {
    "map-0210": MISSING_WINDOW,
    "map-0271": NO_SUCH_HOUR,
    "map-0355": UNKNOWN_KEY,
    "map-0405": MULTI_MISSING,
}


def answer(case: dict[str, Any]) -> tuple[list[str], list[str] | None, PartitionSet]:
    up, down = definition(case["upstream"]), definition(case["downstream"])
    rule, ctx = mapping(case["mapping"], up, down), context(case)
    if case["direction"] == "upstream_of":
        got = upstream_of(rule, down, up, case["keys"], ctx)
        return list(got.existing), list(got.nonexistent), got.existing
    found = downstream_of(rule, up, down, case["keys"], ctx)
    return list(found), None, found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_mappings_are_dagsters_but_for_listed_rules(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(DefinitionError):
            answer(case)
        return
    keys, missing, found = answer(case)
    same = same_keys(case["result"], keys) and same_keys(case.get("nonexistent"), missing or [])
    if missing is None:
        same = same_keys(case["result"], keys)
    assert same == (case["id"] not in DIFFERENT), (keys, missing)
    wire = json.loads(json.dumps(found.to_wire()))
    assert PartitionSet.from_wire(found.definition, wire) == found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_definitions_are_checked_as_dagster_checks_them(case: dict[str, Any]) -> None:
    up, down = definition(case["upstream"]), definition(case["downstream"])
    rule = mapping(case["mapping"], up, down)
    assert mapping_from_wire(json.loads(json.dumps(rule.to_wire()))) == rule
    if case["validate"] == "ok" and DIFFERENT.get(case["id"]) != UNKNOWN_KEY:
        validate_mapping(rule, up, down)
    else:
        with pytest.raises(DefinitionError):
            validate_mapping(rule, up, down)


def differing(rule: str) -> list[tuple[dict[str, Any], list[str], list[str]]]:
    found = []
    for case in CASES:
        if DIFFERENT.get(case["id"]) == rule:
            keys, missing, _ = answer(case)
            found.append((case, keys, missing or []))
    assert found
    return found


def test_rule_a_missing_window_is_missing_whatever_its_length() -> None:
    """Dagster reports nothing when the missing window is longer than the one that reads it."""
    for case, keys, missing in differing(MISSING_WINDOW):
        assert keys == case["result"] == []
        up, down = definition(case["upstream"]), definition(case["downstream"])
        assert missing, "the day of that hour"
        for key in missing:
            number = up.windows.find(key)
            window = up.windows.window(number)
            assert any(
                window.start <= down.window(hour).start < window.end for hour in case["keys"]
            )


def test_rule_an_hour_that_the_clocks_skipped_is_no_key() -> None:
    for case, keys, missing in differing(NO_SUCH_HOUR):
        assert (keys, missing) == ([], [])
        assert not any(
            definition(case["downstream"]).has(key, context(case)) for key in case["keys"]
        )


def test_rule_a_specific_key_that_does_not_exist_is_missing() -> None:
    for case, keys, missing in differing(UNKNOWN_KEY):
        assert keys == []
        assert missing == case["result"]


def test_rule_missing_keys_of_several_dimensions_are_whole_keys() -> None:
    """Dagster reports only the part of the one dimension."""
    for case, keys, missing in differing(MULTI_MISSING):
        assert same_keys(case["result"], keys)
        assert sorted({key.split("|")[0] for key in missing}) == case["nonexistent"]


NOW = int(datetime(2025, 11, 20, 12, tzinfo=UTC).timestamp())
CTX = PartitionContext(NOW, {"who": ["zoe", "adam"]})
ZONE = "America/New_York"
TIMED = [
    HourlyPartitions("2025-10-28", timezone=ZONE),
    DailyPartitions("2025-10-20", timezone=ZONE),
    DailyPartitions("2025-10-25", timezone=ZONE, hour_offset=9, end_offset=1),
    DailyPartitions("2025-10-20", timezone=ZONE, exclusions=["0 0 * * SAT,SUN"]),
    WeeklyPartitions("2025-09-01", timezone=ZONE),
    MonthlyPartitions("2025-06-01", timezone=ZONE),
    CronPartitions("0 */6 * * *", start="2025-10-30", timezone=ZONE),
]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(TIMED),
    st.sampled_from(TIMED),
    st.sampled_from([(0, 0), (-1, 0), (-1, -1), (0, 2), (1, 1), (-3, 1)]),
    st.data(),
)
def test_up_and_down_are_inverse_and_sets_map_like_their_keys(
    up: Any, down: Any, offsets: tuple[int, int], data: st.DataObject
) -> None:
    rule = PartitionMapping.time_window(start_offset=offsets[0], end_offset=offsets[1])
    keys = data.draw(st.lists(st.sampled_from(down.keys(CTX)), max_size=6, unique=True))
    single = {key: upstream_of(rule, down, up, [key], CTX) for key in keys}
    together = upstream_of(rule, down, up, PartitionSet.of(down, keys), CTX)
    assert set(together.existing) == {up_key for got in single.values() for up_key in got.existing}
    assert set(together.nonexistent) == {k for got in single.values() for k in got.nonexistent}
    for key, got in single.items():
        if offsets == (0, 0):
            window = down.window(key)
            for read in list(got.existing)[:3]:
                other = up.window(read)
                assert other.start < window.end
                assert other.end > window.start
        for read in list(got.existing)[:2]:
            assert key in downstream_of(rule, up, down, [read], CTX)


def by_hand(rule: PartitionMapping, key: tuple[str, str]) -> set[str]:
    date = upstream_of(rule.dims[0][2], DATE, DATE, [key[0]], CTX).existing
    return {f"{day}|{region}" for day in date for region in [key[1]]}


DATE = DailyPartitions("2025-11-10", timezone=ZONE)
GRID = MultiPartitions({"date": DATE, "region": StaticPartitions(["us", "eu"])})


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_dimensions_map_side_by_side(data: st.DataObject) -> None:
    rule = PartitionMapping.dimensions(
        {
            "date": PartitionMapping.time_window(start_offset=-1),
            "region": PartitionMapping.identity(),
        }
    )
    keys = data.draw(st.lists(st.sampled_from(GRID.keys(CTX)), max_size=6, unique=True))
    got = upstream_of(rule, GRID, GRID, PartitionSet.of(GRID, keys), CTX)
    pairs = [tuple(key.split("|")) for key in keys]
    want = set().union(*(by_hand(rule, (date, region)) for date, region in pairs))
    assert set(got.existing) == want
    back = downstream_of(rule, GRID, GRID, PartitionSet.of(GRID, keys), CTX)
    assert set(back) == {
        key
        for key in GRID.keys(CTX)
        if set(upstream_of(rule, GRID, GRID, [key], CTX).existing) & set(keys)
    }


def test_one_dimension_read_by_two_is_taken_key_by_key() -> None:
    line = MultiPartitions({"only": StaticPartitions(["1", "2"])})
    square = MultiPartitions({n: StaticPartitions(["1", "2"]) for n in ("left", "right")})
    same = PartitionMapping.identity()
    rule = PartitionMapping.dimensions({"left": ("only", same), "right": ("only", same)})
    assert list(upstream_of(rule, line, square, ["1", "2"], CTX).existing) == ["1|1", "2|2"]
    assert list(downstream_of(rule, square, line, ["1|2"], CTX)) == []
    assert list(downstream_of(rule, square, line, ["2|2"], CTX)) == ["2"]


def test_three_dimensions_against_one_and_three() -> None:
    cube = MultiPartitions({**GRID.dims, "who": DynamicPartitions("who")})
    whose = PartitionMapping.single_dimension("who")
    got = upstream_of(whose, DynamicPartitions("who"), cube, ["adam"], CTX).existing
    assert len(got) == 2 * DATE.count(CTX)
    assert set(downstream_of(whose, cube, DynamicPartitions("who"), got, CTX)) == {"adam"}
    again = PartitionMapping.dimensions({"who": PartitionMapping.all()})
    assert len(upstream_of(again, cube, cube, ["2025-11-10|eu|zoe"], CTX).existing) == cube.count(
        CTX
    )


def test_inference() -> None:
    kinds = [
        (GRID, DATE, "single_dimension"),
        (WeeklyPartitions("2025-01-01", timezone=ZONE), GRID, "single_dimension"),
        (DATE, TIMED[0], "time_window"),
        (StaticPartitions(["a"]), StaticPartitions(["b"]), "identity"),
        (GRID, GRID, "identity"),
        (GRID, DynamicPartitions("who"), "identity"),
        (None, DATE, "all"),
        (DATE, None, "all"),
        (MultiPartitions({"a": DATE, "b": DATE}), DATE, "identity"),
    ]
    for up, down, kind in kinds:
        assert infer_mapping(up, down).kind == kind, (up, down)


def test_either_side_may_have_no_partitions() -> None:
    every = PartitionMapping.all()
    assert list(upstream_of(every, DATE, None, ["2025-11-10"], CTX).existing) == [""]
    assert upstream_of(every, None, DATE, [], CTX).existing == PartitionSet.all(DATE, CTX)
    assert list(downstream_of(every, DATE, None, ["2025-11-10"], CTX)) == [""]
    assert downstream_of(every, None, DATE, [""], CTX) == PartitionSet.all(DATE, CTX)


@pytest.mark.parametrize(
    ("rule", "up", "down", "message"),
    [
        (PartitionMapping.identity(), DATE, GRID, "share no keys"),
        (PartitionMapping.time_window(), DATE, StaticPartitions([]), "downstream there is Static"),
        (PartitionMapping.time_window(), DATE, DailyPartitions("2025-01-01"), "differ"),
        (PartitionMapping.specific(["usa"]), StaticPartitions(["us"]), DATE, "did you mean 'us'"),
        (PartitionMapping.static({"us": "x"}), StaticPartitions(["us"]), StaticPartitions(["y"]),
         "'x', which is no downstream partition"),
        (PartitionMapping.single_dimension("dat"), GRID, DATE, "did you mean 'date'"),
        (PartitionMapping.single_dimension(), GRID, GRID, "needs dimensions on one side"),
        (PartitionMapping.single_dimension(), MultiPartitions({"a": DATE, "b": DATE}), DATE,
         "a and b fit"),
        (PartitionMapping.dimensions({"day": PartitionMapping.all()}), GRID, GRID, "no dimension"),
        (PartitionMapping.dimensions({"date": PartitionMapping.all()}), GRID, DATE, "both sides"),
    ],
)  # fmt: skip
def test_wrong_mappings_say_what_is_wrong(
    rule: PartitionMapping, up: Any, down: Any, message: str
) -> None:
    with pytest.raises(DefinitionError) as caught:
        validate_mapping(rule, up, down)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "wire",
    [
        {},
        {"kind": "identical"},
        {"kind": "static", "table": [1]},
        [],
        5,
        {"kind": "specific", "keys": "ab"},
        {"kind": "time_window", "start_offset": 1.5},
    ],
)
def test_malformed_mappings_are_refused(wire: Any) -> None:
    with pytest.raises(InvalidInput):
        mapping_from_wire(wire)


def test_an_offset_that_ends_before_it_starts_reads_nothing() -> None:
    """Of one key and of many: Dagster maps neighbours as one window, which then has a middle."""
    rule = PartitionMapping.time_window(start_offset=0, end_offset=-1)
    for keys in (["2025-11-12"], ["2025-11-12", "2025-11-13", "2025-11-14"]):
        assert not upstream_of(rule, DATE, DATE, keys, CTX).existing


def test_a_million_windows_map_as_one_span() -> None:
    hours, days = HourlyPartitions("1910-01-01"), DailyPartitions("1910-01-01")
    ctx = PartitionContext(hours.windows.start(1_000_000))
    rule = PartitionMapping.time_window(start_offset=-1)
    got = upstream_of(rule, days, hours, PartitionSet.all(days, ctx), ctx)
    assert got.nonexistent == ()
    assert isinstance(got.existing.tree, tuple)
    assert len(got.existing.tree) == 1
    assert len(got.existing) == days.count(ctx) * 24
