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
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count as counting
from itertools import pairwise

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


@dataclass(frozen=True, slots=True)
class _Spans:
    """Spans of constant offset from the start of `first_year` to the end of `end_year - 1`.

    Per span: its first instant, its offset, the ticks before it, whether a tick that the clocks
    skipped fires at its start, and (for all but the last) the wall time from which on its wall
    times belong to the next span. Instants before `limit` and ticks before number `known` need
    no further year. Never changed once it can be seen: other threads may be reading it.
    """

    first_year: int
    end_year: int
    limit: int
    known: int
    starts: list[int]
    offsets: list[int]
    counts: list[int]
    extras: list[bool]
    caps: list[int]


class TickTable:
    """All instants of one cron in one zone, numbered without gaps in both directions.

    Tick 0 is the first one at or after the start of the `base` year. Instants are whole UTC
    epoch seconds. The table of spans grows with the years that are asked for; that growth is a
    cache, so the table behaves as a constant.
    """

    __slots__ = ("_spans", "cron", "zone")

    def __init__(self, cron: Cron, zone: str, base: int) -> None:
        self.cron = cron
        self.zone = zone
        start = year_start(base)
        offset = offset_at(zone, start)
        self._spans = _Spans(base, base, start, 0, [start], [offset], [0], [False], [])

    def count(self, instant: int) -> int:
        """How many ticks are < `instant`, counted from tick 0 (negative before it)."""
        spans = self._covering(instant)
        place = bisect_right(spans.starts, instant) - 1
        return spans.counts[place] + self._within(spans, place, instant)

    def tick(self, number: int) -> int:
        """The instant of a tick. Raises InvalidInput beyond the supported years."""
        spans = self._reaching(number)
        place = bisect_right(spans.counts, number) - 1
        rest = number - spans.counts[place]
        if spans.extras[place]:
            if rest == 0:
                return spans.starts[place]
            rest -= 1
        offset = spans.offsets[place]
        return self.cron.nth(self.cron.count(spans.starts[place] + offset) + rest) - offset

    def label(self, number: int) -> int:
        """The wall time that names a tick: its local time, nearly always.

        Where the clocks skip the end of a day, a time of that day fires on the next one. It keeps
        the wall time that was meant, or two ticks of one day would share a name.
        """
        instant = self.tick(number)
        spans = self._covering(instant)
        place = bisect_right(spans.starts, instant) - 1
        if instant == spans.starts[place] and spans.extras[place]:
            return self._label_after_gap(spans, place)
        return instant + spans.offsets[place]

    def is_tick(self, instant: int) -> bool:
        """Whether the cron fires at an instant."""
        return self.count(instant + 1) > self.count(instant)

    def is_repeat(self, instant: int) -> bool:
        """Whether the local time of an instant has occurred before, an offset earlier."""
        spans = self._covering(instant)
        place = bisect_right(spans.starts, instant) - 1
        if place == 0:
            return False
        wall = instant + spans.offsets[place]
        return wall < spans.starts[place] + spans.offsets[place - 1]

    def offset(self, instant: int) -> int:
        """Seconds that local time is ahead of UTC at an instant."""
        spans = self._covering(instant)
        return spans.offsets[bisect_right(spans.starts, instant) - 1]

    def instant(self, wall: int) -> int:
        """The first instant whose local time is at or after a wall time (seconds)."""
        spans = self._covering(wall + _MARGIN_SECONDS)
        place = max(bisect_right(spans.starts, wall - _MARGIN_SECONDS) - 1, 0)
        while place + 1 < len(spans.starts):
            following = spans.starts[place + 1]
            if wall < following + spans.offsets[place]:
                break
            place += 1
            if wall < following + spans.offsets[place]:
                return following
        return wall - spans.offsets[place]

    def walk(self, number: int, end: int) -> Iterator[tuple[int, int]]:
        """(instant, label) of the ticks number, number + 1, … up to but not `end`."""
        if number >= end:
            return
        self._reaching(number)
        spans = self._reaching(end)
        while number < end:
            place = bisect_right(spans.counts, number) - 1
            later = spans.counts[place + 1] if place + 1 < len(spans.counts) else end
            stop = min(end, later)
            offset = spans.offsets[place]
            if spans.extras[place] and number == spans.counts[place]:
                yield spans.starts[place], self._label_after_gap(spans, place)
                number += 1
            before = spans.counts[place] + spans.extras[place]
            base = self.cron.count(spans.starts[place] + offset) - before
            for wall in map(self.cron.nth, range(base + number, base + stop)):
                yield wall - offset, wall
            number = max(number, stop)

    def _within(self, spans: _Spans, place: int, instant: int) -> int:
        """Ticks of a span before an instant in it (or at its end)."""
        start = spans.starts[place]
        if instant <= start:
            return 0
        wall = instant + spans.offsets[place]
        if place < len(spans.caps) and not self.cron.is_hourly:
            wall = min(wall, spans.caps[place])
        first = self.cron.count(start + spans.offsets[place])
        return max(self.cron.count(wall) - first, 0) + spans.extras[place]

    def _covering(self, instant: int) -> _Spans:
        spans = self._spans
        while instant < spans.starts[0]:
            spans = self._spans = self._earlier(spans)
        while instant >= spans.limit:
            spans = self._spans = self._later(spans)
        return spans

    def _reaching(self, number: int) -> _Spans:
        spans = self._spans
        while number < spans.counts[0]:
            spans = self._spans = self._earlier(spans)
        while number >= spans.known:
            spans = self._spans = self._later(spans)
        return spans

    def _later(self, spans: _Spans) -> _Spans:
        """The same spans and one more year."""
        if spans.end_year >= MAX_YEAR:
            raise InvalidInput(
                f"times after the year {MAX_YEAR} are not supported",
                fix="leave an end that is never reached out",
            )
        grown = replace(
            spans,
            starts=[*spans.starts],
            offsets=[*spans.offsets],
            counts=[*spans.counts],
            extras=[*spans.extras],
            caps=[*spans.caps],
            end_year=spans.end_year + 1,
            limit=year_start(spans.end_year + 1) - _MARGIN_SECONDS,
        )
        for change in changes_of_year(self.zone, spans.end_year):
            if change.at > grown.starts[-1]:
                self._append(grown, change.at, change.offset)
        place = bisect_right(grown.starts, grown.limit - 1) - 1
        known = grown.counts[place] + self._within(grown, place, grown.limit - 1)
        return replace(grown, known=known)

    def _append(self, spans: _Spans, at: int, offset: int) -> None:
        """Add a span to a table that nobody else sees yet."""
        before = spans.offsets[-1]
        spans.caps.append(at + min(before, offset))
        count = spans.counts[-1] + self._within(spans, len(spans.starts) - 1, at)
        spans.starts.append(at)
        spans.offsets.append(offset)
        spans.counts.append(count)
        spans.extras.append(self._fires_after_gap(at + before, at + offset))

    def _fires_after_gap(self, low: int, high: int) -> bool:
        """Whether a skipped wall time in [low, high) fires, and not just a tick at `high`."""
        if self.cron.is_hourly or low >= high or self.cron.matches(high):
            return False
        return self.cron.count(high) > self.cron.count(low)

    def _label_after_gap(self, spans: _Spans, place: int) -> int:
        high = spans.starts[place] + spans.offsets[place]
        meant = self.cron.nth(self.cron.count(high) - 1)
        return high if meant // DAY_SECONDS == high // DAY_SECONDS else meant

    def _earlier(self, spans: _Spans) -> _Spans:
        """Spans from an earlier year on, with the same number for every tick."""
        if spans.first_year <= MIN_YEAR:
            raise InvalidInput(f"times before the year {MIN_YEAR} are not supported")
        step = max(10, spans.end_year - spans.first_year)
        table = TickTable(self.cron, self.zone, max(spans.first_year - step, MIN_YEAR))
        grown = table._covering(max(spans.limit - 1, spans.starts[0]))
        shift = spans.counts[0] - table.count(spans.starts[0])
        counts = [count + shift for count in grown.counts]
        return replace(grown, counts=counts, known=grown.known + shift)


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
    return map(table.tick, counting(table.count(at)))


def previous_ticks(cron: str, zone: str, at: int) -> Iterator[int]:
    """Every instant <= `at` at which a cron fires, from late to early."""
    table = _table_near(cron, zone, at)
    return map(table.tick, counting(table.count(at + 1) - 1, -1))


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
