"""How often what was done, for those who count operations."""

from __future__ import annotations

from collections import Counter


class Counters:
    """Numbers by group and name: API calls by method, answers by code, deliveries by fate."""

    def __init__(self) -> None:
        self._groups: dict[str, Counter[str]] = {}

    def add(self, group: str, name: str, number: int = 1) -> None:
        """Count one more of it, or several."""
        self._groups.setdefault(group, Counter())[name] += number

    def get(self, group: str, name: str) -> int:
        """How many there were."""
        return self._groups.get(group, Counter())[name]

    def reset(self) -> None:
        """Count from zero."""
        self._groups.clear()

    def as_json(self) -> dict[str, dict[str, int]]:
        """All numbers, sorted by name."""
        return {
            group: dict(sorted(counter.items())) for group, counter in sorted(self._groups.items())
        }
