"""The rows behind the durable queue: tasks to do, and tasks that are dead."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from arco_flow.adapters.delivery import DeadTask
from arco_flow.adapters.local.database import Database


@dataclass(slots=True, eq=False)
class PendingTask:
    """A task that is not done. attempt: of the next delivery. run: of the last one that still
    counts; one that is over its deadline has an earlier number."""

    queue: str
    name: str
    route: str
    body: bytes
    at_ms: int
    attempt: int = 1
    is_running: bool = False
    run: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """Identity within all queues."""
        return self.queue, self.name


def pending_tasks(database: Database) -> Iterator[PendingTask]:
    """Everything that is not done, in order of time."""
    rows: list[Any] = database.read(
        "SELECT queue, name, route, body, at_ms, attempt FROM tasks ORDER BY at_ms, queue, name"
    )
    return (PendingTask(*row) for row in rows)


def add_task(cursor: sqlite3.Cursor, task: PendingTask) -> bool:
    """Insert; False when the name is pending."""
    cursor.execute(
        "INSERT OR IGNORE INTO tasks (queue, name, route, body, at_ms, attempt)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (task.queue, task.name, task.route, task.body, task.at_ms, task.attempt),
    )
    return cursor.rowcount == 1


def postpone_task(cursor: sqlite3.Cursor, task: PendingTask, at_ms: int) -> None:
    """Keep the next attempt and its time."""
    cursor.execute(
        "UPDATE tasks SET at_ms = ?, attempt = ? WHERE queue = ? AND name = ?",
        (at_ms, task.attempt + 1, *task.key),
    )


def finish_task(cursor: sqlite3.Cursor, task: PendingTask) -> bool:
    """Remove the task; False when it was gone already."""
    cursor.execute("DELETE FROM tasks WHERE queue = ? AND name = ?", task.key)
    return cursor.rowcount == 1


def bury_task(cursor: sqlite3.Cursor, task: PendingTask, now_ms: int, reason: str) -> None:
    """Finish the task and keep it, with why, where a person finds it."""
    finish_task(cursor, task)
    cursor.execute(
        "INSERT INTO dead_tasks (died_ms, queue, name, route, attempt, reason, body)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (now_ms, task.queue, task.name, task.route, task.attempt, reason, task.body),
    )


def dead_tasks(database: Database, limit: int, queues: Collection[str]) -> list[DeadTask]:
    """The dead of these queues (none given: of all), newest first."""
    among = f" WHERE queue IN ({', '.join('?' * len(queues))})" if queues else ""
    rows: list[Any] = database.read(
        "SELECT queue, name, route, body, attempt, reason, died_ms FROM dead_tasks"  # noqa: S608
        f"{among} ORDER BY rowid DESC LIMIT ?",
        (*queues, limit),
    )
    return [DeadTask(*row) for row in rows]
