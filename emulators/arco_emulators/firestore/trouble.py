"""What goes wrong with calls to Firestore: by the dice, or as a test has planned it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from arco_emulators.faults import Chaos
from arco_emulators.planned import Plan

KNOBS = frozenset({"unavailable", "contended", "landed", "landed_ms", "api_delay_ms"})
"""Of `faults.Faults`, those that the relay has."""


class Fault(StrEnum):
    """What happens to one call; the dice of `faults.Faults` have these knobs too."""

    UNAVAILABLE = "unavailable"
    """UNAVAILABLE, and nothing was done."""
    CONTENDED = "contended"
    """ABORTED, and nothing was done; of writes only."""
    LANDED = "landed"
    """The emulator has the call, and its answer, whatever it is, gives way to UNAVAILABLE."""


class Trouble(Chaos):
    """Decides for each call what goes wrong with it.

    A planned fault may name text that the request `contains`, such as part of a document's name;
    that of a call with a stream of requests is not looked at.
    """

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        self._plan = Plan(Fault, "contains")
        super().__init__(settings)

    def change(self, settings: Mapping[str, Any]) -> None:
        """Set the named knobs and leave the others; `planned` adds faults to strike once.

        Errors: ValueError, and then none is changed.
        """
        planned = self._plan.read(settings)
        super().change({key: value for key, value in settings.items() if key != "planned"})
        self._plan.add(planned)

    def reset(self) -> None:
        """Nothing goes wrong any more."""
        super().reset()
        self._plan.clear()

    def as_json(self) -> dict[str, Any]:
        """The knobs, and what is planned and has not struck yet."""
        return {**super().as_json(), "planned": self._plan.as_json()}

    def draw(self, operation: str, request: bytes, *, writes: bool) -> Fault | None:
        """What goes wrong with this call; None for nothing."""
        planned = self._plan.strike(operation, lambda part: part.encode() in request)
        if planned is not None:
            return planned
        if self.strikes(self.faults.unavailable):
            return Fault.UNAVAILABLE
        if writes and self.strikes(self.faults.contended):
            return Fault.CONTENDED
        return Fault.LANDED if self.strikes(self.faults.landed) else None
