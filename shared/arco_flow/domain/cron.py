"""A cron expression as a countable set of wall-clock times.

Times here are *wall seconds*: seconds since 1970-01-01 of a calendar without zone. That set is
so regular that counting and finding are arithmetic: `count(wall)` says how many matching times
lie before a wall time, `nth(number)` is its inverse. Neither walks from one time to the next, so
the millionth window costs what the first one costs. `domain/ticks.py` adds the zone.

Rules: day-of-month and day-of-week, when both are restricted, are joined by OR (Vixie cron); 0
and 7 are Sunday; a cron that can never fire is refused.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import accumulate

from arco_flow.domain.cron_fields import CronFields, parse_fields
from arco_flow.domain.errors import InvalidInput

DAY_SECONDS = 86_400
_EPOCH_ORDINAL = 719_163
"""date(1970, 1, 1).toordinal(): day numbers here count from 1970-01-01."""

_CYCLE_MONTHS = 4_800
_CYCLE_DAYS = 146_097
"""The Gregorian calendar, weekdays included, repeats after 400 years."""


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed cron expression; two are equal when they allow the same fields.

    times: allowed seconds of a day, sorted. is_hourly: all 24 hours are allowed, so that across
    a change of the clocks it keeps its real cadence (see domain/ticks.py).
    """

    fields: CronFields
    times: tuple[int, ...]
    days: _Days
    is_hourly: bool

    def matches(self, wall: int) -> bool:
        """Whether a wall time is one of the set."""
        day, second = divmod(wall, DAY_SECONDS)
        if not self.days.contains(day):
            return False
        place = bisect_left(self.times, second)
        return place < len(self.times) and self.times[place] == second

    def count(self, wall: int) -> int:
        """How many matching times are < `wall`, counted from a fixed day long ago."""
        day, second = divmod(wall, DAY_SECONDS)
        full = self.days.count(day) * len(self.times)
        if second and self.days.contains(day):
            full += bisect_left(self.times, second)
        return full

    def nth(self, number: int) -> int:
        """The matching time with `count(time) == number`."""
        day_number, place = divmod(number, len(self.times))
        return self.days.nth(day_number) * DAY_SECONDS + self.times[place]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is legal and probably not meant, in words."""
        return tuple(
            f"the step of the {name} field is longer than the field: only its first value remains"
            for name in self.fields.long_steps
        )


@lru_cache(maxsize=1024)
def parse_cron(text: str) -> Cron:
    """Parse a five-field cron or a macro.

    Raises InvalidInput naming the field, its text and what it allows; for six fields; and for
    days that no calendar has, such as 30 February.
    """
    fields = parse_fields(text)
    times = tuple(h * 3600 + m * 60 for h in fields.hours for m in fields.minutes)
    days = _days_of(fields)
    if days.is_empty:
        raise InvalidInput(
            f"cron '{text}' never fires: no month it allows has such a day",
            fix="use L for the last day of a month",
            reason="CRON_NEVER_FIRES",
        )
    return Cron(fields, times, days, len(fields.hours) == 24)


def _days_of(fields: CronFields) -> _Days:
    free_day = not fields.days and not fields.last_day
    by_weekday = fields.weekdays or fields.nth_weekdays or fields.last_weekdays
    if len(fields.months) == 12 and free_day:
        if not by_weekday:
            return _Days()
        if not fields.nth_weekdays and not fields.last_weekdays:
            return _WeekDays(tuple(sorted(fields.weekdays)))
    return _MonthDays(fields)


@dataclass(frozen=True, slots=True)
class _Days:
    """Every day; the base of the other two. Days are numbered from 1970-01-01."""

    is_empty = False

    def contains(self, _day: int) -> bool:
        return True

    def count(self, day: int) -> int:
        return day

    def nth(self, number: int) -> int:
        return number


@dataclass(frozen=True, slots=True)
class _WeekDays(_Days):
    """Certain days of every week (0 is Sunday)."""

    weekdays: tuple[int, ...]

    def contains(self, day: int) -> bool:
        return (day + 4) % 7 in self.weekdays

    def count(self, day: int) -> int:
        # Day 0 is a Thursday: shifted by 4, weeks start on Sundays.
        week, weekday = divmod(day + 4, 7)
        return week * len(self.weekdays) + bisect_left(self.weekdays, weekday)

    def nth(self, number: int) -> int:
        week, place = divmod(number, len(self.weekdays))
        return week * 7 + self.weekdays[place] - 4


@dataclass(frozen=True, slots=True)
class _MonthDays(_Days):
    """Days by their place in the month, through a table of the 4,800 months of a cycle."""

    fields: CronFields

    @property
    def is_empty(self) -> bool:  # type: ignore[override]
        return _cycle(self.fields)[-1] == 0

    def contains(self, day: int) -> bool:
        _, month, month_days, number = self._locate(day)
        return number in month_days and month in self.fields.months

    def count(self, day: int) -> int:
        index, month, month_days, number = self._locate(day)
        table = _cycle(self.fields)
        cycle, place = divmod(index, _CYCLE_MONTHS)
        inside = bisect_left(month_days, number) if month in self.fields.months else 0
        return cycle * table[-1] + table[place] + inside

    def nth(self, number: int) -> int:
        table = _cycle(self.fields)
        cycle, rest = divmod(number, table[-1])
        place = bisect_right(table, rest) - 1
        year, month = divmod(place, 12)
        days = _month_days(self.fields, *_shape(year, month + 1))
        # Year 400 stands for year 0, which datetime does not have; the cycle makes it equal.
        first = date(year + 400, month + 1, 1).toordinal() - _CYCLE_DAYS - _EPOCH_ORDINAL
        return first + cycle * _CYCLE_DAYS + days[rest - table[place]] - 1

    def _locate(self, day: int) -> tuple[int, int, tuple[int, ...], int]:
        """(months since year 0, month, matching days of that month's shape, day of month)."""
        found = date.fromordinal(day + _EPOCH_ORDINAL)
        days = _month_days(self.fields, *_shape(found.year, found.month))
        return found.year * 12 + found.month - 1, found.month, days, found.day


@lru_cache(maxsize=8192)
def _shape(year: int, month: int) -> tuple[int, int]:
    """(days in the month, weekday of its first day with 0 = Sunday); year 0 is allowed."""
    first = date(year % 400 + 400, month, 1)
    following = date(year % 400 + 400 + month // 12, month % 12 + 1, 1)
    return following.toordinal() - first.toordinal(), (first.weekday() + 1) % 7


@lru_cache(maxsize=4096)
def _month_days(fields: CronFields, length: int, first: int) -> tuple[int, ...]:
    """Matching days of a month of `length` days whose first day is weekday `first`."""
    free_day = not fields.days and not fields.last_day
    free_weekday = not (fields.weekdays or fields.nth_weekdays or fields.last_weekdays)
    found = []
    for day in range(1, length + 1):
        weekday = (first + day - 1) % 7
        by_day = day in fields.days or (fields.last_day and day == length)
        by_weekday = (
            weekday in fields.weekdays
            or (weekday, (day + 6) // 7) in fields.nth_weekdays
            or (weekday in fields.last_weekdays and day + 7 > length)
        )
        if by_day or by_weekday or (free_day and free_weekday):
            found.append(day)
    return tuple(found)


@lru_cache(maxsize=256)
def _cycle(fields: CronFields) -> tuple[int, ...]:
    """Matching days before each month of a 400-year cycle that starts with year 0."""
    counts = (
        len(_month_days(fields, *_shape(year, month))) if month in fields.months else 0
        for year in range(400)
        for month in range(1, 13)
    )
    return (0, *accumulate(counts))
