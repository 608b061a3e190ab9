"""Settings of the Cloud Tasks emulator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from arco_emulators.running import Addresses

HOUR = 3600.0
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Limits:
    """What the service promises within bounds, so that tests can choose the bound."""

    tombstone_seconds: float = DAY
    """How long the name of a task that ended can not be used again: documented as up to 24 h,
    earlier as 1 h. What must hold in the cloud must hold with either."""
    queue_tombstone_seconds: float = 3 * DAY
    """How long the name of a deleted queue can not be used again: documented as up to 3 days."""
    horizon_seconds: float = 30 * DAY
    """How far ahead a task can be scheduled."""
    retention_seconds: float = 31 * DAY
    """How long a task lives; then it is deleted, attempted or not."""
    max_task_bytes: int = 100 * 1024
    """Largest task. Google's pages disagree: 100 KB in the API reference, 1 MB in the quotas."""
    min_deadline_seconds: float = 15.0
    """Smallest dispatch deadline that is accepted."""


@dataclass(frozen=True, slots=True)
class Settings(Addresses):
    """Where the emulator answers and what it keeps."""

    data: Path | None = None
    limits: Limits = Limits()
