"""Partitions by time: every hour, day, week, month, or any cron.

A key is the start of a window, written in the definition's zone. A window exists once it has
ended (moved by `end_offset` windows); `end` is exclusive; excluded windows never exist.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any, ClassVar, Self

from arco_flow.domain.errors import DefinitionError, InvalidInput
from arco_flow.domain.lenient_moments import read_moment_leniently
from arco_flow.domain.partition_base import (
    PartitionContext,
    backwards,
    nearest_listed,
    require_key,
)
from arco_flow.domain.partition_keys import (
    DimensionValue,
    decode_partition_key,
    encode_partition_key,
)
from arco_flow.domain.time_windows import (
    DATE_FORMAT,
    HOUR_FORMAT,
    TimeWindow,
    WindowSpace,
    parse_moment,
    write_moment,
)
from arco_flow.domain.zones import load_zone


@dataclass(frozen=True, slots=True)
class TimePartitions:
    """What all partitions by time share; use one of the classes below.

    start: the first window starts at or after it (local in `timezone` unless it has a zone).
    timezone: IANA name. end: no window ends after it. end_offset: 1 adds the window that is
    still open, -1 holds back the last closed one. exclusions: starts of windows, or crons, that
    are left out. fmt: strftime format of the keys.
    Raises DefinitionError for a wrong zone, moment, offset or cron, and for a format that gives
    two neighbouring windows the same key.
    """

    kind: ClassVar[str] = ""
    default_fmt: ClassVar[str] = DATE_FORMAT
    dimension: ClassVar[str] = "date"
    """Name of the one dimension in the canonical form; `date` holds dates, `time` instants."""

    start: str | date
    timezone: str = field(default="UTC", kw_only=True)
    end: str | date | None = field(default=None, kw_only=True)
    end_offset: int = field(default=0, kw_only=True)
    exclusions: Sequence[str | date] = field(default=(), kw_only=True)
    fmt: str | None = field(default=None, kw_only=True)
    windows: WindowSpace = field(init=False, repr=False, compare=False)
    _end: int | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            self._resolve()
        except DefinitionError:
            raise
        except InvalidInput as error:
            raise DefinitionError(
                f"{type(self).__name__}: {error.message}", fix=error.fix, details=error.details
            ) from error

    def _resolve(self) -> None:
        """Bring every spelling of the same definition to one, so that equal ones are equal."""
        load_zone(self.timezone)
        fmt = _legible(self.fmt or self.default_fmt)
        start = parse_moment(self.start, self.timezone, fmt)
        end = None if self.end is None else parse_moment(self.end, self.timezone, fmt)
        _whole(self, "end_offset", -1_000_000, 1_000_000)
        given = (_exclusion(item, self.timezone, fmt) for item in self.exclusions)
        exclusions = tuple(dict.fromkeys(given))  # each costs a search of its own
        shown = tuple(
            item if isinstance(item, str) else write_moment(item, self.timezone)
            for item in exclusions
        )
        assign = object.__setattr__
        assign(self, "fmt", fmt)
        assign(self, "start", write_moment(start, self.timezone))
        assign(self, "end", None if end is None else write_moment(end, self.timezone))
        assign(self, "exclusions", tuple(sorted(set(shown))))
        cron = self.cron_text()
        assign(self, "windows", WindowSpace(cron, self.timezone, fmt, start, exclusions))
        assign(self, "_end", end)
        self._check_format()

    def _check_format(self) -> None:
        keys = [self.windows.key(number) for number in (0, 1)]
        if keys[0] == keys[1]:
            raise DefinitionError(
                f"{type(self).__name__}: fmt '{self.fmt}' gives neighbouring windows the same "
                f"key '{keys[0]}'",
                fix=f"name every part that changes, for example '{HOUR_FORMAT}'",
            )
        if [self.windows.find(key) for key in keys] != [0, 1]:
            raise DefinitionError(
                f"{type(self).__name__}: keys of fmt '{self.fmt}' can not be read back "
                f"('{keys[0]}')",
                fix=f"use a format from the largest to the smallest part, as '{HOUR_FORMAT}'",
            )

    def cron_text(self) -> str:
        """The cron whose ticks bound the windows."""
        return _cron(self)

    def keys(self, ctx: PartitionContext) -> list[str]:
        """Every existing key, from old to new."""
        return list(self.windows.keys(0, self.count(ctx)))

    def count(self, ctx: PartitionContext) -> int:
        """How many windows exist."""
        number = self.windows.ended_by(ctx.instant) + self.end_offset
        if self._end is not None:
            number = min(number, self.windows.ended_by(self._end))
        return max(number, 0)

    def page(self, low: int, high: int, ctx: PartitionContext) -> list[str]:
        """The keys at the places [low, high), from old to new; those before are not walked."""
        count = self.count(ctx)
        return list(self.windows.keys(min(max(low, 0), count), min(max(high, 0), count)))

    def place(self, key: str, ctx: PartitionContext) -> int | None:
        """The place of a key, 0 for the oldest; None for any other text."""
        number = self.windows.find(key)
        return number if number is not None and 0 <= number < self.count(ctx) else None

    def has(self, key: str, ctx: PartitionContext) -> bool:
        """Whether a key exists; only the exact text counts (`2026-1-1` does not)."""
        return self.place(key, ctx) is not None

    def first(self, ctx: PartitionContext) -> str | None:
        """The oldest key, or None."""
        return self.windows.key(0) if self.count(ctx) else None

    def last(self, ctx: PartitionContext) -> str | None:
        """The newest key, or None."""
        count = self.count(ctx)
        return self.windows.key(count - 1) if count else None

    def range(self, start: str, end: str, ctx: PartitionContext) -> list[str]:
        """The keys from `start` to `end`, both included. Raises InvalidInput."""
        low, high = (self.windows.find(require_key(self, key, ctx)) for key in (start, end))
        assert low is not None
        assert high is not None
        if low > high:
            raise backwards(start, end)
        return list(self.windows.keys(low, high + 1))

    def number(self, key: str) -> int:
        """The number of a key's window, 0 for the first. Raises InvalidInput for no such key."""
        number = self.windows.find(key) if isinstance(key, str) else None
        if number is None or number < 0:
            raise InvalidInput(
                f"'{key}' is no key of these {self.kind} partitions",
                fix=f"keys look like '{self.windows.key(0)}', the first one",
                reason="UNKNOWN_PARTITION",
                details={"key": key},
            )
        return number

    def window(self, key: str) -> TimeWindow:
        """Start and end (exclusive) of a key's window. Raises InvalidInput for no such key."""
        return self.windows.window(self.number(key))

    def key_at(self, moment: datetime | int) -> str | None:
        """The key of the window that holds a moment; None before the start and in exclusions."""
        instant = moment if isinstance(moment, int) else int(moment.timestamp() // 1)
        number = self.windows.starting_before(instant + 1) - 1
        if number < 0 or self.windows.end(number) <= instant:
            return None
        return self.windows.key(number)

    def nearest(self, text: str, ctx: PartitionContext) -> str | None:
        """The existing key whose window holds the date that a text means, else one like it."""
        moment = read_moment_leniently(text)
        try:
            key = None if moment is None else self._key_holding(moment)
        except (InvalidInput, OverflowError):  # a year that no calendar here reaches
            key = None
        return key if key and self.has(key, ctx) else nearest_listed(self, text, ctx)

    def _key_holding(self, moment: datetime) -> str | None:
        if moment.tzinfo is None and moment.time() == time():
            # A day that starts at six is still that day, though midnight lies in the one before.
            number = self.windows.find_date(moment.date())
            if number is not None:
                return self.windows.key(number)
        return self.key_at(parse_moment(moment, self.timezone, self.windows.fmt))

    def value(self, key: str) -> DimensionValue:
        """The typed value of a key: a local date, or a UTC datetime for hourly and cron."""
        number = self.number(key)
        if self.dimension == "date":
            return self.windows.label(number).date()
        return datetime.fromtimestamp(self.windows.start(number), UTC)

    def key_of(self, value: DimensionValue) -> str:
        """Inverse of value(). Raises InvalidInput when no window has that value."""
        number = None
        if isinstance(value, datetime):
            whole = value.tzinfo is not None and value.microsecond == 0
            if self.dimension == "time" and whole:
                number = self.windows.find_start(int(value.timestamp()))
        elif isinstance(value, date) and self.dimension == "date":
            number = self.windows.find_date(value)
        if number is None or number < 0:
            raise InvalidInput(
                f"{value!r} is the {self.dimension} of no window of these {self.kind} partitions",
                reason="UNKNOWN_PARTITION",
            )
        return self.windows.key(number)

    def canonical(self, key: str) -> str:
        """`date=d:…` or `time=t:…`. Raises InvalidInput for no such key."""
        return encode_partition_key({self.dimension: self.value(key)})

    def from_canonical(self, text: str) -> str:
        """Inverse of canonical(). Raises InvalidInput."""
        dims = decode_partition_key(text)
        if list(dims) != [self.dimension]:
            raise InvalidInput(f"'{text}' is no key of {self.kind} partitions")
        return self.key_of(dims[self.dimension])

    def to_wire(self) -> dict[str, Any]:
        """JSON of the definition; fields at their default are left out."""
        wire: dict[str, Any] = {"kind": self.kind}
        for name in (*_WIRE_FIELDS, *self._own_fields()):
            value = getattr(self, name)
            if value not in _DEFAULTS or name == "start":
                wire[name] = list(value) if isinstance(value, tuple) else value
        if self.fmt == self.default_fmt:
            wire.pop("fmt", None)
        return wire

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """Inverse of to_wire(). Raises DefinitionError."""
        return cls(**{str(name): value for name, value in wire.items() if name != "kind"})

    @classmethod
    def _own_fields(cls) -> tuple[str, ...]:
        return tuple(name for name in _OFFSETS if name in cls.__dataclass_fields__)


_WIRE_FIELDS = ("start", "timezone", "end", "end_offset", "exclusions", "fmt")
_OFFSETS = ("cron", "day_offset", "hour_offset", "minute_offset")
_DEFAULTS = ("UTC", None, 0, ())


@dataclass(frozen=True, slots=True)
class HourlyPartitions(TimePartitions):
    """One partition an hour, keys like `2026-01-31-06:00`.

    minute_offset: minute of the hour at which windows start. When the clocks go back, the
    second of the two equal hours has its offset in the key: `2025-11-02-01:00-0500`.
    """

    kind: ClassVar[str] = "hourly"
    default_fmt: ClassVar[str] = HOUR_FORMAT
    dimension: ClassVar[str] = "time"
    minute_offset: int = field(default=0, kw_only=True)


@dataclass(frozen=True, slots=True)
class DailyPartitions(TimePartitions):
    """One partition a day, keys like `2026-01-31`.

    hour_offset, minute_offset: local time of the day at which windows start.
    """

    kind: ClassVar[str] = "daily"
    hour_offset: int = field(default=0, kw_only=True)
    minute_offset: int = field(default=0, kw_only=True)


@dataclass(frozen=True, slots=True)
class WeeklyPartitions(TimePartitions):
    """One partition a week, keys are the day on which it starts.

    day_offset: that day, 0 = Sunday to 6 = Saturday; hour_offset and minute_offset as daily.
    """

    kind: ClassVar[str] = "weekly"
    day_offset: int = field(default=0, kw_only=True)
    hour_offset: int = field(default=0, kw_only=True)
    minute_offset: int = field(default=0, kw_only=True)


@dataclass(frozen=True, slots=True)
class MonthlyPartitions(TimePartitions):
    """One partition a month, keys are the day on which it starts.

    day_offset: that day of the month, from 1; months without it have no window of their own.
    """

    kind: ClassVar[str] = "monthly"
    day_offset: int = field(default=1, kw_only=True)
    hour_offset: int = field(default=0, kw_only=True)
    minute_offset: int = field(default=0, kw_only=True)


@dataclass(frozen=True, slots=True)
class CronPartitions(TimePartitions):
    """Partitions from one tick of a cron to the next: `CronPartitions("0 */6 * * *", start=…)`."""

    kind: ClassVar[str] = "cron"
    default_fmt: ClassVar[str] = HOUR_FORMAT
    dimension: ClassVar[str] = "time"
    cron: str
    start: str | date = field(kw_only=True)

    def cron_text(self) -> str:
        """The cron as given."""
        return self.cron


def _cron(self: TimePartitions) -> str:
    minute = _whole(self, "minute_offset", 0, 59)
    if isinstance(self, HourlyPartitions):
        return f"{minute} * * * *"
    at = f"{minute} {_whole(self, 'hour_offset', 0, 23)}"
    if isinstance(self, WeeklyPartitions):
        return f"{at} * * {_whole(self, 'day_offset', 0, 6)}"
    if isinstance(self, MonthlyPartitions):
        return f"{at} {_whole(self, 'day_offset', 1, 31)} * *"
    return f"{at} * * *"


def _whole(self: TimePartitions, name: str, low: int, high: int) -> int:
    value = getattr(self, name)
    if type(value) is not int or not low <= value <= high:
        raise InvalidInput(f"{name} {value!r} is no whole number from {low} to {high}")
    return value


_LONGEST_FORMAT = 100
_FORMAT_FIX = "for example fmt='%Y-%m-%d'"


def _legible(fmt: object) -> str:
    """The format when it is text of one line that reads what it writes. Raises InvalidInput."""
    if not isinstance(fmt, str) or len(fmt) > _LONGEST_FORMAT:
        raise InvalidInput(
            f"fmt is no text of at most {_LONGEST_FORMAT} characters", fix=_FORMAT_FIX
        )
    if not fmt.isprintable() or "..." in fmt:
        raise InvalidInput(
            f"fmt {fmt!r} holds '...' or a character that can not be shown", fix=_FORMAT_FIX
        )
    example = datetime(2026, 1, 31, 6, tzinfo=UTC)
    try:
        datetime.strptime(example.strftime(fmt), fmt)  # noqa: DTZ007 - only tried
    except (ValueError, re.error) as error:  # re.error: a directive stands twice
        raise InvalidInput(
            f"keys of fmt '{fmt}' can not be read back",
            fix=f"name every part once, from the largest to the smallest, as '{HOUR_FORMAT}'",
        ) from error
    return fmt


def _exclusion(item: str | date, zone: str, fmt: str) -> int | str:
    """A cron (five parts, or a macro) stays text; anything else is a moment."""
    if isinstance(item, str) and (len(item.split()) > 2 or item.startswith("@")):
        return " ".join(item.split())
    return parse_moment(item, zone, fmt)
