"""The grammar of one cron field, and messages that say which field is wrong and what fits.

Numbers, names, lists, ranges (also wrapping ones: `22-2`), steps, `*`; `?` in the two day
fields; `L` for the last day of a month; `5#2` for the second Friday and `L5` for the last one.
Refused on purpose: `R` and `H` (a schedule that differs between two evaluations can not be
replayed), `W`, and six fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from arco_flow.domain.errors import InvalidInput

MACROS: Mapping[str, str] = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

MAX_FIELD_CHARS = 200
"""Of one field: every minute written out takes fewer."""
MAX_CRON_CHARS = 1000
"""Of the whole: a parsed cron is kept under its text."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    names: Mapping[str, int]


_FIELDS = (
    _Field("minute", 0, 59, {}),
    _Field("hour", 0, 23, {}),
    _Field("day-of-month", 1, 31, {}),
    _Field("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    _Field("day-of-week", 0, 7, {name: number for number, name in enumerate(_WEEKDAYS)}),
)
_MONTH_DAY, _WEEKDAY = _FIELDS[2], _FIELDS[4]


@dataclass(frozen=True, slots=True)
class CronFields:
    """What the five fields allow, expanded.

    days is empty and last_day False when the day-of-month is free (`*` or `?`); weekdays,
    nth_weekdays and last_weekdays are empty when the day-of-week is free. 0 is Sunday.
    nth_weekdays: (weekday, n) with n from 1 to 5. long_steps: fields whose step is longer than
    the field, so that only its first value remains.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    months: frozenset[int]
    days: frozenset[int]
    last_day: bool
    weekdays: frozenset[int]
    nth_weekdays: frozenset[tuple[int, int]]
    last_weekdays: frozenset[int]
    long_steps: tuple[str, ...]


def parse_fields(text: str) -> CronFields:
    """Parse five fields or a macro such as `@daily`. Raises InvalidInput naming the bad field."""
    body = text.strip().lower()
    parts = MACROS.get(body, body).split()
    if len(parts) != len(_FIELDS):
        raise _wrong_count(text, parts)
    reader = _Reader(_shown(text))
    for field, part in zip(_FIELDS, parts, strict=True):
        reader.check_length(field, part)
    if len(text) > MAX_CRON_CHARS:
        raise InvalidInput(
            f"cron '{_shown(text)}': {len(text)} characters, at most {MAX_CRON_CHARS} are read",
            fix=_FORM,
            reason="BAD_CRON",
        )
    minutes, hours = (reader.plain(_FIELDS[i], parts[i]) for i in (0, 1))
    days, last_day = reader.month_days(parts[2])
    months = reader.plain(_FIELDS[3], parts[3])
    weekdays, nth, last = reader.weekdays(parts[4])
    return CronFields(
        tuple(sorted(minutes)),
        tuple(sorted(hours)),
        frozenset(months),
        frozenset(days),
        last_day,
        frozenset(weekdays),
        frozenset(nth),
        frozenset(last),
        tuple(reader.long_steps),
    )


_FORM = "write minute hour day-of-month month day-of-week, for example '0 6 * * *'"


def _wrong_count(text: str, parts: list[str]) -> InvalidInput:
    if len(parts) == 1 and parts[0].startswith("@"):
        return InvalidInput(
            f"cron '{_shown(text)}': unknown macro (known: {', '.join(MACROS)})",
            fix=f"use a known macro, or {_FORM}",
            reason="BAD_CRON",
        )
    fix = _FORM
    if len(parts) in (6, 7):
        fix = "cron has no seconds and no years here: drop them and keep five fields"
    return InvalidInput(
        f"cron '{_shown(text)}': {len(parts)} fields, expected 5", fix=fix, reason="BAD_CRON"
    )


def _shown(text: str) -> str:
    """A text as a message holds it: a hostile one does not fill a log line."""
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"


_SHOWN_CHARS = 400


class _Reader:
    """Reads the fields of one cron text; collects what is legal but surprising."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.long_steps: list[str] = []

    def check_length(self, field: _Field, part: str) -> None:
        """Refuse a field that is longer than all of its values in a list."""
        if len(part) > MAX_FIELD_CHARS:
            raise self._bad(field, _shown(part), f"at most {MAX_FIELD_CHARS} characters")

    def plain(self, field: _Field, part: str) -> set[int]:
        """A field without special forms."""
        values: set[int] = set()
        for item in part.split(","):
            values.update(self._item(field, part, item))
        return values

    def month_days(self, part: str) -> tuple[set[int], bool]:
        """Days and whether the last day counts; (empty, False) when free."""
        items = part.split(",")
        if part == "?" or "*" in items:
            self.plain(_MONTH_DAY, ",".join(i for i in items if i != "?") or "*")
            return set(), False
        rest = [item for item in items if item != "l"]
        days = self.plain(_MONTH_DAY, ",".join(rest)) if rest else set()
        return days, "l" in items

    def weekdays(self, part: str) -> tuple[set[int], set[tuple[int, int]], set[int]]:
        """Weekdays, nth weekdays and last weekdays; all empty when free."""
        items = part.split(",")
        plain: set[int] = set()
        nth: set[tuple[int, int]] = set()
        last: set[int] = set()
        for item in items:
            day, mark, number = item.partition("#")
            if mark:
                count = self._number(_WEEKDAY, part, number, 1, 5)
                nth.update((value, count) for value in self._weekday_item(part, day))
            elif len(item) == 2 and item[0] == "l" and item[1].isdecimal():
                last.add(self._number(_WEEKDAY, part, item[1], 0, 7) % 7)
            elif item != "?" or part != "?":
                plain.update(self._weekday_item(part, item))
        if "*" in items or part == "?":
            plain.clear()
        if (nth or last) and (plain or "*" in items):
            hint = "plain weekdays and 5#2 or L5 can not be mixed in one cron: use two"
            raise self._bad(_WEEKDAY, part, hint)
        return plain, nth, last

    def _weekday_item(self, part: str, item: str) -> set[int]:
        return {value % 7 for value in self._item(_WEEKDAY, part, item)}

    def _item(self, field: _Field, part: str, item: str) -> list[int]:
        body, slash, step_text = item.partition("/")
        step = self._step(field, part, step_text) if slash else 1
        high_of_all = 6 if field is _WEEKDAY else field.high
        if body == "*":
            return list(range(field.low, high_of_all + 1, step))
        first, dash, second = body.partition("-")
        low = self._value(field, part, first)
        if dash:
            if field is _MONTH_DAY and second == "l":
                second = "31"
            return _span(field, low, self._value(field, part, second), step)
        return list(range(low, field.high + 1, step)) if slash else [low]

    def _step(self, field: _Field, part: str, text: str) -> int:
        if not _is_number(text) or int(text) == 0:
            raise self._bad(field, part, "a step is a whole number of at least 1")
        if int(text) > field.high:
            self.long_steps.append(field.name)
        return int(text)

    def _value(self, field: _Field, part: str, text: str) -> int:
        if text in field.names:
            return field.names[text]
        return self._number(field, part, text, field.low, field.high)

    def _number(self, field: _Field, part: str, text: str, low: int, high: int) -> int:
        if not _is_number(text) or not low <= int(text) <= high:
            raise self._bad(field, part, f"allowed {low}-{high}")
        return int(text)

    def _bad(self, field: _Field, part: str, hint: str) -> InvalidInput:
        return InvalidInput(
            f"cron '{self.text}': bad {field.name} field '{part}' ({hint})",
            fix=_FORM,
            reason="BAD_CRON",
            details={"cron": self.text, "field": field.name, "value": part},
        )


def _is_number(text: str) -> bool:
    """Two digits are enough for any field; int() must not meet a megabyte of digits."""
    return 0 < len(text) <= 4 and text.isascii() and text.isdecimal()


def _span(field: _Field, low: int, high: int, step: int) -> list[int]:
    """`low-high/step`; a range that ends before it starts goes round (`22-2`, `SAT-SUN`)."""
    if low <= high:
        return list(range(low, high + 1, step))
    top = 6 if field is _WEEKDAY else field.high
    size = top - field.low + 1
    return [field.low + (value - field.low) % size for value in range(low, high + size + 1, step)]
