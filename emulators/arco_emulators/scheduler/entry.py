"""A job that the emulator holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from arco_emulators.clock import Alarm
from arco_emulators.scheduler.schedule import Schedule


@dataclass(slots=True, eq=False)
class Entry:
    """The job's message and where its execution stands."""

    job: Any
    schedule: Schedule
    alarm: Alarm
    slot: float = 0.0
    """The slot that is executed next, or now, or tried again."""
    due: float | None = None
    """When the next attempt is made; None while the job is paused or gone."""
    failures: int = 0
    """Failed attempts of the slot."""
    first_attempt: float = 0.0
    busy: bool = False
    """Whether an attempt is under way; the next one waits for it."""
    ticket: int = 0
    """Changes when the job is armed anew; an attempt under way then decides nothing any more."""
