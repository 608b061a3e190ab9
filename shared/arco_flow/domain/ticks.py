"""A cron expression in a time zone: countable instants, and what happens when clocks change.

The rule, for every zone and every size of shift:

- A cron that allows all 24 hours keeps its real cadence: times that the clocks skip do not fire,
  times that the clocks repeat fire twice.
- Any other cron names times of the day. One that the clocks skip fires at the first instant after
  the gap (several such times fire there once); one that they repeat fires once, at the LATER of
  the two instants. This is the rule that Dagster documents; where Dagster itself departs from
  it, see docs/dagster-differences.md.

Local time is a chain of spans with a constant offset. Within a span, instants are wall times
minus the offset, so counting is counting wall times (domain/cron.py) plus a running sum.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import count, pairwise

from arco_flow.domain.cron import DAY_SECONDS, Cron, parse_cron
from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.zones import (
    MAX_YEAR,
    MIN_YEAR,
    changes_of_year,
    offset_at,
    year_of,
    year_start,
)

_MARGIN_SECONDS = 2 * DAY_SECONDS
"""A change of the clocks (a day at most) affects wall times this close to it."""


class TickTable:
    """All instants of one cron in one zone, numbered without gaps in both directions.

    Tick 0 is the first one at or after the start of the `base` year. Instants are whole UTC
    epoch seconds. The table of spans grows with the years that are asked for; that growth is a
    cache, so the table behaves as a constant.
    """

    __slots__ = ("_cap", "_count", "_end_year", "_extra", "_first", "_known", "_limit", "_offset",
                 "_start", "cron", "zone")  # fmt: skip

    def __init__(self, cron: Cron, zone: str, base: int = 1970) -> None:
        self.cron = cron
        self.zone = zone
        self._first = base
        self._end_year = base
        start = year_start(base)
        # Per span: its first instant, its offset, the ticks before it, whether a tick that the
        # clocks skipped fires at its start, and the wall time from which its wall times belong
        # to the next span.
        self._start = [start]
        self._offset = [offset_at(zone, start)]
        self._count = [0]
        self._extra = [False]
        self._cap: list[int] = []
        # Instants before _limit, and ticks before number _known, need no further year.
        self._limit = start
        self._known = 0

    def count(self, instant: int) -> int:
        """How many ticks are < `instant`, counted from tick 0 (negative before it)."""
        self._cover(instant)
        span = bisect_right(self._start, instant) - 1
        return self._count[span] + self._within(span, instant)

    def tick(self, number: int) -> int:
        """The instant of a tick. Raises InvalidInput beyond the supported years."""
        while number < self._count[0]:
            self._shift_base()
        while number >= self._known:
            self._extend()
        span = bisect_right(self._count, number) - 1
        rest = number - self._count[span]
        if self._extra[span]:
            if rest == 0:
                return self._start[span]
            rest -= 1
        offset = self._offset[span]
        return self.cron.nth(self.cron.count(self._start[span] + offset) + rest) - offset

    def label(self, number: int) -> int:
        """The wall time that names a tick: its local time, nearly always.

        Where the clocks skip the end of a day, a time of that day fires on the next one. It keeps
        the wall time that was meant, or two ticks of one day would share a name.
        """
        instant = self.tick(number)
        span = bisect_right(self._start, instant) - 1
        if instant == self._start[span] and self._extra[span]:
            return self._label_after_gap(span)
        return instant + self._offset[span]

    def is_tick(self, instant: int) -> bool:
        """Whether the cron fires at an instant."""
        return self.count(instant + 1) > self.count(instant)

    def is_repeat(self, instant: int) -> bool:
        """Whether the local time of an instant has occurred before, an offset earlier."""
        self._cover(instant)
        span = bisect_right(self._start, instant) - 1
        if span == 0:
            return False
        wall = instant + self._offset[span]
        return wall < self._start[span] + self._offset[span - 1]

    def offset(self, instant: int) -> int:
        """Seconds that local time is ahead of UTC at an instant."""
        self._cover(instant)
        return self._offset[bisect_right(self._start, instant) - 1]

    def instant(self, wall: int) -> int:
        """The first instant whose local time is at or after a wall time (seconds)."""
        self._cover(wall)
        span = max(bisect_right(self._start, wall - _MARGIN_SECONDS) - 1, 0)
        while span + 1 < len(self._start):
            following = self._start[span + 1]
            if wall < following + self._offset[span]:
                break
            span += 1
            if wall < following + self._offset[span]:
                return following
        return wall - self._offset[span]

    def walk(self, number: int, end: int) -> Iterator[tuple[int, int]]:
        """(instant, label) of the ticks number, number + 1, … up to but not `end`."""
        if number >= end:
            return
        self._cover(self.tick(end - 1))
        self.tick(number)
        nth = self.cron.nth
        while number < end:
            span = bisect_right(self._count, number) - 1
            stop = self._count[span + 1] if span + 1 < len(self._count) else end
            stop = min(end, stop)
            offset = self._offset[span]
            if self._extra[span] and number == self._count[span]:
                yield self._start[span], self._label_after_gap(span)
                number += 1
            base = self.cron.count(self._start[span] + offset) - self._count[span]
            base -= self._extra[span]
            for place in range(number, stop):
                wall = nth(base + place)
                yield wall - offset, wall
            number = max(number, stop)

    def _within(self, span: int, instant: int) -> int:
        """Ticks of a span before an instant in it (or at its end)."""
        start = self._start[span]
        if instant <= start:
            return 0
        wall = instant + self._offset[span]
        if span < len(self._cap) and not self.cron.is_hourly:
            wall = min(wall, self._cap[span])
        first = self.cron.count(start + self._offset[span])
        return max(self.cron.count(wall) - first, 0) + self._extra[span]

    def _cover(self, instant: int) -> None:
        while instant < self._start[0]:
            self._shift_base()
        while instant >= self._limit:
            self._extend()

    def _extend(self) -> None:
        """Take in one more year."""
        if self._end_year >= MAX_YEAR:
            raise InvalidInput(f"times after the year {MAX_YEAR} are not supported")
        for change in changes_of_year(self.zone, self._end_year):
            if change.at > self._start[-1]:
                self._append(change.at, change.offset)
        self._end_year += 1
        self._limit = year_start(self._end_year) - _MARGIN_SECONDS
        self._known = self.count(self._limit - 1)

    def _append(self, at: int, offset: int) -> None:
        before = self._offset[-1]
        self._cap.append(at + min(before, offset))
        count = self._count[-1] + self._within(len(self._start) - 1, at)
        self._start.append(at)
        self._offset.append(offset)
        self._count.append(count)
        self._extra.append(self._fires_after_gap(at + before, at + offset))

    def _fires_after_gap(self, low: int, high: int) -> bool:
        """Whether a skipped wall time in [low, high) fires, and not just a tick at `high`."""
        if self.cron.is_hourly or low >= high or self.cron.matches(high):
            return False
        return self.cron.count(high) > self.cron.count(low)

    def _label_after_gap(self, span: int) -> int:
        high = self._start[span] + self._offset[span]
        meant = self.cron.nth(self.cron.count(high) - 1)
        return high if meant // DAY_SECONDS == high // DAY_SECONDS else meant

    def _shift_base(self) -> None:
        """Rebuild from an earlier year, keeping the number of every tick."""
        origin = self._start[0]
        numbered = self._count[0]
        older = self._first - max(10, self._end_year - self._first)
        if self._first <= MIN_YEAR + 1:
            raise InvalidInput(f"times before the year {MIN_YEAR} are not supported")
        table = TickTable(self.cron, self.zone, max(older, MIN_YEAR + 1))
        shift = numbered - table.count(origin)
        table._cover(max(self._limit - 1, origin))
        self._first = table._first
        self._end_year = table._end_year
        self._start, self._offset, self._extra = table._start, table._offset, table._extra
        self._cap = table._cap
        self._count = [before + shift for before in table._count]
        self._limit, self._known = table._limit, table._known + shift


@lru_cache(maxsize=1024)
def tick_table(cron: str, zone: str, base: int) -> TickTable:
    """The shared table of a cron text in an IANA zone. Raises InvalidInput for either."""
    return TickTable(parse_cron(cron), zone, base)


def _table_near(cron: str, zone: str, instant: int) -> TickTable:
    """A table that starts in the decade of an instant: offsets of older years are not needed."""
    return tick_table(cron, zone, year_of(instant) // 10 * 10)


def next_ticks(cron: str, zone: str, at: int) -> Iterator[int]:
    """Every instant >= `at` (UTC epoch seconds) at which a cron fires, in order, without end."""
    table = _table_near(cron, zone, at)
    return map(table.tick, count(table.count(at)))


def previous_ticks(cron: str, zone: str, at: int) -> Iterator[int]:
    """Every instant <= `at` at which a cron fires, from late to early."""
    table = _table_near(cron, zone, at)
    return map(table.tick, count(table.count(at + 1) - 1, -1))


def smallest_interval_seconds(cron: str, zone: str) -> int:
    """The shortest time between two neighbouring ticks.

    Looked for in the years 2024 to 2031: they hold every kind of month that a cron can tell
    apart. Of a dense cron, the pattern of wall times is compared once, and ticks one by one only
    around changes of the clocks.
    """
    table = tick_table(cron, zone, 2020)
    low, high = year_start(2024), year_start(2032)
    first = table.count(low)
    last = max(table.count(high), first + 2)
    if last - first <= _SPARSE_TICKS:
        return _shortest(instant for instant, _ in table.walk(first, last))
    times, days = table.cron.times, table.cron.days
    best = _shortest(days.nth(days.count(low // DAY_SECONDS)) + time for time in times)
    ends = DAY_SECONDS - times[-1] + times[0]
    numbers = range(days.count(low // DAY_SECONDS), days.count(high // DAY_SECONDS))
    best = min(best, (_shortest(map(days.nth, numbers)) - 1) * DAY_SECONDS + ends)
    for year in range(2024, 2032):
        for change in changes_of_year(zone, year):
            around = (table.count(change.at + shift) for shift in (-DAY_SECONDS, DAY_SECONDS))
            best = min(best, _shortest(instant for instant, _ in table.walk(*around)))
    return best


def _shortest(instants: Iterable[int]) -> int:
    return min((after - before for before, after in pairwise(instants)), default=_EVER)


_SPARSE_TICKS = 10_000
_EVER = 2**62
