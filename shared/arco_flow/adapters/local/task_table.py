"""The rows behind the durable queue: tasks to do, names that are done, tasks that are dead."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from arco_flow.adapters.delivery import DeadTask
from arco_flow.adapters.local.database import Database

# Each call forgets at most this many names, so that no write becomes a long one.
_PURGE_ROWS = 512


@dataclass(slots=True, eq=False)
class PendingTask:
    """A task that is not done. attempt: of the next delivery."""

    queue: str
    name: str
    route: str
    body: bytes
    at_ms: int
    attempt: int = 1
    is_running: bool = False

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


def add_task(cursor: sqlite3.Cursor, task: PendingTask, forget_before_ms: int) -> bool:
    """Insert; False when the name is pending, or was done after `forget_before_ms`."""
    cursor.execute(
        "INSERT OR IGNORE INTO tasks (queue, name, route, body, at_ms, attempt)"
        " SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS"
        " (SELECT 1 FROM task_names WHERE queue = ?1 AND name = ?2 AND done_ms >= ?7)",
        (task.queue, task.name, task.route, task.body, task.at_ms, task.attempt, forget_before_ms),
    )
    return cursor.rowcount == 1


def postpone_task(cursor: sqlite3.Cursor, task: PendingTask, at_ms: int) -> None:
    """Keep the next attempt and its time."""
    cursor.execute(
        "UPDATE tasks SET at_ms = ?, attempt = ? WHERE queue = ? AND name = ?",
        (at_ms, task.attempt + 1, *task.key),
    )


def finish_task(cursor: sqlite3.Cursor, task: PendingTask, now_ms: int) -> bool:
    """Remove the task and remember its name; False when it was gone already."""
    cursor.execute("DELETE FROM tasks WHERE queue = ? AND name = ?", task.key)
    if cursor.rowcount == 0:
        return False
    cursor.execute(
        "INSERT OR REPLACE INTO task_names (queue, name, done_ms) VALUES (?, ?, ?)",
        (*task.key, now_ms),
    )
    return True


def bury_task(cursor: sqlite3.Cursor, task: PendingTask, now_ms: int, reason: str) -> None:
    """Finish the task and keep it, with why, where a person finds it."""
    finish_task(cursor, task, now_ms)
    cursor.execute(
        "INSERT INTO dead_tasks (died_ms, queue, name, route, attempt, reason, body)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (now_ms, task.queue, task.name, task.route, task.attempt, reason, task.body),
    )


def dead_tasks(database: Database, limit: int) -> list[DeadTask]:
    """The dead, newest first."""
    rows: list[Any] = database.read(
        "SELECT queue, name, route, body, attempt, reason, died_ms FROM dead_tasks"
        " ORDER BY rowid DESC LIMIT ?",
        (limit,),
    )
    return [DeadTask(*row) for row in rows]


def purge_names(cursor: sqlite3.Cursor, forget_before_ms: int) -> None:
    """Forget some of the names that were done before this."""
    cursor.execute(
        "DELETE FROM task_names WHERE (queue, name) IN (SELECT queue, name FROM task_names"
        " WHERE done_ms < ? ORDER BY done_ms LIMIT ?)",
        (forget_before_ms, _PURGE_ROWS),
    )
