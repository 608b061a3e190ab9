"""The Cloud Scheduler emulator put together."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from arco_emulators import journal, locations, rpc
from arco_emulators.clock import Clock
from arco_emulators.counters import Counters
from arco_emulators.faults import Chaos
from arco_emulators.identity import Issuer
from arco_emulators.running import Running, served
from arco_emulators.scheduler.delivery import Delivery
from arco_emulators.scheduler.entry import Entry
from arco_emulators.scheduler.jobs import Jobs
from arco_emulators.scheduler.runner import Runner
from arco_emulators.scheduler.settings import Settings
from arco_emulators.sender import Sender

SERVICE = "google.cloud.scheduler.v1.CloudScheduler"


class Emulator:
    """Jobs and their executions; belongs to the event loop in which it was made.

    Errors: BlockingIOError when another process has the data file.
    """

    def __init__(self, settings: Settings, issuer: Issuer, chaos: Chaos | None = None) -> None:
        self.clock = Clock()
        self.chaos = chaos or Chaos()
        self.counters = Counters()
        self.entries: dict[str, Entry] = {}
        self._journal = journal.opened(settings.data)
        self._delivery = Delivery(Sender(), issuer, settings.pubsub_host)
        self._jobs = Jobs(self.clock, self._journal, self.entries, settings.min_deadline_seconds)
        self._runner = Runner(
            self._delivery, self.clock, self.chaos, self.counters, self._jobs.save
        )

    def start(self) -> None:
        """Take up what the data file holds, and execute jobs from now on."""
        self._jobs.open(self._runner)

    async def close(self) -> None:
        """Stop; attempts under way are broken off."""
        for entry in self.entries.values():
            self._runner.disarm(entry)
        await self._runner.close()
        await self._delivery.close()
        self._journal.close()

    def services(self) -> rpc.Services:
        """The services that are served at the port."""
        return {
            SERVICE: self._jobs.methods(),
            locations.SERVICE: locations.methods(lambda: self.entries),
        }

    def state(self) -> dict[str, Any]:
        """Per job: its state and whether an attempt is under way."""
        return {
            "jobs": {
                name: {"state": entry.job.state, "under_way": entry.busy}
                for name, entry in self.entries.items()
            }
        }

    def reset(self) -> None:
        """Forget all jobs."""
        self._jobs.reset()

    async def idle(self, ahead_seconds: float) -> None:
        """Return once no attempt is under way and no job due within these seconds."""
        await self._runner.idle(self.entries, ahead_seconds)


@contextlib.asynccontextmanager
async def serving(
    settings: Settings, issuer: Issuer, chaos: Chaos | None = None
) -> AsyncIterator[Running[Emulator]]:
    """Serve the emulator and its administrative endpoint while the block runs.

    Errors: OSError when a port is taken; BlockingIOError when the data file is.
    """
    async with served(Emulator(settings, issuer, chaos), issuer, settings) as running:
        yield running
