"""Numbered time windows of a cron in a zone: number ↔ window ↔ key, by arithmetic.

A window runs from one tick to the next. Windows are numbered from the first tick at or after the
start; excluded ones have no number, so neighbours in the numbering are neighbours to people.
Negative numbers are windows before the start: mappings need their keys to say what is missing.
All instants are whole UTC epoch seconds; windows include their start and exclude their end.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import NamedTuple

from arco_flow.domain.cron import DAY_SECONDS
from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.ticks import TickTable, tick_table
from arco_flow.domain.zones import MAX_YEAR, MIN_YEAR, load_zone, year_of

DATE_FORMAT = "%Y-%m-%d"
HOUR_FORMAT = "%Y-%m-%d-%H:%M"
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall times have no zone
_EPOCH_ORDINAL = 719_163


class TimeWindow(NamedTuple):
    """[start, end) in whole UTC epoch seconds."""

    start: int
    end: int

    @property
    def start_time(self) -> datetime:
        """Start as an aware UTC datetime."""
        return datetime.fromtimestamp(self.start, UTC)

    @property
    def end_time(self) -> datetime:
        """End, exclusive, as an aware UTC datetime."""
        return datetime.fromtimestamp(self.end, UTC)


def wall_datetime(wall: int) -> datetime:
    """A wall time (seconds since 1970 without zone) as a naive datetime."""
    return _EPOCH + timedelta(seconds=wall)


def wall_seconds(moment: datetime) -> int:
    """Inverse of wall_datetime; fractions of a second are dropped."""
    passed = moment.replace(tzinfo=None) - _EPOCH
    return passed.days * DAY_SECONDS + passed.seconds


class WindowSpace:
    """The windows of one definition. Caches what it computes; otherwise a constant."""

    __slots__ = ("_exclusions", "_first", "fmt", "table")

    def __init__(
        self,
        cron: str,
        zone: str,
        fmt: str,
        start: int,
        exclusions: tuple[int | str, ...] = (),
    ) -> None:
        self.table = tick_table(cron, zone, year_of(start) - 1)
        self.fmt = fmt
        self._first = self.table.count(start)
        self._exclusions = _Exclusions(self.table, zone, exclusions) if exclusions else None

    def window(self, number: int) -> TimeWindow:
        """The window of a number."""
        raw = self._raw(number)
        return TimeWindow(self.table.tick(raw), self.table.tick(raw + 1))

    def start(self, number: int) -> int:
        """Where the window of a number starts."""
        return self.table.tick(self._raw(number))

    def end(self, number: int) -> int:
        """Where the window of a number ends."""
        return self.table.tick(self._raw(number) + 1)

    def starting_before(self, instant: int) -> int:
        """How many windows, from number 0 on, start before an instant (negative: before 0)."""
        return self._number(self.table.count(instant))

    def ended_by(self, instant: int) -> int:
        """How many windows, from number 0 on, have ended at an instant."""
        return self._number(self.table.count(instant + 1) - 1)

    def overlapping(self, start: int, end: int) -> tuple[int, int]:
        """Numbers [low, high) of the windows that share at least one second with [start, end)."""
        if start >= end:
            return 0, 0
        return self.ended_by(start), self.starting_before(end)

    def key(self, number: int) -> str:
        """The key of a window: its start, written in the zone by the format."""
        return self._key(self._raw(number))

    def label(self, number: int) -> datetime:
        """The local time that names a window, without zone."""
        return wall_datetime(self.table.label(self._raw(number)))

    def keys(self, low: int, high: int) -> Iterator[str]:
        """The keys of the windows low, low + 1, … up to but not `high`."""
        if low >= high:
            return
        first, last = self._raw(low), self._raw(high - 1) + 1
        excluded = self._exclusions.between(first, last) if self._exclusions else frozenset()
        if self.fmt in _FAST:
            yield from self._fast_keys(first, last, excluded)
            return
        for raw in range(first, last):
            if raw not in excluded:
                yield self._key(raw)

    def find(self, key: str) -> int | None:
        """The number of the window with exactly this key, also before the start; else None."""
        try:
            return self._find(key)
        except (ValueError, OverflowError, InvalidInput):  # no time at all, or beyond the calendar
            return None

    def _find(self, key: str) -> int | None:
        raw = self.table.count(self._parse(key))
        # One step further: a time of the day before may fire at midnight, after a gap.
        for candidate in (raw, raw + 1):
            if self._key(candidate) == key:
                return self._number_of_raw(candidate)
        return None

    def find_start(self, instant: int) -> int | None:
        """The number of the window that starts at an instant, or None."""
        raw = self.table.count(instant)
        return self._number_of_raw(raw) if self.table.tick(raw) == instant else None

    def find_date(self, day: date) -> int | None:
        """The number of the first window whose label is on a local date, or None."""
        wall = (day.toordinal() - _EPOCH_ORDINAL) * DAY_SECONDS
        raw = self.table.count(self.table.instant(wall))
        for candidate in (raw, raw + 1):
            if self.table.label(candidate) // DAY_SECONDS == wall // DAY_SECONDS:
                return self._number_of_raw(candidate)
        return None

    def _key(self, raw: int) -> str:
        instant, label = self.table.tick(raw), self.table.label(raw)
        if self.fmt == DATE_FORMAT:
            return date.fromordinal(label // DAY_SECONDS + _EPOCH_ORDINAL).isoformat()
        return self._format(instant, label)

    def _format(self, instant: int, label: int) -> str:
        offset = timezone(timedelta(seconds=self.table.offset(instant)))
        moment = wall_datetime(label).replace(tzinfo=offset)
        # The second pass through a repeated hour needs another name than the first one.
        if self.table.cron.is_hourly and "%z" not in self.fmt and self.table.is_repeat(instant):
            return moment.strftime(self.fmt + "%z")
        return moment.strftime(self.fmt)

    def _fast_keys(self, first: int, last: int, excluded: frozenset[int]) -> Iterator[str]:
        """The two usual formats, writing each date once."""
        day, text = None, ""
        hourly = self.fmt == HOUR_FORMAT
        may_repeat = hourly and self.table.cron.is_hourly
        for raw, (instant, label) in enumerate(self.table.walk(first, last), first):
            if raw in excluded:
                continue
            if label // DAY_SECONDS != day:
                day = label // DAY_SECONDS
                text = date.fromordinal(day + _EPOCH_ORDINAL).isoformat()
            if not hourly:
                yield text
            elif may_repeat and self.table.is_repeat(instant):
                yield self._format(instant, label)
            else:
                minute = label % DAY_SECONDS // 60
                yield f"{text}-{minute // 60:02}:{minute % 60:02}"

    def _parse(self, key: str) -> int:
        """The instant from which the window of a key is looked for. Raises ValueError."""
        if self.fmt == DATE_FORMAT:
            return self.table.instant(_date_wall(key))
        if self.fmt == HOUR_FORMAT and len(key) == 16:
            return self.table.instant(_date_wall(key[:10]) + _minute_wall(key[10:]))
        fmt = self.fmt
        if "%z" not in fmt and self.table.cron.is_hourly:
            try:
                return _instant(datetime.strptime(key, fmt + "%z"))  # noqa: DTZ007 - it has %z
            except ValueError:
                fmt = self.fmt
        moment = datetime.strptime(key, fmt)  # noqa: DTZ007 - the zone is the definition's
        return _instant(moment) if moment.tzinfo else self.table.instant(wall_seconds(moment))

    def _raw(self, number: int) -> int:
        if self._exclusions is None:
            return number + self._first
        return self._exclusions.spread(number, self._first)

    def _number(self, raw: int) -> int:
        if self._exclusions is None:
            return raw - self._first
        return raw - self._first - self._exclusions.count(self._first, raw)

    def _number_of_raw(self, raw: int) -> int | None:
        if self._exclusions is not None and self._exclusions.between(raw, raw + 1):
            return None
        return self._number(raw)


_FAST = (DATE_FORMAT, HOUR_FORMAT)


def _date_wall(text: str) -> int:
    if len(text) != 10:
        raise ValueError(text)
    return (date.fromisoformat(text).toordinal() - _EPOCH_ORDINAL) * DAY_SECONDS


def _minute_wall(text: str) -> int:
    if text[0] != "-" or text[3] != ":":
        raise ValueError(text)
    return int(text[1:3]) * 3600 + int(text[4:6]) * 60


def _instant(moment: datetime) -> int:
    offset = moment.utcoffset() or timedelta()
    return wall_seconds(moment) - offset.days * DAY_SECONDS - offset.seconds


class _Exclusions:
    """Which ticks are left out: single instants and ticks of other crons, in sorted order."""

    __slots__ = ("_crons", "_instants", "_known", "_table")

    def __init__(self, table: TickTable, zone: str, exclusions: tuple[int | str, ...]) -> None:
        self._table = table
        self._instants = tuple(item for item in exclusions if isinstance(item, int))
        crons = [item for item in exclusions if isinstance(item, str)]
        self._crons = tuple(tick_table(cron, zone, 1970) for cron in crons)
        # (low, high, excluded ticks in [low, high)): replaced as a whole, for other threads.
        self._known: tuple[int, int, list[int]] = (0, 0, [])

    def count(self, low: int, high: int) -> int:
        """Excluded ticks in [low, high); minus those in [high, low) when turned round."""
        known = self._covering(min(low, high), max(low, high))
        return bisect_left(known, high) - bisect_left(known, low)

    def between(self, low: int, high: int) -> frozenset[int]:
        """The excluded ticks in [low, high)."""
        known = self._covering(low, high)
        return frozenset(known[bisect_left(known, low) : bisect_left(known, high)])

    def spread(self, number: int, first: int) -> int:
        """The tick that is number `number` of those that are not excluded, from `first` on."""

        def below(raw: int) -> int:
            return raw - first - self.count(first, raw)

        low = first + number
        step = 1
        while below(low) > number:
            low, step = low - step, self._longer(step)
        high, step = low + 1, 1
        while below(high) <= number:
            high, step = high + step, self._longer(step)
        # below() never falls, so the first tick after which one more is counted is found by
        # bisection, whatever runs of excluded ticks lie between.
        while high - low > 1:
            middle = (low + high) // 2
            if below(middle) <= number:
                low = middle
            else:
                high = middle
        return low

    def _longer(self, step: int) -> int:
        if step > _LONGEST_RUN:
            raise InvalidInput(
                f"the exclusions leave no window in {_LONGEST_RUN} of them",
                fix="exclude less, or use a cron expression that has no such ticks",
            )
        return step * 2

    def _covering(self, low: int, high: int) -> list[int]:
        """Every excluded tick of at least [low, high), found in steps that double."""
        known_low, known_high, known = self._known
        if known_low == known_high:
            known_low = known_high = low
        if low >= known_low and high <= known_high:
            return known
        size = known_high - known_low + 64
        new_low = min(known_low, low - size) if low < known_low else known_low
        new_high = max(known_high, high + size) if high > known_high else known_high
        try:
            found = [*self._find(new_low, known_low), *known, *self._find(known_high, new_high)]
        except InvalidInput:  # a step that long leaves the calendar; what is asked for may not
            new_low, new_high = min(known_low, low), max(known_high, high)
            found = [*self._find(new_low, known_low), *known, *self._find(known_high, new_high)]
        self._known = (new_low, new_high, found)
        return found

    def _find(self, low: int, high: int) -> list[int]:
        if low >= high:
            return []
        start, end = self._table.tick(low), self._table.tick(high)
        found = {
            self._table.count(instant)
            for instant in self._instants
            if start <= instant < end and self._table.is_tick(instant)
        }
        for table in self._crons:
            found |= self._common(table, low, high)
        return sorted(found)

    def _common(self, table: TickTable, low: int, high: int) -> set[int]:
        """Ticks of [low, high) that are ticks of `table` too, walking the shorter of the two."""
        start, end = self._table.tick(low), self._table.tick(high)
        first, last = table.count(start), table.count(end)
        if last - first > high - low:
            own = enumerate(self._table.walk(low, high), low)
            return {number for number, (instant, _) in own if table.is_tick(instant)}
        walk = (instant for instant, _ in table.walk(first, last))
        return {self._table.count(instant) for instant in walk if self._table.is_tick(instant)}


_LONGEST_RUN = 20_000
"""Excluded windows in a row (two years of hours) after which all are taken to be excluded."""


def parse_moment(text: str | date, zone: str, fmt: str) -> int:
    """UTC epoch seconds of a moment that a person wrote; without zone it is local in `zone`.

    Accepts a date, a datetime, text in `fmt`, and ISO 8601 text. A time that the clocks skip is
    the first instant after the gap, one that they repeat the first of the two (`fold` is kept).
    Raises InvalidInput with what is expected.
    """
    moment = _read_moment(text, fmt)
    if not MIN_YEAR < moment.year < MAX_YEAR:
        raise InvalidInput(
            f"{text!r} is outside the years {MIN_YEAR}-{MAX_YEAR}",
            fix="leave out an end that is never reached",
            reason="BAD_DATE",
        )
    if moment.tzinfo is not None:
        write_moment(_instant(moment), zone)  # or it is beyond the calendar of that zone
        return _instant(moment)
    table = tick_table("0 0 * * *", zone, moment.year - 1)
    instant = table.instant(wall_seconds(moment))
    if moment.fold:
        return int(moment.replace(tzinfo=load_zone(zone)).timestamp())
    return instant


def _read_moment(text: str | date, fmt: str) -> datetime:
    if isinstance(text, datetime):
        return text
    if isinstance(text, date):
        return datetime(text.year, text.month, text.day)  # noqa: DTZ001 - local by contract
    try:
        return datetime.fromisoformat(text)
    except (ValueError, TypeError):
        pass
    try:
        return datetime.strptime(text, fmt)  # noqa: DTZ007 - local by contract
    except (ValueError, TypeError) as error:
        raise InvalidInput(
            f"{text!r} is no date or time",
            fix=f"write it as '{_EXAMPLE.strftime(fmt)}' or ISO 8601: '2026-01-31T06:00'",
            reason="BAD_DATE",
        ) from error


_EXAMPLE = datetime(2026, 1, 31, 6)  # noqa: DTZ001 - an example in a message


def write_moment(instant: int, zone: str) -> str:
    """Local ISO text of an instant, shortest form; with its offset where it would be ambiguous."""
    table = tick_table("0 0 * * *", zone, year_of(instant) - 1)
    wall = instant + table.offset(instant)
    moment = wall_datetime(wall)
    if table.instant(wall) != instant:
        offset = timezone(timedelta(seconds=table.offset(instant)))
        return moment.replace(tzinfo=offset).isoformat()
    if wall % DAY_SECONDS == 0:
        return moment.date().isoformat()
    return moment.isoformat(timespec="minutes" if moment.second == 0 else "seconds")
