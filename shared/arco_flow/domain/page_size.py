"""How many bytes a page of a list holds, whatever it is a list of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

T = TypeVar("T")

PAGE_BYTES: Final = 4 * 1024 * 1024
"""A page ends with the item that reaches it, and the list goes on after that one: a thousand rows
of what a worker may report would be 128 MiB."""


class PageSize:
    """Adds up what a page holds."""

    def __init__(self) -> None:
        self._room = PAGE_BYTES

    def is_reached(self, size: int) -> bool:
        """Take in one more item of so many bytes; whether it is the last one of the page."""
        self._room -= size
        return self._room <= 0


def one_page(items: Iterable[T], size_of: Callable[[T], int]) -> Iterator[T]:
    """The first items, up to the one with which the page is full; no more are asked for."""
    page = PageSize()
    for item in items:
        yield item
        if page.is_reached(size_of(item)):
            return
