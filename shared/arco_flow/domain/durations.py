"""Spans of time as whole milliseconds, read from seconds or from text such as `"5m"`.

Milliseconds are integers because spans enter fingerprints, where floats are refused.
"""

from __future__ import annotations

import re
from decimal import Decimal, localcontext
from typing import Final

from arco_flow.domain.errors import InvalidInput

Duration = int | float | str
"""What users may write: a number of seconds, or text such as `"500ms"`, `"10s"`, `"1h30m"`."""

UNIT_MS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
MAX_DURATION_MS: Final = 3_650 * UNIT_MS["d"]
"""Ten years. Longer spans are slips of the unit, and would overflow dates further on."""

_HINT: Final = 'write seconds (10, 0.5) or text with units: "500ms", "10s", "5m", "1h30m", "1d"'
_LONGEST_TEXT: Final = 64
_EXACT_DIGITS: Final = 100
"""More than the products and sums of a text so long can have, so that none is rounded."""
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|[smhd])", re.ASCII)


def parse_duration_ms(value: Duration, *, name: str = "duration") -> int:
    """Milliseconds of a number of seconds or of a text with units, largest unit first.

    `name` is what the message calls the value. A fraction is good as long as it is a whole number
    of milliseconds: `0.5`, `"1.5s"`.
    Raises InvalidInput for other types, negative or endless numbers, an unknown or missing unit,
    parts of a millisecond, and spans over MAX_DURATION_MS.
    """
    if not isinstance(value, int | float | str) or isinstance(value, bool):
        raise _refused(name, value, f"is {type(value).__name__}, not a span of time")
    with localcontext(prec=_EXACT_DIGITS):
        if isinstance(value, str):
            milliseconds = _from_text(value, name)
        else:
            milliseconds = _from_seconds(value, name)
    if milliseconds != int(milliseconds):
        raise _refused(name, value, "is finer than a millisecond")
    if milliseconds > MAX_DURATION_MS:
        raise _refused(name, value, f"is longer than {format_duration(MAX_DURATION_MS)}")
    return int(milliseconds)


def format_duration(milliseconds: int) -> str:
    """The shortest text with units that parses to the same span: `90000` is `"1m30s"`."""
    if milliseconds < 0:
        raise InvalidInput(f"duration {milliseconds} ms is negative")
    rest = milliseconds
    parts = []
    for unit, size in UNIT_MS.items():
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _from_seconds(value: float, name: str) -> Decimal:
    # repr of a float is its shortest decimal: 0.1 means a tenth here, not its binary neighbour
    if isinstance(value, int):
        value = max(-1, min(value, MAX_DURATION_MS))  # a Decimal of a million digits takes seconds
    seconds = Decimal(repr(value))
    if not seconds.is_finite():
        raise _refused(name, value, "is no finite number")
    if seconds < 0:
        raise _refused(name, value, "is negative")
    return seconds * 1000


def _from_text(value: str, name: str) -> Decimal:
    text = value.strip()
    if len(text) > _LONGEST_TEXT:
        raise _refused(name, f"{text[:20]}…", f"has {len(text)} characters")
    total = Decimal(0)
    position = 0
    smallest = MAX_DURATION_MS
    while position < len(text):
        part = _PART.match(text, position)
        if part is None:
            raise _refused(name, value, _what_is_wrong(text[position:]))
        size = UNIT_MS[part[2]]
        if size >= smallest:
            raise _refused(name, value, f"has '{part[2]}' after a unit that is not larger")
        total += Decimal(part[1]) * size
        smallest = size
        position = part.end()
    if position == 0:
        raise _refused(name, value, "is empty")
    return total


def _what_is_wrong(rest: str) -> str:
    if re.fullmatch(r"[0-9.]+", rest, re.ASCII):
        return f"has no unit after '{rest}'"
    if rest.startswith("-"):
        return "is negative"
    return f"can not be read from '{rest}' on"


def _refused(name: str, value: object, problem: str) -> InvalidInput:
    try:
        shown = repr(value)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        shown = "(a number of thousands of digits)"
    return InvalidInput(
        f"{name} {shown} {problem}", fix=_HINT, reason="BAD_DURATION", details={name: shown}
    )
