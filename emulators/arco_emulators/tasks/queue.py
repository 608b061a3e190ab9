"""A queue that is served."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from arco_emulators.clock import Clock
from arco_emulators.tasks.entry import Entry
from arco_emulators.tasks.graves import Graves
from arco_emulators.tasks.pump import Pump


class Queue:
    """The queue's message, its tasks by name, names that ended, and what hands tasks out."""

    def __init__(
        self,
        message: Any,
        *,
        clock: Clock,
        tombstone_seconds: float,
        start: Callable[[Queue, Entry], None],
        visible_from: float = 0.0,
    ) -> None:
        """`start` begins an attempt of a task of this queue."""
        self.message = message
        self.tasks: dict[str, Entry] = {}
        self.graves = Graves(tombstone_seconds)
        self.policy: Any = None
        self.visible_from = visible_from
        self.pump = Pump(message, clock, lambda entry: start(self, entry))

    @property
    def name(self) -> str:
        """The queue's full name."""
        return str(self.message.name)

    def holds(self, entry: Entry) -> bool:
        """Whether the task has neither ended nor been deleted."""
        return self.tasks.get(entry.task.name) is entry

    def configure(self, message: Any) -> None:
        """Follow another configuration or state from now on."""
        self.message = message
        self.pump.configure(message)
