"""The one form in which text that people write is compared, hashed and stored: NFC."""

from __future__ import annotations

from typing import Final

from arco_flow.domain.errors import InvalidInput

MAX_MARKS: Final = 30
"""Combining characters in a row, as in the stream-safe form of UAX #15: no language needs more,
and to put n of them in order takes n² steps."""
_MARKS_OF_TIBETAN: Final = "\u0f73\u0f75\u0f81"
"""The only starters that stand for nothing but combining characters."""


def nfc(text: str) -> str:
    """`text` in Unicode normal form C, so that what looks equal is equal.

    Raises InvalidInput for more than MAX_MARKS combining characters in a row.
    """
    if text.isascii():
        return text
    from unicodedata import normalize

    if len(text) > MAX_MARKS:
        _check_marks(text)
    return normalize("NFC", text)


def _check_marks(text: str) -> None:
    from unicodedata import combining

    marks = 0
    for place, character in enumerate(text, 1):
        marks = marks + 1 if combining(character) or character in _MARKS_OF_TIBETAN else 0
        if marks > MAX_MARKS:
            raise InvalidInput(
                f"a text has more than {MAX_MARKS} combining characters in a row "
                f"(at character {place})",
                fix="take out accents that no letter has",
                reason="TOO_MANY_MARKS",
            )
