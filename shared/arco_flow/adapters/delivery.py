"""What the embedded queues share: settings, what a handler is told, the back-off."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from arco_flow.domain.errors import InvalidInput

_NAME = re.compile(r"[A-Za-z0-9_-]{1,500}")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of a task. attempt: 1 for the first. at_ms: when it was due."""

    queue: str
    name: str
    attempt: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class DeadTask:
    """A task that its handler refused for good. reason: what the handler raised."""

    queue: str
    name: str
    route: str
    body: bytes
    attempt: int
    reason: str
    died_ms: int


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """max_concurrent: handlers of the queue at once. The back-off doubles between its bounds.

    dispatch_deadline_ms: a delivery that has no answer by then counts as failed, though its
    handler may go on; what that one answers later changes nothing. 0 = none. The default is that
    of Cloud Tasks.

    durable: False for a queue whose tasks are only reminders of what is durable elsewhere; an
    embedded queue keeps them in memory and forgets them with its process.
    """

    max_concurrent: int = 64
    min_backoff_ms: int = 1_000
    max_backoff_ms: int = 300_000
    durable: bool = True
    dispatch_deadline_ms: int = 600_000

    def __post_init__(self) -> None:
        if self.dispatch_deadline_ms < 0:
            raise InvalidInput(
                f"the dispatch deadline can not be {self.dispatch_deadline_ms} ms",
                fix="0 for none, else how long a handler may take",
            )
        if self.max_concurrent < 1:
            raise InvalidInput(f"max_concurrent must be at least 1, not {self.max_concurrent}")
        if not 0 < self.min_backoff_ms <= self.max_backoff_ms:
            raise InvalidInput(
                f"the back-off must grow from above 0, not {self.min_backoff_ms} to"
                f" {self.max_backoff_ms} ms"
            )

    def backoff_ms(self, attempt: int) -> int:
        """The wait after a failure of this attempt (1 for the first)."""
        return min(self.max_backoff_ms, self.min_backoff_ms << min(attempt - 1, 32))


Handler = Callable[[bytes, Delivery], Awaitable[None]]


def check_task_name(queue: str, name: str) -> None:
    """Raises InvalidInput on a name that Cloud Tasks would refuse, before it gets there."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"'{name}' can not name a task of queue '{queue}'",
            fix="1 to 500 letters, digits, '-' or '_'; see arco_flow.domain.ids.queue_task_name",
        )
