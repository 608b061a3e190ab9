"""Pages of lists whose order is known: where one begins, and how it goes on."""

from __future__ import annotations

from collections.abc import Callable

from arco_flow.domain.errors import InvalidInput


def cursor_after(place: int, name: str) -> str:
    """The cursor that goes on after the item of this name, the `place`th of its list from 1."""
    return f"{place}:{name}"


def begin_of(
    cursor: str, name_at: Callable[[int], str | None], find: Callable[[str], int | None]
) -> int:
    """How many items come before a page; 0 for the cursor "".

    name_at: the name at a place from 0; find: its inverse; None where there is none. A list that
    has changed goes on after the item wherever it is now, and at its old place when it is gone.
    Raises InvalidInput for what is no cursor.
    """
    if not cursor:
        return 0
    digits, colon, name = cursor.partition(":")
    if not (colon and digits.isascii() and digits.isdigit()):
        raise InvalidInput(
            "malformed page token", fix="start again without it", reason="BAD_PAGE_TOKEN"
        )
    place = int(digits)
    if name_at(place - 1) == name:
        return place
    found = find(name)
    return place if found is None else found + 1
