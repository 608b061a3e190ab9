"""Which tasks of a queue may go only one after the other."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable

LaneOf = Callable[[bytes], tuple[str, str]]
"""Body of a task -> (its lane, "" = none; its place in the order of the lane)."""


class Lanes:
    """The tasks of one queue by lane, named. The first of a lane may go, the others are parked
    until it is removed."""

    def __init__(self, lane_of: LaneOf) -> None:
        self._lane_of = lane_of
        self._lines: dict[str, list[tuple[str, str]]] = {}
        self._places: dict[str, tuple[str, str]] = {}
        self._parked: set[str] = set()

    def add(self, name: str, body: bytes) -> None:
        """A pending task; nothing when it is known."""
        if name in self._places:
            return
        lane, place = self._lane_of(body)
        if lane:
            self._places[name] = (lane, place)
            insort(self._lines.setdefault(lane, []), (place, name))

    def may_go(self, name: str) -> bool:
        """Whether the task is the first of its lane; otherwise it is parked."""
        known = self._places.get(name)
        if known is None or self._lines[known[0]][0][1] == name:
            return True
        self._parked.add(name)
        return False

    def remove(self, name: str) -> str | None:
        """The task is over; the parked one that is the first now, or None."""
        if name not in self._places:
            return None
        lane, place = self._places.pop(name)
        self._parked.discard(name)
        line = self._lines[lane]
        del line[bisect_left(line, (place, name))]
        if not line:
            del self._lines[lane]
            return None
        first = line[0][1]
        if first not in self._parked:
            return None
        self._parked.discard(first)
        return first
