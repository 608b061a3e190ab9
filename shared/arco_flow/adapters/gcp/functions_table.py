"""`functions.yaml`, typed: what is deployed, and who may call it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import msgspec

from arco_flow.domain.errors import InvalidInput, NotFound, did_you_mean

T = TypeVar("T")
Service = Literal["firestore", "tasks", "storage", "pubsub"]
_NEEDED: Final = {
    "http": ("access",),
    "tasks": ("queue", "route", "callers"),
    "pubsub": ("topic", "callers"),
    "schedule": ("cron", "callers"),
}
"""What a row of a trigger has to say; callers: whose tokens its deliveries carry."""


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a push subscription delivers again; after max_deliveries it is a dead letter."""

    min_backoff_seconds: float = 1
    max_backoff_seconds: float = 600
    max_deliveries: int = 20


class Function(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One row: see the comment at the top of the file for the meaning of each field."""

    summary: str
    trigger: Literal["http", "tasks", "pubsub", "schedule"]
    identity: str
    uses: list[Service]
    memory_mib: int
    concurrency: int
    timeout_seconds: int
    max_instances: int
    cpu: float = 1
    access: Literal["", "users", "attempts"] = ""
    callers: list[str] = []
    queue: str = ""
    route: str = ""
    topic: str = ""
    cron: str = ""
    retry: Retry = Retry()

    @property
    def holds_secrets(self) -> bool:
        """Whether it is given the plane's secrets: who keeps the plane's state decides on runs and
        signs the tokens of attempts, and nobody else has a use for them."""
        return "firestore" in self.uses


class Queue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A queue of Cloud Tasks. max_attempts: 0 = without end."""

    per_second: float
    at_once: int
    max_attempts: int
    min_backoff_seconds: float
    max_backoff_seconds: float


class Topic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A topic. keep_days: how long its messages can be looked at when nobody takes them."""

    summary: str
    keep_days: int = 7


class FunctionsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole table."""

    functions: dict[str, Function]
    queues: dict[str, Queue]
    topics: dict[str, Topic]

    def function(self, name: str) -> Function:
        """One row. Raises NotFound."""
        found = self.functions.get(name)
        if found is None:
            raise NotFound(f"no function '{name}'{did_you_mean(name, self.functions)}")
        return found

    def of_queue(self, queue: str) -> str:
        """The function behind a queue. Raises NotFound."""
        for name, row in self.functions.items():
            if row.queue == queue:
                return name
        raise NotFound(f"no function takes the tasks of queue '{queue}'")


def load_functions_table(path: Path) -> FunctionsTable:
    """Read and check the table. Raises InvalidInput that names the row."""
    try:
        document = msgspec.yaml.decode(path.read_bytes(), type=dict[str, dict[str, Any]])
    except (OSError, msgspec.DecodeError) as error:
        raise InvalidInput(f"{path.name} can not be read: {error}", where=str(path)) from error
    unknown = sorted(set(document) - {"functions", "queues", "topics"})
    if unknown:
        raise InvalidInput(f"nothing is known of '{unknown[0]}'", where=str(path))
    table = FunctionsTable(
        _rows(path, "function", document.get("functions", {}), Function),
        _rows(path, "queue", document.get("queues", {}), Queue),
        _rows(path, "topic", document.get("topics", {}), Topic),
    )
    for name, row in table.functions.items():
        problem = _problem_of(table, name, row)
        if problem:
            raise InvalidInput(f"function '{name}' {problem}", where=str(path))
    return table


def _rows(path: Path, what: str, rows: Mapping[str, Any], kind: type[T]) -> dict[str, T]:
    found = {}
    for name, row in rows.items():
        try:
            found[name] = msgspec.convert(row, kind)
        except msgspec.ValidationError as error:
            message = f"{what} '{name}' does not hold what it should: {error}"
            raise InvalidInput(message, where=str(path)) from error
    return found


def _problem_of(table: FunctionsTable, name: str, row: Function) -> str:
    for field in _NEEDED[row.trigger]:
        if not getattr(row, field):
            return f"is triggered by {row.trigger} and names no {field}"
    if row.queue and row.queue not in table.queues:
        hint = did_you_mean(row.queue, table.queues)
        return f"names the queue '{row.queue}', which is in no row{hint}"
    if row.queue and table.of_queue(row.queue) != name:
        return f"shares the queue '{row.queue}' with '{table.of_queue(row.queue)}'"
    taken = row.max_instances * row.concurrency
    if row.queue and table.queues[row.queue].at_once > taken:
        sent = table.queues[row.queue].at_once
        return f"takes {taken} requests at once, and its queue '{row.queue}' sends {sent}"
    if row.topic and row.topic not in table.topics:
        hint = did_you_mean(row.topic, table.topics)
        return f"names the topic '{row.topic}', which is in no row{hint}"
    return ""
