"""The windows of a definition by its documented rules alone: every tick is looked up in the zone
data, one by one, and nothing of ours is used but the cron text that a definition stands for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from arco_flow.domain.partitions import TimePartitions

_DAY_NAMES = {"SUN": 0, "SAT": 6}


def _values(field: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for item in field.split(","):
        body, _, step = item.partition("/")
        first, _, last = body.partition("-")
        start, end = (low, high) if body == "*" else (int(first), int(last or first))
        found.update(range(start, end + 1, int(step or 1)))
    return found


def _fires_on(cron: str, wall: datetime) -> bool:
    _, _, day, month, weekday = cron.split()
    for name, number in _DAY_NAMES.items():
        weekday = weekday.replace(name, str(number))
    by_day = wall.day in _values(day, 1, 31)
    by_weekday = (wall.weekday() + 1) % 7 in _values(weekday, 0, 6)
    both = by_day or by_weekday if "*" not in (day, weekday) else by_day and by_weekday
    return both and wall.month in _values(month, 1, 12)


def _instants(wall: datetime, zone: ZoneInfo) -> list[datetime]:
    """The instants, none, one or two, that have this local time."""
    both = {wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(at for at in both if at.astimezone(zone).replace(tzinfo=None) == wall)


def _after_gap(wall: datetime, zone: ZoneInfo) -> datetime:
    while not _instants(wall, zone):
        wall += timedelta(minutes=1)
    return _instants(wall, zone)[0]


def ticks(cron: str, zone_name: str, start: datetime, end: datetime) -> list[int]:
    """Every instant (epoch seconds) in [start, end] at which a cron fires, minute by minute."""
    zone = ZoneInfo(zone_name)
    found: set[datetime] = set()
    hourly = len(_values(cron.split()[1], 0, 23)) == 24
    for wall in _walls(cron, start - timedelta(days=2), end + timedelta(days=2)):
        instants = _instants(wall, zone)
        if hourly:
            found.update(instants)
        else:
            found.add(instants[-1] if instants else _after_gap(wall, zone))
    return sorted(int(at.timestamp()) for at in found if start <= at <= end)


def _walls(cron: str, start: datetime, end: datetime) -> Iterator[datetime]:
    minute, hour, *_ = cron.split()
    day = start.replace(tzinfo=None, hour=0, minute=0, second=0)
    while day <= end.replace(tzinfo=None):
        for hours in _values(hour, 0, 23) if _fires_on(cron, day) else ():
            for minutes in _values(minute, 0, 59):
                yield day + timedelta(hours=hours, minutes=minutes)
        day += timedelta(days=1)


def windows_by_hand(made: TimePartitions, now: int) -> list[tuple[int, int]]:
    """The existing windows of a definition, from its documented rules alone."""
    zone = ZoneInfo(made.timezone)
    start = datetime.fromisoformat(str(made.start)).replace(tzinfo=zone).astimezone(UTC)
    reach = timedelta(days=20 if made.kind in ("hourly", "daily") else 130)
    low = start - reach
    high = max(start, datetime.fromtimestamp(now, UTC)) + reach
    excluded = {at for item in made.exclusions for at in _excluded(str(item), made, low, high)}
    found = pairwise(ticks(made.cron_text(), made.timezone, low, high))
    windows = [window for window in found if window[0] not in excluded]
    first = sum(window[0] < start.timestamp() for window in windows)
    # A window that is still open when the first one begins is none of them: counted from there.
    count = sum(window[1] <= now for window in windows) - first + made.end_offset
    if made.end is not None:
        end = datetime.fromisoformat(str(made.end)).replace(tzinfo=zone).timestamp()
        count = min(count, sum(window[1] <= end for window in windows) - first)
    return windows[first : first + max(count, 0)]


def _excluded(item: str, made: TimePartitions, low: datetime, high: datetime) -> list[int]:
    if len(item.split()) == 5:
        return ticks(item, made.timezone, low, high)
    return [int(datetime.fromisoformat(item).replace(tzinfo=ZoneInfo(made.timezone)).timestamp())]
