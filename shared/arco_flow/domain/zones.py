"""Time zones as a list of spans of constant offset, from the standard zone data.

Only the public interface of zoneinfo is used: offsets are probed day by day and each change is
located to the second by bisection, once per zone and year.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from arco_flow.domain.errors import InvalidInput, did_you_mean

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_DAY_SECONDS = 86_400

MIN_YEAR = 1800
MAX_YEAR = 2400
"""Years in which windows are computed: a key far beyond must not lay out centuries of changes."""


@lru_cache(maxsize=256)
def load_zone(name: str) -> ZoneInfo:
    """The IANA zone of that name. Raises InvalidInput with the nearest known name."""
    import zoneinfo

    if not isinstance(name, str) or not name:
        raise InvalidInput(f"timezone {name!r} is no name", fix="use an IANA name: 'Europe/Berlin'")
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        hint = did_you_mean(name, zoneinfo.available_timezones())
        raise InvalidInput(
            f"unknown timezone '{name}'{hint}",
            fix="use an IANA name such as 'Europe/Berlin' or 'UTC'",
            reason="UNKNOWN_TIMEZONE",
            details={"timezone": name},
        ) from error


class Change(NamedTuple):
    """From `at` (UTC epoch seconds) on, local time is UTC + `offset` seconds."""

    at: int
    offset: int


def offset_at(zone: str, instant: int) -> int:
    """Seconds that local time is ahead of UTC at an instant (UTC epoch seconds)."""
    return _offset(load_zone(zone), instant)


@lru_cache(maxsize=8192)
def changes_of_year(zone: str, year: int) -> tuple[Change, ...]:
    """Every change of the offset with `at` in a UTC year, in order."""
    if zone == "UTC":
        return ()
    loaded = load_zone(zone)
    start, end = year_start(year), year_start(year + 1)
    changes: list[Change] = []
    before = _offset(loaded, start - 1)
    for probe in (*range(start, end - 1, _DAY_SECONDS), end - 1):
        after = _offset(loaded, probe)
        if after != before:
            changes.append(Change(_change_between(loaded, probe - _DAY_SECONDS - 1, probe), after))
            before = after
    return tuple(changes)


def year_start(year: int) -> int:
    """Epoch seconds of 1 January, UTC. Raises InvalidInput outside the supported years."""
    if not MIN_YEAR <= year <= MAX_YEAR + 1:
        raise InvalidInput(f"the year {year} is outside {MIN_YEAR}-{MAX_YEAR}")
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp())


def year_of(instant: int) -> int:
    """The UTC year of an instant. Raises InvalidInput outside the supported years."""
    try:
        return datetime.fromtimestamp(instant, UTC).year
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidInput(f"the time {instant} is outside the calendar") from error


def _offset(zone: ZoneInfo, instant: int) -> int:
    found = datetime.fromtimestamp(instant, zone).utcoffset()
    assert found is not None  # an aware time always has one
    return found.days * _DAY_SECONDS + found.seconds


def _change_between(zone: ZoneInfo, low: int, high: int) -> int:
    """The first instant in (low, high] that has the offset of `high`."""
    target = _offset(zone, high)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, middle) == target:
            high = middle
        else:
            low = middle
    return high
