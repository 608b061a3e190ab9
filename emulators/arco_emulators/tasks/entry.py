"""A task that a queue holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True, eq=False)
class Entry:
    """The task's message, and what the message has no field for."""

    task: Any
    ticket: int = 0
    """Changes whenever the task is scheduled anew or ends; an earlier place in line is void."""
    executions: int = 0
    """Answers other than 5xx, for X-CloudTasks-TaskExecutionCount."""
    previous: int = 0
    """HTTP status of the last answer; 0 when there was none."""

    def extra(self) -> dict[str, int]:
        """What a journal keeps beside the message."""
        return {"executions": self.executions, "previous": self.previous}
