"""Dates as people type them, for suggestions only: a key itself is exact text."""

from __future__ import annotations

import re
from datetime import datetime

_YEAR_FIRST = re.compile(
    r"(?P<year>\d{4})[-/. ]?(?P<month>\d{1,2})"
    r"(?:[-/. ]?(?P<day>\d{1,2})(?:[T_ -]+(?P<hour>\d{1,2})(?::?(?P<minute>\d{2}))?)?)?"
)
_DAY_FIRST = re.compile(r"(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>\d{4})")
"""With points only: between slashes, half the world writes the month first."""


def read_moment_leniently(text: str) -> datetime | None:
    """The date or time that a text most likely means, None when it looks like neither.

    Read are ISO 8601 (weeks, offsets), `2026-2-4`, `2026/02/04 7:30`, `20260204`, `4.2.2026`, and
    `2026-02` for the first of the month. Without an offset in the text the answer has no zone.
    """
    stripped = text.strip()
    try:
        return datetime.fromisoformat(stripped)
    except ValueError:
        pass
    for pattern in (_YEAR_FIRST, _DAY_FIRST):
        found = pattern.fullmatch(stripped)
        if found is not None:
            return _moment({name: int(part) for name, part in found.groupdict().items() if part})
    return None


def _moment(parts: dict[str, int]) -> datetime | None:
    try:
        return datetime(**{"day": 1, **parts})  # type: ignore[arg-type]  # noqa: DTZ001
    except ValueError:
        return None
