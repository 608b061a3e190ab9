"""Pages of lists whose items have names: where one begins, and how many items it has room for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.page_size import PageSize

READ_AT_ONCE: Final = 50
"""Items of a page: 7 MiB of rows of the largest that workers may report; heads that owe as much as
they may are 44 MiB."""

_AFTER: Final = "="
"""Begins a cursor: a name may be empty, and no cursor is the start of the list."""

V = TypeVar("V")


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


async def filled(
    names: Sequence[str],
    read: Callable[[Sequence[str]], Awaitable[Mapping[str, V]]],
    size: Callable[[V], int],
) -> dict[str, V | None]:
    """The first items with what is read of them, up to the one that reaches PAGE_BYTES; None where
    nothing is. They are read READ_AT_ONCE at a time."""
    found: dict[str, V | None] = {}
    page = PageSize()
    for start in range(0, len(names), READ_AT_ONCE):
        batch = names[start : start + READ_AT_ONCE]
        known = await read(batch)
        for name in batch:
            found[name] = item = known.get(name)
            if item is not None and page.is_reached(size(item)):
                return found
    return found
