"""What goes wrong with requests to the storage: by the dice, or as a test has planned it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from arco_emulators.faults import Chaos
from arco_emulators.planned import Plan
from arco_emulators.storage.errors import StorageError


class Fault(StrEnum):
    """What happens to one request; the dice of `faults.Faults` have these knobs too."""

    UNAVAILABLE = "unavailable"
    """503, and nothing was done."""
    LANDED = "landed"
    """It was done, and the answer is 503."""
    LANDED_RESET = "landed_reset"
    """It was done, and the connection is reset instead of an answer."""
    TOO_MANY = "too_many"
    """429, and nothing was done."""
    GONE = "gone"
    """410, and nothing was done: of a resumable upload, it has to begin anew."""


class Trouble:
    """Decides for each request what goes wrong with it.

    A planned fault may say what the object's `name_contains`.
    """

    def __init__(self, chaos: Chaos, clock: Callable[[], float] = time.monotonic) -> None:
        self.chaos = chaos
        self._clock = clock
        self._plan = Plan(Fault, "name_contains")
        self._written: dict[tuple[str, ...], float] = {}

    def change(self, settings: Mapping[str, Any]) -> None:
        """Set the named knobs and leave the others; `planned` adds faults to strike once.

        Errors: ValueError, and then none is changed.
        """
        planned = self._plan.read(settings)
        self.chaos.change({key: value for key, value in settings.items() if key != "planned"})
        self._plan.add(planned)

    def reset(self) -> None:
        """Nothing goes wrong any more."""
        self.chaos.reset()
        self._plan.clear()
        self._written.clear()

    def as_json(self) -> dict[str, Any]:
        """The knobs, and what is planned and has not struck yet."""
        return {**self.chaos.as_json(), "planned": self._plan.as_json()}

    def delay_seconds(self) -> float:
        """How long the next request has to wait."""
        return self.chaos.seconds(self.chaos.faults.api_delay_ms)

    def draw(self, operation: str, path: tuple[str, ...], *, writes: bool) -> Fault | None:
        """What goes wrong with this request; None for nothing."""
        fault = self._plan.strike(operation, lambda part: part in path[-1]) or self._chance()
        if fault is None and writes and self._too_soon(path):
            return Fault.TOO_MANY
        return fault

    def _chance(self) -> Fault | None:
        faults = self.chaos.faults
        for fault, probability in (
            (Fault.UNAVAILABLE, faults.unavailable),
            (Fault.LANDED, faults.landed),
            (Fault.LANDED_RESET, faults.landed_reset),
        ):
            if self.chaos.strikes(probability):
                return fault
        return None

    def _too_soon(self, path: tuple[str, ...]) -> bool:
        gap = self.chaos.seconds(self.chaos.faults.write_gap_ms)
        if not gap:
            return False
        now = self._clock()
        if now - self._written.get(path, -gap) < gap:
            return True
        self._written[path] = now
        return False


def refusal(fault: Fault | None, path: tuple[str, ...]) -> StorageError | None:
    """The error in whose place nothing is done; None when it is done."""
    if fault is Fault.UNAVAILABLE:
        return unavailable()
    if fault is Fault.TOO_MANY:
        return StorageError(
            429,
            "rateLimitExceeded",
            f"The object {'/'.join(path)} exceeded the rate limit for object mutation operations "
            "(create, update, and delete). Please reduce your request rate.",
        )
    if fault is Fault.GONE:
        return StorageError(410, "gone", "The upload is gone. Please start it again.")
    return None


def unavailable() -> StorageError:
    """503, as the service answers on a bad day."""
    return StorageError(503, "backendError", "We encountered an internal error. Please try again.")
