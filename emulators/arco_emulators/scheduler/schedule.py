"""Slots of a unix-cron schedule in a time zone.

Wall-clock times, as the service has them: where clocks go back, a fixed time in the repeated hour
is two slots; where they go forward, one in the skipped hour is a slot at the end of the gap.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter

from arco_emulators.outgoing import invalid

_NUMBERS = r"[\d*/,-]+"
_MONTHS = r"(?i:[\d*/,-]|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)+"
_DAYS = r"(?i:[\d*/,-]|sun|mon|tue|wed|thu|fri|sat)+"
_CRON = re.compile(rf"{_NUMBERS}\s+{_NUMBERS}\s+{_NUMBERS}\s+{_MONTHS}\s+{_DAYS}")


@dataclass(frozen=True, slots=True)
class Schedule:
    """A checked schedule."""

    cron: str
    zone: ZoneInfo

    @classmethod
    def parse(cls, cron: str, time_zone: str) -> Schedule:
        """Errors: Refused for what is neither unix-cron nor a zone, or never comes."""
        try:
            zone = ZoneInfo("UTC" if time_zone.lower() in ("", "utc") else time_zone)
        except (OSError, ValueError, ZoneInfoNotFoundError):
            raise invalid(f"Time zone {time_zone!r} is not in the tz database.") from None
        if not _CRON.fullmatch(cron.strip()) or not croniter.is_valid(cron.strip()):
            raise invalid(f"Schedule {cron!r} is not unix-cron: five fields, to the minute.")
        schedule = cls(cron.strip(), zone)
        try:
            schedule.after(0.0)
        except ValueError:
            raise invalid(f"Schedule {cron!r} never comes.") from None
        return schedule

    def after(self, time: float) -> float:
        """The first slot after the time."""
        start = datetime.fromtimestamp(time, UTC).astimezone(self.zone)
        return float(croniter(self.cron, start).get_next(float))

    def following(self, slot: float, now: float) -> float:
        """The slot after this one; when several have passed meanwhile, the last of them."""
        following = self.after(slot)
        if following > now:
            return following
        start = datetime.fromtimestamp(now + 1e-3, UTC).astimezone(self.zone)
        return max(following, float(croniter(self.cron, start).get_prev(float)))
