"""Sorted lists that spare the document store a look at everything it holds."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from heapq import merge

from arco_flow.ports.store import Head

Place = tuple[int, str]
"""When, and which entity."""


class DueIndex:
    """Since when each entity waits to be looked at, in the order of time."""

    def __init__(self) -> None:
        self._since: dict[str, int] = {}
        self._places: list[Place] = []

    def set(self, entity: str, since_ms: int | None) -> None:
        """None: nothing of the entity waits."""
        known = self._since.get(entity)
        if known == since_ms:
            return
        if known is not None:
            del self._places[bisect_left(self._places, (known, entity))]
        if since_ms is None:
            del self._since[entity]
        else:
            self._since[entity] = since_ms
            insort(self._places, (since_ms, entity))

    def before(self, before_ms: int, limit: int) -> list[str]:
        """Entities that wait since earlier than this, the longest waiting first."""
        end = min(bisect_left(self._places, (before_ms, "")), limit)
        return [entity for _, entity in self._places[:end]]


class HeadIndex:
    """Heads in the order of their creation, per scope (`tenant:workspace:kind:`) and status."""

    def __init__(self) -> None:
        self._scopes: dict[str, dict[str, list[Place]]] = {}

    def put(self, known: Head | None, head: Head) -> None:
        """A head was created (known: None) or changed; its creation time is never another."""
        place = (head.created_ms, head.entity)
        statuses = self._scopes.setdefault(_scope_of(head.entity), {})
        if known is not None:
            if known.status == head.status:
                return
            places = statuses[known.status]
            del places[bisect_left(places, place)]
        insort(statuses.setdefault(head.status, []), place)

    def newest_first(
        self, prefix: str, statuses: Sequence[str], before: Place | None
    ) -> Iterator[Place]:
        """Places of entities that start with the prefix; of these statuses, or of all."""
        lists = [
            places
            for by_status in self._scopes_of(prefix)
            for status, places in by_status.items()
            if not statuses or status in statuses
        ]
        walks = [_backwards(places, before) for places in lists]
        return (place for place in merge(*walks, reverse=True) if place[1].startswith(prefix))

    def _scopes_of(self, prefix: str) -> list[dict[str, list[Place]]]:
        if prefix.count(":") == 3 and prefix.endswith(":"):
            return [self._scopes.get(prefix, {})]
        return [
            by_status
            for scope, by_status in self._scopes.items()
            if scope.startswith(prefix) or prefix.startswith(scope)
        ]


def _scope_of(entity: str) -> str:
    return entity[: entity.rfind(":") + 1]


def _backwards(places: list[Place], before: Place | None) -> Iterator[Place]:
    end = len(places) if before is None else bisect_left(places, before)
    return (places[place] for place in range(end - 1, -1, -1))
