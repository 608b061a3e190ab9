"""Settings of the Cloud Scheduler emulator."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from arco_emulators.running import Addresses


def _pubsub_host() -> str:
    return os.environ.get("PUBSUB_EMULATOR_HOST", "")


@dataclass(frozen=True, slots=True)
class Settings(Addresses):
    """Where the emulator answers, what it keeps and where it publishes."""

    data: Path | None = None
    pubsub_host: str = field(default_factory=_pubsub_host)
    """host:port of the Pub/Sub emulator, for jobs with a Pub/Sub target; from the environment."""
    min_deadline_seconds: float = 15.0
    """Smallest attempt deadline that is accepted."""
