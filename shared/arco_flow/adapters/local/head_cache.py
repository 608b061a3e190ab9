"""Recently used heads, so that a fold does not read back what it wrote a moment ago."""

from __future__ import annotations

from collections import OrderedDict

from arco_flow.ports.store import Head

_ENTRY_OVERHEAD_BYTES = 1_000


class HeadCache:
    """Least recently used heads up to a total size. Right only for the sole writer of a store."""

    def __init__(self, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._heads: OrderedDict[str, Head] = OrderedDict()

    def get(self, entity: str) -> Head | None:
        """The head as of the last commit, when it is remembered."""
        head = self._heads.get(entity)
        if head is not None:
            self._heads.move_to_end(entity)
        return head

    def put(self, head: Head) -> None:
        """Remember a committed head; forget the ones unused for longest."""
        known = self._heads.pop(head.entity, None)
        if known is not None:
            self._bytes -= _size(known)
        self._heads[head.entity] = head
        self._bytes += _size(head)
        while self._bytes > self._max_bytes:
            _, dropped = self._heads.popitem(last=False)
            self._bytes -= _size(dropped)


def _size(head: Head) -> int:
    return len(head.state) + len(head.owed) + _ENTRY_OVERHEAD_BYTES
