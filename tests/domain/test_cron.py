"""Cron: the grammar, the calendar, and what happens when clocks change."""

from __future__ import annotations

import heapq
import json
import math
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from cronsim import CronSim
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from arco_flow.domain.cron import parse_cron
from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.ticks import (
    TickTable,
    next_ticks,
    previous_ticks,
    smallest_interval_seconds,
)

VECTORS = Path(__file__).parents[1] / "vectors"


def vectors(name: str) -> list[dict]:
    return json.loads((VECTORS / name).read_text("utf-8"))["cases"]


def union(case: dict, count: int) -> list[int]:
    """The ticks of one or more crons, equal instants once."""
    crons = case["cron"] if isinstance(case["cron"], list) else [case["cron"]]
    back = case["direction"] == "desc"
    at = math.floor(case["start"]) if back else math.ceil(case["start"])
    walk = previous_ticks if back else next_ticks
    merged = heapq.merge(*(walk(cron, case["timezone"], at) for cron in crons), reverse=back)
    found: list[int] = []
    for tick in merged:
        if not found or found[-1] != tick:
            found.append(tick)
        if len(found) > count:
            break
    return found[:count]


def test_ticks_follow_the_documented_rule_and_differ_from_dagster_only_where_dagster_does() -> None:
    differing = set()
    for case in vectors("01_cron_ticks.json"):
        got = union(case, len(case["ticks"]))
        assert got == case.get("spec_ticks", case["ticks"]), case["id"]
        if got != case["ticks"]:
            differing.add(case["id"])
            assert "differs_from_documented_rule" in case["quirks"], case["id"]
    assert differing == {
        "cron-0309", "cron-0318", "cron-0319", "cron-0343", "cron-0369", "cron-0391", "cron-0394",
        "cron-0409", "cron-0423", "cron-0465", "cron-0475", "cron-0531", "cron-0532", "cron-0534",
        "cron-0553",
    }  # fmt: skip


def test_the_grammar_is_dagsters_except_for_what_never_fires_or_is_random() -> None:
    differing = {}
    for case in vectors("01b_cron_validity.json"):
        try:
            cron = parse_cron(case["cron"])
        except InvalidInput as error:
            if case["valid"]:
                differing[case["id"]] = error.reason if "R" not in case["cron"] else "RANDOM"
            continue
        assert case["valid"], case
        assert bool(cron.warnings) == case["out_of_range_interval_warning"], case
        assert cron.is_hourly == case["repeats_every_hour"], case
    assert differing == {
        "cronv-015": "CRON_NEVER_FIRES",
        "cronv-016": "CRON_NEVER_FIRES",
        "cronv-046": "RANDOM",
    }


def test_the_shortest_interval_equals_dagsters() -> None:
    for case in vectors("12_misc.json"):
        if case["kind"] == "smallest_cron_interval_seconds":
            got = smallest_interval_seconds(case["cron"], case["timezone"])
            assert got == case["value"], case


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("61 * * * *", "cron '61 * * * *': bad minute field '61' (allowed 0-59)"),
        ("* 24 * * *", "cron '* 24 * * *': bad hour field '24' (allowed 0-23)"),
        ("* * * FEBR *", "cron '* * * FEBR *': bad month field 'febr' (allowed 1-12)"),
        (
            "* * * * MON,FUN",
            "cron '* * * * MON,FUN': bad day-of-week field 'mon,fun' (allowed 0-7)",
        ),
        ("*/5 * * * * *", "cron '*/5 * * * * *': 6 fields, expected 5"),
        ("0 0 30 2 *", "cron '0 0 30 2 *' never fires: no month it allows has such a day"),
        ("@dayly", "cron '@dayly': unknown macro"),
        ("*/0 * * * *", "bad minute field '*/0' (a step is a whole number of at least 1)"),
        ("0 0 * * 1,5#2", "can not be mixed"),
        ("0 0 15W * *", "bad day-of-month field"),
        ("H * * * *", "bad minute field"),
        ("0 0 * * 5#6", "(allowed 1-5)"),
        (f"{'9' * 10_000} * * * *", "bad minute field"),
    ],
)
def test_messages_name_the_field_and_what_it_allows(text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_cron(text)
    assert message in str(caught.value)


def test_six_fields_come_with_the_way_out() -> None:
    with pytest.raises(InvalidInput, match="no seconds"):
        parse_cron("0 0 * * * *")


field = {
    "minute": st.one_of(st.just("*"), st.integers(0, 59).map(str), st.just("*/20"), st.just("5-7")),
    "hour": st.one_of(st.just("*"), st.integers(0, 23).map(str), st.just("0,12"), st.just("1-3")),
    "day": st.one_of(st.just("*"), st.integers(1, 31).map(str), st.just("L"), st.just("28-31")),
    "month": st.one_of(st.just("*"), st.sampled_from(["1,3,5,7,8,10,12", "*/3", "FEB,MAR,DEC"])),
    "weekday": st.one_of(st.just("*"), st.sampled_from(["0", "7", "1-5", "SAT,SUN", "5#2", "L5"])),
}
crons = st.tuples(*field.values()).map(" ".join)
starts = st.integers(
    int(datetime(1996, 1, 1, tzinfo=UTC).timestamp()),
    int(datetime(2040, 1, 1, tzinfo=UTC).timestamp()),
)


def fires(cron: str) -> bool:
    try:
        return bool(parse_cron(cron))
    except InvalidInput:
        return False


def by_hand(cron: str, start: datetime, count: int) -> list[int]:
    """croniter does not join L, 5#2 and L5 with other days; it joins plain days by OR, as we do."""
    day, weekday = cron.split()[2::2]
    assume("*" in (day, weekday) or not ("L" in day or "L" in weekday or "#" in weekday))
    walk = croniter(cron, start - timedelta(seconds=1))
    return [int(walk.get_next(float)) for _ in range(count)]


@settings(max_examples=60, deadline=None)
@given(crons, starts)
def test_in_utc_we_agree_with_croniter(cron: str, at: int) -> None:
    assume(fires(cron))
    want = by_hand(cron, datetime.fromtimestamp(at, UTC), 4)
    assert list(islice(next_ticks(cron, "UTC", at), 4)) == want


ZONES = ["America/New_York", "Europe/London", "Australia/Lord_Howe", "America/Havana", "Asia/Tokyo"]


@settings(max_examples=100, deadline=None)
@given(crons, starts, st.sampled_from(ZONES))
def test_in_a_zone_we_agree_with_cronsim_but_for_the_repeated_hour(
    cron: str, at: int, zone: str
) -> None:
    """cronsim fires a fixed time at the first of two equal instants, Dagster's rule at the later.

    cronsim takes a wildcard minute for a sign of real cadence as well, we only the hour.
    """
    minute, hour = cron.split()[:2]
    local = ZoneInfo(zone)
    offsets = {datetime.fromtimestamp(at + day * 86_400, local).utcoffset() for day in (-1, 0, 1)}
    assume(len(offsets) == 1 and (hour == "*" or not minute.startswith("*")))
    try:
        parsed = parse_cron(cron)
    except InvalidInput:
        return
    at -= at % 60
    start = datetime.fromtimestamp(at - 60, local)
    want = [int(tick.timestamp()) for tick in islice(CronSim(cron.replace("L5", "5L"), start), 6)]
    got = islice(next_ticks(cron, zone, at), 6)
    assert [first_of_two(tick, local, parsed.is_hourly) for tick in got] == want


def first_of_two(tick: int, zone: ZoneInfo, is_hourly: bool) -> int:
    moment = datetime.fromtimestamp(tick, zone)
    return tick if is_hourly else int(moment.replace(fold=0).timestamp())


@settings(max_examples=60, deadline=None)
@given(crons, starts, st.sampled_from([*ZONES, "UTC", "Pacific/Apia", "America/Nuuk"]))
def test_counting_finding_and_walking_are_one(cron: str, at: int, zone: str) -> None:
    try:
        table = TickTable(parse_cron(cron), zone, datetime.fromtimestamp(at, UTC).year)
    except InvalidInput:
        return
    first = table.count(at)
    instants = [table.tick(number) for number in range(first - 3, first + 12)]
    assert instants == sorted(set(instants))
    assert instants[2] < at <= instants[3]
    assert [table.count(instant) for instant in instants] == list(range(first - 3, first + 12))
    assert [tick for tick, _ in table.walk(first - 3, first + 12)] == instants
    assert [label for _, label in table.walk(first - 3, first + 12)] == [
        table.label(number) for number in range(first - 3, first + 12)
    ]
    assert list(islice(previous_ticks(cron, zone, at - 1), 3)) == instants[2::-1]


@pytest.mark.parametrize(
    "zone", [*ZONES, "America/Santiago", "Africa/Casablanca", "Antarctica/Troll"]
)
def test_the_rule_holds_in_every_zone_minute_by_minute(zone: str) -> None:
    """Against a walk over all minutes of 2025, which knows nothing of the arithmetic."""
    local = ZoneInfo(zone)
    start = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp())
    minutes = range(start, start + 330 * 86_400, 1800)
    walls = [datetime.fromtimestamp(minute, local) for minute in minutes]
    half_hours = [m for m, wall in zip(minutes, walls, strict=True) if wall.minute in (0, 30)]
    table = TickTable(parse_cron("*/30 * * * *"), zone, 2025)
    got = [tick for tick, _ in table.walk(table.count(start), table.count(minutes[-1] + 1))]
    assert got == half_hours
    daily = TickTable(parse_cron("30 1 * * *"), zone, 2025)
    for number in range(daily.count(start), daily.count(minutes[-1] - 86_400)):
        fired = datetime.fromtimestamp(daily.tick(number), local)
        meant = fired.replace(hour=1, minute=30, fold=1)
        exists = meant.astimezone(UTC).astimezone(local).replace(tzinfo=None) == meant.replace(
            tzinfo=None
        )
        if exists:
            assert fired.timestamp() == meant.timestamp(), "the later of two, and on time"
        else:
            before = datetime.fromtimestamp(fired.timestamp() - 1, local)
            assert before.utcoffset() != fired.utcoffset(), "the first instant after the gap"


def test_a_hundred_thousand_ticks_need_no_walk() -> None:
    table = TickTable(parse_cron("0 0 29 2 *"), "Europe/Berlin", 2024)
    assert datetime.fromtimestamp(table.tick(50), UTC).year == 2232
    assert len(table._spans.starts) < 600, "a table of changes, not of ticks"


def test_far_years_and_unknown_zones_are_refused_with_words() -> None:
    with pytest.raises(InvalidInput, match="after the year 2400"):
        list(islice(next_ticks("0 0 29 2 *", "UTC", 13_500_000_000), 5))
    with pytest.raises(InvalidInput, match=r"unknown timezone 'Europe/Berln'.*Europe/Berlin"):
        next_ticks("0 0 * * *", "Europe/Berln", 0)


def test_five_ways_to_write_sunday_and_one_for_the_last_friday() -> None:
    assert len({parse_cron(f"0 0 * * {day}") for day in ("0", "7", "SUN", "sun", "Sun")}) == 1
    ticks = islice(next_ticks("0 0 * * L5", "UTC", 1735689600), 3)
    assert [datetime.fromtimestamp(tick, UTC).day for tick in ticks] == [31, 28, 28]


def test_day_of_month_or_day_of_week() -> None:
    ticks = islice(next_ticks("0 0 13 * 5", "UTC", 1735689600), 4)
    assert [datetime.fromtimestamp(tick, UTC).strftime("%a %d") for tick in ticks] == [
        "Fri 03",
        "Fri 10",
        "Mon 13",
        "Fri 17",
    ]
