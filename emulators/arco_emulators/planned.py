"""Faults that a test has planned, each of which strikes once, beside those of the dice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

F = TypeVar("F", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Planned(Generic[F]):
    """A fault for the next call that it fits. operation: as the service names it, empty for any.
    part: of what the call is about, empty for anything."""

    fault: F
    operation: str
    part: str


class Plan(Generic[F]):
    """What is planned and has not struck yet.

    faults: those that there are. part_key: how a planned fault names its `part` in JSON.
    """

    def __init__(self, faults: type[F], part_key: str) -> None:
        self._faults = faults
        self._part_key = part_key
        self._entries: list[Planned[F]] = []

    def read(self, settings: Mapping[str, Any]) -> list[Planned[F]]:
        """Those under `planned` in the settings of an emulator; none is added yet.

        Errors: ValueError.
        """
        return [self._read(given) for given in settings.get("planned", ())]

    def add(self, entries: Iterable[Planned[F]]) -> None:
        """Let these strike, too, in their order."""
        self._entries += entries

    def clear(self) -> None:
        """Nothing is planned any more."""
        self._entries.clear()

    def as_json(self) -> list[dict[str, str]]:
        """What has not struck yet."""
        return [
            {"fault": entry.fault, "operation": entry.operation, self._part_key: entry.part}
            for entry in self._entries
        ]

    def strike(self, operation: str, concerns: Callable[[str], bool]) -> F | None:
        """The first that fits a call, which strikes now. concerns: whether a part is of it."""
        for index, entry in enumerate(self._entries):
            if entry.operation in ("", operation) and concerns(entry.part):
                del self._entries[index]
                return entry.fault
        return None

    def _read(self, given: object) -> Planned[F]:
        try:
            entry: dict[str, str] = dict(given)  # type: ignore[call-overload]
            fault = self._faults(entry.pop("fault"))
            planned = Planned(fault, entry.pop("operation", ""), entry.pop(self._part_key, ""))
            if not entry:
                return planned
        except (KeyError, TypeError, ValueError, AttributeError):
            pass
        form = f"fault ({', '.join(self._faults)}), and if wanted operation and {self._part_key}"
        raise ValueError(f"a planned fault has {form}, not {given!r}")
