"""Definitions of partitions: which exist, what their keys are, and how they are written down."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arco_flow.domain.errors import DefinitionError, InvalidInput
from arco_flow.domain.partitions import (
    CronPartitions,
    DailyPartitions,
    DynamicPartitions,
    HourlyPartitions,
    MonthlyPartitions,
    MultiPartitions,
    PartitionContext,
    PartitionsDefinition,
    StaticPartitions,
    WeeklyPartitions,
    partitions_from_wire,
    require_key,
)
from domain.partition_vectors import context, definition, same_keys, vectors

CASES = vectors("02_time_window_partitions.json")
DIFFERENT = {
    "part-0138": "an hourly cron fires at its minute in local time",
    "part-0145": "an hourly cron fires at its minute in local time",
    "part-0208": "the zone written in a start counts",
    "part-0214": "what is listed exists and is counted",
    "part-0246": "any number of dimensions",
}


def differences(case: dict[str, Any], made: Any) -> list[str]:
    """The parts of an expectation that do not hold."""
    expect, ctx = case["expect"], context(case)
    keys = made.keys(ctx)
    found = []
    for name, got in (
        ("keys", keys),
        ("keys_head", keys[: len(expect.get("keys_head", ()))]),
        ("keys_tail", keys[-len(expect.get("keys_tail", ())) :]),
        ("count", made.count(ctx)),
        ("get_num_partitions", len(keys)),
        ("first", made.first(ctx)),
        ("last", made.last(ctx)),
    ):
        if name in expect and not same_keys(expect[name], got):
            found.append(name)
    for key, window in expect.get("windows", {}).items():
        number = made.windows.find(key)
        if number is None or list(made.windows.window(number)) != window:
            found.append(f"window {key}")
    found += [
        f"has {key}" for key, has in expect.get("has", {}).items() if made.has(key, ctx) != has
    ]
    span = expect.get("range")
    ends = span and (span["start"], span["end"])
    if ends and all(made.has(key, ctx) for key in ends):
        found += ["range"] if made.range(*ends, ctx) != span["keys"] else []
    elif ends:
        found.append("range")
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_partitions_are_dagsters_but_for_listed_rules(case: dict[str, Any]) -> None:
    if "error" in case and case["id"] not in DIFFERENT:
        with pytest.raises(DefinitionError):
            definition(case["def"])
        return
    made = definition(case["def"])
    assert partitions_from_wire(json.loads(json.dumps(made.to_wire()))) == made
    for instant, key, _ in case.get("key_for_timestamp", {}).get("rows", ()):
        assert made.key_at(instant) == key
    if "expect" in case:
        assert bool(differences(case, made)) == (case["id"] in DIFFERENT), differences(case, made)
        ctx = context(case)
        for key in [*made.keys(ctx)[:40], *made.keys(ctx)[-40:]]:
            assert made.has(key, ctx)
            assert made.from_canonical(made.canonical(key)) == key


def test_rule_an_hourly_cron_fires_at_its_minute_in_local_time() -> None:
    """Dagster keeps the minute of one offset of Lord Howe (10:30 or 11), chosen when it runs."""
    for case in CASES:
        if DIFFERENT.get(case["id"], "").startswith("an hourly cron"):
            made, ctx = definition(case["def"]), context(case)
            minutes = {key[14:16] for key in made.keys(ctx)}
            assert minutes == {f"{case['def'].get('minute_offset', 0):02}"}
            assert case["def"]["timezone"] == "Australia/Lord_Howe"


def test_rule_the_zone_written_in_a_start_counts() -> None:
    """Dagster reads `00:00+0000` as 00:00 in the zone of the definition."""
    case = next(case for case in CASES if case["id"] == "part-0208")
    made = definition(case["def"])
    assert made.first(context(case)) == "2025-10-26T01:00+0100"
    assert made.windows.start(0) == int(datetime(2025, 10, 26, tzinfo=UTC).timestamp())


def test_rule_what_is_listed_exists_and_is_counted() -> None:
    case = next(case for case in CASES if case["id"] == "part-0214")
    made, ctx = definition(case["def"]), context(case)
    assert made.keys(ctx) == case["expect"]["keys"]
    assert made.count(ctx) == len(made.keys(ctx)) == 2
    assert all(made.has(key, ctx) for key in made.keys(ctx))


NOW = PartitionContext(datetime(2026, 11, 20, 12, tzinfo=UTC))


def test_any_number_of_dimensions() -> None:
    made = MultiPartitions({n: StaticPartitions(["1", "2"]) for n in ("c", "a", "b")})
    assert made.dimension_names == ("a", "b", "c")
    assert made.count(NOW) == 8
    assert made.keys(NOW)[:3] == ["1|1|1", "1|1|2", "1|2|1"]
    assert made.canonical("1|2|1") == "a=s:MQ,b=s:Mg,c=s:MQ"
    assert MultiPartitions({"a": StaticPartitions(["1"])}).keys(NOW) == ["1"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DailyPartitions("2026-01-01", timezone="Europe/Berln"), "mean 'Europe/Berlin'"),
        (lambda: DailyPartitions("Januar"), "DailyPartitions: 'Januar' is no date or time"),
        (
            lambda: DailyPartitions("2026-01-01", hour_offset=24),
            "hour_offset 24 is no whole number",
        ),
        (lambda: DailyPartitions("2026-01-01", end_offset=1.5), "end_offset 1.5"),
        (lambda: MonthlyPartitions("2026-01-01", day_offset=0), "day_offset 0"),
        (lambda: CronPartitions("61 * * * *", start="2026-01-01"), "bad minute field '61'"),
        (lambda: HourlyPartitions("2026-01-01", fmt="%Y-%m-%d"), "the same key '2026-01-01'"),
        (lambda: HourlyPartitions("2026-01-01", fmt="%H:%M"), "can not be read back"),
        (lambda: DailyPartitions("2026-01-01", end="9999-12-31"), "leave out an end"),
        (lambda: StaticPartitions("eu"), "write StaticPartitions(['eu'])"),
        (lambda: StaticPartitions(["eu", "eu"]), "repeated keys ['eu']"),
        (lambda: StaticPartitions(["a...b"]), "holds '...'"),
        (lambda: StaticPartitions([1]), "the partition key 1 is no text"),
        (lambda: DynamicPartitions(""), "is no name"),
        (lambda: MultiPartitions({}), "no dimensions"),
        (lambda: MultiPartitions({"A": StaticPartitions([])}), "'A' is no dimension name"),
        (lambda: MultiPartitions({"a": StaticPartitions(["x|y"])}), "'x|y' of dimension 'a'"),
        (
            lambda: DailyPartitions("2026-01-01", exclusions=["* * * * *"]),
            "leave no window",
        ),
    ],
)
def test_wrong_definitions_say_what_is_wrong(make: Any, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        make()
    assert message in str(caught.value)


def test_an_unknown_key_comes_with_the_nearest_one() -> None:
    days = DailyPartitions("2026-11-01")
    with pytest.raises(InvalidInput, match=r"'2026-11-1' \(there are 19.*mean '2026-11-01'"):
        require_key(days, "2026-11-1", NOW)
    with pytest.raises(InvalidInput, match="did you mean 'europe'"):
        StaticPartitions(["europe", "us"]).canonical("europa")
    with pytest.raises(InvalidInput, match="no partition exists yet"):
        require_key(DailyPartitions("2027-01-01"), "2027-01-01", NOW)
    with pytest.raises(InvalidInput, match="backwards"):
        days.range("2026-11-05", "2026-11-04", NOW)


DAYS, WEEKS = DailyPartitions("2026-01-01"), WeeklyPartitions("2026-01-01", day_offset=1)
MONTHS, HOURS = MonthlyPartitions("2026-01-01"), HourlyPartitions("2026-01-01")
FROM_SIX = DailyPartitions("2026-01-01", hour_offset=6, timezone="America/New_York")


@pytest.mark.parametrize(
    ("definition", "text", "meant"),
    [
        (DAYS, "2026-2-4", "2026-02-04"),
        (DAYS, " 2026/02/04", "2026-02-04"),
        (DAYS, "20260204", "2026-02-04"),
        (DAYS, "4.2.2026", "2026-02-04"),
        (DAYS, "2026-W06-3", "2026-02-04"),
        (DAYS, "2026-02-04T17:30:00Z", "2026-02-04"),
        (DAYS, "2026-02", "2026-02-01"),
        (FROM_SIX, "2026-2-4", "2026-02-04"),
        (FROM_SIX, "2026-02-04 05:59", "2026-02-03"),
        (WEEKS, "2026-02-04", "2026-02-02"),
        (WEEKS, "2026-02-02T00:00", "2026-02-02"),
        (WEEKS, "2026-2-8", "2026-02-02"),
        (MONTHS, "2026-02-28", "2026-02-01"),
        (MONTHS, "2026-2", "2026-02-01"),
        (HOURS, "2026-2-4 7:30", "2026-02-04-07:00"),
        (HOURS, "2026-02-04", "2026-02-04-00:00"),
        (MultiPartitions({"d": DAYS, "r": StaticPartitions(["eu", "us"])}), "2026-2-4|us",
         "2026-02-04|us"),
        (MultiPartitions({"d": DAYS, "r": StaticPartitions(["eu", "us"])}), "2026-01-01|uk",
         "2026-01-01|us"),
    ],
)  # fmt: skip
def test_a_date_written_otherwise_leads_to_the_window_that_holds_it(
    definition: Any, text: str, meant: str
) -> None:
    with pytest.raises(InvalidInput, match=f"did you mean '{re.escape(meant)}'"):
        require_key(definition, text, NOW)


@pytest.mark.parametrize("text", ["2026-02-30", "2026-13-01", "0001-1-1", "99999", "x", "", "2026"])
def test_what_is_no_date_or_holds_no_window_is_compared_by_its_letters(text: str) -> None:
    found = DAYS.nearest(text, NOW)
    assert found is None or DAYS.has(found, NOW)
    assert FROM_SIX.nearest("2030-01-01", PartitionContext(NOW.instant)) != "2030-01-01"


@pytest.mark.parametrize(
    "key", ["", "2026-11-1", "2026-11-01 ", " 2026-11-01", "20261101", "2026-W44-7", "9999-12-31",
            "0001-01-01", "2026-11-01\n", "２０２６-11-01", "2026-02-30", "nonsense", "2026-10-31"],
)  # fmt: skip
def test_only_the_exact_text_of_an_existing_window_is_a_key(key: str) -> None:
    assert not DailyPartitions("2026-11-01", timezone="Europe/Berlin").has(key, NOW)


def test_equal_definitions_are_equal_however_they_are_spelled() -> None:
    spelled: list[Any] = ["2026-01-01", "2026-01-01T00:00", date(2026, 1, 1),
                          datetime.fromisoformat("2026-01-01T00:00"),
                          datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")),
                          datetime(2025, 12, 31, 23, tzinfo=UTC)]  # fmt: skip
    made = {DailyPartitions(start, timezone="Europe/Berlin") for start in spelled}
    assert len(made) == 1
    assert made.pop().to_wire() == {
        "kind": "daily",
        "start": "2026-01-01",
        "timezone": "Europe/Berlin",
    }


def test_canonical_forms() -> None:
    hours = HourlyPartitions("2026-01-01", timezone="Europe/Berlin")
    assert hours.canonical("2026-10-25-02:00+0100") == "time=t:2026-10-25T01:00:00.000000Z"
    assert hours.canonical("2026-10-25-02:00") == "time=t:2026-10-25T00:00:00.000000Z"
    days = DailyPartitions("2026-01-01", timezone="Europe/Berlin", fmt="%d.%m.%Y")
    assert days.canonical("31.01.2026") == "date=d:2026-01-31"
    assert days.from_canonical("date=d:2026-01-31") == "31.01.2026"
    grid = MultiPartitions({"region": StaticPartitions(["eu"]), "date": days})
    assert grid.canonical("31.01.2026|eu") == "date=d:2026-01-31,region=s:ZXU"
    assert grid.from_canonical("date=d:2026-01-31,region=s:ZXU") == "31.01.2026|eu"
    assert DynamicPartitions("c").canonical("é") == DynamicPartitions("c").canonical("é")
    for bad in ("", "date=t:2026-01-31T00:00:00.000000Z", "day=d:2026-01-31", "date=d:2025-01-01"):
        with pytest.raises(InvalidInput):
            days.from_canonical(bad)


def test_dynamic_keys_come_with_the_context() -> None:
    customers = DynamicPartitions("customers")
    ctx = PartitionContext(0, {"customers": ["zoe", "adam"]})
    assert customers.keys(ctx) == ["zoe", "adam"]
    assert (customers.first(ctx), customers.last(ctx), customers.count(ctx)) == ("zoe", "adam", 2)
    assert customers.has("adam", ctx)
    assert not customers.has("adam", PartitionContext(0))
    assert customers.range("zoe", "adam", ctx) == ["zoe", "adam"]


def test_a_skipped_end_of_day_keeps_two_windows_apart() -> None:
    """Nuuk skips 23:00 to midnight: the window of the 29th starts when the 30th does."""
    late = DailyPartitions("2025-03-27", timezone="America/Nuuk", hour_offset=23)
    keys = late.keys(PartitionContext(datetime(2025, 4, 3, tzinfo=UTC)))
    assert keys[:5] == [f"2025-03-{day}" for day in (27, 28, 29, 30, 31)]
    assert [late.from_canonical(late.canonical(key)) for key in keys] == keys


def test_a_day_that_a_zone_skipped_does_not_exist() -> None:
    samoa = DailyPartitions("2011-12-28", timezone="Pacific/Apia")
    keys = samoa.keys(PartitionContext(datetime(2012, 1, 2, tzinfo=UTC)))
    assert keys == ["2011-12-28", "2011-12-29", "2011-12-31", "2012-01-01"]


kinds: st.SearchStrategy[PartitionsDefinition] = st.builds(
    lambda make, zone, offset, end_offset, exclusions: make(zone, offset, end_offset, exclusions),
    st.sampled_from(
        [
            lambda z, o, e, x: HourlyPartitions("2025-10-20", timezone=z, minute_offset=o,
                                                end_offset=e, exclusions=x),
            lambda z, o, e, x: DailyPartitions("2025-01-01", timezone=z, hour_offset=o % 12,
                                               end_offset=e, exclusions=x),
            lambda z, o, e, x: WeeklyPartitions("2024-01-01", timezone=z, day_offset=o % 5 + 1,
                                                end_offset=e, exclusions=x),
            lambda z, o, e, x: MonthlyPartitions("2020-01-01", timezone=z, day_offset=o % 31 + 1,
                                                 end_offset=e),
            lambda z, o, e, x: CronPartitions(f"{o} */6 * * 1-5", start="2025-06-01", timezone=z,
                                              end_offset=e, exclusions=x),
        ]
    ),
    st.sampled_from(["UTC", "Europe/Berlin", "America/Havana", "Australia/Lord_Howe"]),
    st.integers(0, 59),
    st.integers(-2, 2),
    st.sampled_from([(), ("0 0 * * 0", "0 0 * * SAT"), ("2025-10-27",), ("0 12 * * *",)]),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(kinds, st.integers(0, 400 * 86_400))
def test_numbers_keys_windows_and_canonical_forms_agree(made: Any, later: int) -> None:
    ctx = PartitionContext(int(datetime(2025, 10, 20, tzinfo=UTC).timestamp()) + later)
    keys = made.keys(ctx)
    assert len(keys) == len(set(keys)) == made.count(ctx)
    assert (made.first(ctx), made.last(ctx)) == ((keys[0], keys[-1]) if keys else (None, None))
    shown = range(0, len(keys), max(len(keys) // 25, 1))
    for number in shown:
        key = keys[number]
        window = made.window(key)
        assert made.number(key) == number
        assert window.start < window.end
        assert made.key_at(window.start) == made.key_at(window.end - 1) == key
        assert made.from_canonical(made.canonical(key)) == key
        assert made.windows.ended_by(window.end) == number + 1
        assert made.windows.starting_before(window.start) == number
        if number:
            assert made.window(keys[number - 1]).end <= window.start
    texts = [made.canonical(keys[number]) for number in shown]
    assert texts == sorted(texts), "canonical text sorts as time does"
    assert partitions_from_wire(made.to_wire()) == made


@settings(max_examples=40, deadline=None)
@given(kinds, st.integers(-30, -1))
def test_windows_before_the_start_have_keys_too(made: Any, number: int) -> None:
    key = made.windows.key(number)
    assert made.windows.find(key) == number
    assert not made.has(key, NOW)
    assert made.windows.end(number) <= made.windows.start(number + 1)


def test_a_hundred_thousand_hours_are_counted_without_being_listed() -> None:
    hours = HourlyPartitions("2015-01-01", timezone="America/New_York")
    ctx = PartitionContext(hours.windows.start(100_000))
    assert hours.count(ctx) == 100_000
    assert len(hours.keys(ctx)) == 100_000
    expected = datetime(2015, 1, 1, 5, tzinfo=UTC) + timedelta(hours=99_999)
    assert hours.window(str(hours.last(ctx))).start_time == expected


@pytest.mark.parametrize(
    "wire",
    [{}, {"kind": "dayly"}, {"kind": "daily"}, {"kind": "daily", "start": 5}, {"kind": "static"},
     {"kind": "daily", "start": "2026-01-01", "no_such": 1}, {"kind": "multi", "dims": []},
     {"kind": "multi", "dims": {"a": {"kind": "multi", "dims": {}}}}, {"kind": ["daily"]},
     [], None],
)  # fmt: skip
def test_malformed_wire_forms_are_refused(wire: Any) -> None:
    with pytest.raises(InvalidInput):
        partitions_from_wire(wire)


def test_now_needs_a_zone() -> None:
    with pytest.raises(InvalidInput, match="has no zone"):
        PartitionContext(datetime.fromisoformat("2026-01-01T00:00"))
