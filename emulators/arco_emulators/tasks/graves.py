"""Names that ended recently."""

from __future__ import annotations

from collections.abc import Iterator


class Graves:
    """Remembers each name for a window of seconds."""

    def __init__(self, window: float) -> None:
        self._window = window
        self._ended: dict[str, float] = {}

    def add(self, name: str, now: float) -> None:
        """The name ended now."""
        self._ended.pop(name, None)
        self._ended[name] = now

    def has(self, name: str, now: float) -> bool:
        """Whether the name ended within the window."""
        ended = self._ended.get(name)
        return ended is not None and now - ended < self._window

    def expire(self, now: float) -> list[str]:
        """Forget what is older than the window; the names that were forgotten."""
        gone = list(self._older(now))
        for name in gone:
            del self._ended[name]
        return gone

    def __iter__(self) -> Iterator[str]:
        return iter(self._ended)

    def __len__(self) -> int:
        return len(self._ended)

    def _older(self, now: float) -> Iterator[str]:
        # The dictionary is in the order of endings, so the first that is young ends the search.
        for name, ended in self._ended.items():
            if now - ended < self._window:
                return
            yield name
