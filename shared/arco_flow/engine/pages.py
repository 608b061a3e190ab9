"""Where a page of a list begins whose items have names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from arco_flow.domain.errors import InvalidInput

_AFTER: Final = "="
"""Begins a cursor: a name may be empty, and no cursor is the start of the list."""


def cursor_after(name: str) -> str:
    """The cursor that goes on after the item of this name."""
    return f"{_AFTER}{name}"


def begin_of(cursor: str, find: Callable[[str], int | None]) -> int:
    """How many items come before a page; 0 for the cursor "".

    find: the place of a name in the list as it is now, from 0; None when it is there no more. Where
    the list goes on is not known then: raises InvalidInput.
    """
    if not cursor:
        return 0
    place = find(cursor.removeprefix(_AFTER))
    if place is None or not cursor.startswith(_AFTER):
        raise InvalidInput(
            "the last item of the page before is in the list no more",
            fix="start again without pageToken",
            reason="BAD_PAGE_TOKEN",
        )
    return place + 1
