"""What goes wrong with calls to Firestore: by the dice, or as a test has planned it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from arco_emulators.faults import Chaos

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


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault for the next call that it fits; it strikes once.

    operation: method such as `Commit`; empty for any. contains: text that the request holds, such
    as part of a document's name; that of a call with a stream of requests is not looked at.
    """

    fault: Fault
    operation: str = ""
    contains: str = ""

    @classmethod
    def of(cls, given: object) -> Planned:
        """Read a JSON object. Errors: ValueError."""
        try:
            entry: dict[str, Any] = dict(given)  # type: ignore[call-overload]
            return cls(**{**entry, "fault": Fault(entry["fault"])})
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"a planned fault has {_FORM}, not {given!r}") from error

    def fits(self, operation: str, request: bytes) -> bool:
        """Whether it is for this call."""
        return self.operation in ("", operation) and self.contains.encode() in request


_FORM = f"fault ({', '.join(Fault)}), and if wanted operation and contains"


class Trouble(Chaos):
    """Decides for each call what goes wrong with it."""

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        self._planned: list[Planned] = []
        super().__init__(settings)

    def change(self, settings: Mapping[str, Any]) -> None:
        """Set the named knobs and leave the others; `planned` adds faults to strike once.

        Errors: ValueError, and then none is changed.
        """
        planned = [Planned.of(entry) for entry in settings.get("planned", ())]
        super().change({key: value for key, value in settings.items() if key != "planned"})
        self._planned += planned

    def reset(self) -> None:
        """Nothing goes wrong any more."""
        super().reset()
        self._planned.clear()

    def as_json(self) -> dict[str, Any]:
        """The knobs, and what is planned and has not struck yet."""
        return {**super().as_json(), "planned": [asdict(entry) for entry in self._planned]}

    def draw(self, operation: str, request: bytes, *, writes: bool) -> Fault | None:
        """What goes wrong with this call; None for nothing."""
        for index, entry in enumerate(self._planned):
            if entry.fits(operation, request):
                del self._planned[index]
                return entry.fault
        if self.strikes(self.faults.unavailable):
            return Fault.UNAVAILABLE
        if writes and self.strikes(self.faults.contended):
            return Fault.CONTENDED
        return Fault.LANDED if self.strikes(self.faults.landed) else None
