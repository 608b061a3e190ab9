"""Definitions of partitions to draw from, around changes of the clocks, and times to ask at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hypothesis import reject
from hypothesis import strategies as st

from arco_flow.domain.errors import DefinitionError
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
    TimePartitions,
    WeeklyPartitions,
)

ZONES = ("UTC", "Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "America/Nuuk")
"""Changes at 1 in the night, at midnight, by half an hour, and over the end of a day."""
CHANGES = ("2025-03-07", "2025-03-28", "2025-04-04", "2025-10-24", "2025-10-31")
"""Days shortly before the clocks change in one of the zones."""
NAMES = {"who": ("zoe", "adam", "eve", "é"), "none": ()}
DAYS = 12


@dataclass(frozen=True)
class Space:
    """A definition, the time at which its keys are asked for, and its keys then."""

    made: PartitionsDefinition
    ctx: PartitionContext
    keys: tuple[str, ...]


def _time(draw: st.DrawFn, zone: str, start: str) -> TimePartitions:
    more: dict[str, Any] = {"timezone": zone, "end_offset": draw(st.integers(-2, 2))}
    more["exclusions"] = draw(st.sampled_from([(), ("0 0 * * SAT,SUN",), ("2025-03-30",)]))
    if draw(st.booleans()):
        more["end"] = str(datetime.fromisoformat(start).date() + timedelta(days=DAYS // 2))
    minute = draw(st.sampled_from([0, 15, 30]))
    kind = draw(st.sampled_from(["hourly", "daily", "weekly", "monthly", "cron"]))
    if kind == "hourly":
        return HourlyPartitions(start, minute_offset=minute, **more)
    hour = draw(st.sampled_from([0, 1, 2, 23]))
    if kind == "daily":
        return DailyPartitions(start, hour_offset=hour, minute_offset=minute, **more)
    if kind == "weekly":
        return WeeklyPartitions(start, day_offset=draw(st.integers(0, 6)), **more)
    if kind == "monthly":
        return MonthlyPartitions(start, day_offset=draw(st.integers(1, 31)), **more)
    cron = draw(st.sampled_from([f"{minute} */6 * * *", "30 1,2 * * *", "0 0 29,31 * 1"]))
    return CronPartitions(cron, start=start, **more)


@st.composite
def times(draw: st.DrawFn, zone: str = "", start: str = "") -> Space:
    """Partitions by time around a change of the clocks, up to thirty of them."""
    start = start or draw(st.sampled_from(CHANGES))
    try:
        made = _time(draw, zone or draw(st.sampled_from(ZONES)), start)
    except DefinitionError:  # every window is excluded
        reject()
    end = made.windows.end(draw(st.integers(-2, 29)))
    return space(made, end + draw(st.sampled_from([0, 0, -1, 1, 1000])))


def space(made: PartitionsDefinition, at: int) -> Space:
    """The space of a definition at a time."""
    ctx = PartitionContext(at, NAMES)
    return Space(made, ctx, tuple(made.keys(ctx)))


NAMED = ("us", "eu", "apac", "", "é", "a b", "2025-03-30", "A")
statics = st.lists(st.sampled_from(NAMED), min_size=2, unique=True).map(
    lambda keys: space(StaticPartitions(keys), 0)
)
dynamics = st.sampled_from(["who", "none"]).map(lambda name: space(DynamicPartitions(name), 0))


@st.composite
def multis(draw: st.DrawFn) -> Space:
    """Two or three dimensions, of which at least one is by time."""
    start = draw(st.sampled_from(CHANGES))
    parts = [draw(times(start=start))]
    parts += draw(
        st.lists(st.one_of(statics, dynamics, times(start=start)), min_size=1, max_size=2)
    )
    names = draw(st.permutations(["a", "b", "date"]))
    dims = {name: part.made for name, part in zip(names, parts, strict=False)}
    return space(MultiPartitions(dims), min(part.ctx.instant for part in parts if part.ctx.instant))


spaces = st.one_of(times(), multis(), statics, dynamics)
