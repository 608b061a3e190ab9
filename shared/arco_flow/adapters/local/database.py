"""One SQLite file, owned by one process, written in groups.

Why groups: a transaction costs far more than the few statements of one small write. All writes
that were submitted in one turn of the event loop share one transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Generic, TypeVar

from arco_flow.adapters.local.failures import (
    database_unavailable,
    is_store_failure,
)
from arco_flow.adapters.local.folder_lock import FolderLock
from arco_flow.adapters.local.schema import ensure_schema
from arco_flow.domain.errors import Unavailable

T = TypeVar("T")

# Bounds how long one transaction keeps the loop from its other work.
_GROUP_LIMIT = 1_000
# Under load a group collects for so long after the one before: measured at 1,000 tasks, half the
# page writes. The first write after a pause goes at once.
_GROUP_SECONDS = 0.001
# 32 MiB of log between checkpoints, each of which syncs two files.
_CHECKPOINT_PAGES = 8_192


class _Write(Generic[T]):
    """One submitted function, and who waits for it (nobody on the synchronous path)."""

    __slots__ = ("after", "error", "fn", "future", "value")

    def __init__(
        self,
        fn: Callable[[sqlite3.Cursor], T],
        after: Callable[[T], None] | None,
        future: asyncio.Future[T] | None,
    ) -> None:
        self.fn = fn
        self.after = after
        self.future = future
        self.value: T
        self.error: Exception | None = None

    def wanted(self) -> bool:
        future = self.future
        return future is None or not (future.done() or future.get_loop().is_closed())

    def execute(self, cursor: sqlite3.Cursor) -> None:
        self.error = None
        self.value = self.fn(cursor)

    def settle(self) -> None:
        if self.error is None and self.after is not None:
            try:
                self.after(self.value)
            except Exception as error:
                self.error = error
        if self.future is None:
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.value)


class _WroteThenRaisedError(Exception):
    """A function raised after it had changed rows: its group is done again without it."""

    def __init__(self, write: _Write[Any]) -> None:
        self.write = write


class Database:
    """The only connection to `<folder>/arco.db`, in WAL mode.

    Survives the end of the process at any moment. `synchronous=NORMAL`: on a power failure the
    last commits may be missing, the file stays consistent. Belongs to one event loop at a time.
    """

    def __init__(self, folder: str | Path, *, busy_timeout_ms: int = 5_000) -> None:
        """Open or create. Raises Unavailable (in use, unwritable), Conflict (of another making)."""
        self.path = str(Path(folder) / "arco.db")
        self._lock = FolderLock(Path(folder))
        try:
            self._connection = _connect(self.path, busy_timeout_ms)
        except BaseException:
            self._lock.release()
            raise
        self._cursor = self._connection.cursor()
        self._flushed = 0.0
        self._pending: list[_Write[Any]] = []
        self._scheduled_on: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def run(
        self,
        fn: Callable[[sqlite3.Cursor], T],
        *,
        after: Callable[[T], None] | None = None,
    ) -> T:
        """Run `fn` inside the next group's transaction; answers what it returned, once committed.

        fn does its checks before its writes and touches nothing but the cursor: it may be run
        again. An exception it raises fails this call alone. `after` runs at the moment of the
        commit, also when the caller has been cancelled meanwhile: caches are kept in step there.
        Raises Unavailable when the database could not be written; nothing was applied then.
        """
        self._check_open()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._pending.append(_Write(fn, after, future))
        if self._scheduled_on is not loop:
            self._scheduled_on = loop
            wait = self._flushed + _GROUP_SECONDS - loop.time()
            if wait > 0:
                loop.call_later(wait, self._flush)
            else:
                loop.call_soon(self._flush)
        return await future

    def run_now(self, fn: Callable[[sqlite3.Cursor], T]) -> T:
        """`run` for those without an event loop: a transaction of its own."""
        self._check_open()
        write = _Write(fn, None, None)
        self._write_group([write])
        if write.error is not None:
            raise write.error
        return write.value

    def read(
        self,
        sql: str,
        parameters: tuple[object, ...] = (),
        *,
        of: Callable[[Iterable[Any]], Iterable[Any]] = iter,
    ) -> list[tuple[object, ...]]:
        """The rows of a query, as of the last commit; of: takes the first of them, before the rest
        is read. Raises Unavailable."""
        self._check_open()
        try:
            with contextlib.closing(self._connection.execute(sql, parameters)) as found:
                return list(of(found))
        except sqlite3.Error as error:
            if is_store_failure(error):
                raise database_unavailable(error, self.path) from error
            raise

    def close(self) -> None:
        """Write what was submitted, then give the folder free; a second call does nothing."""
        if self._closed:
            return
        while self._pending:
            self._flush()
        self._closed = True
        self._connection.close()
        self._lock.release()

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the database is closed", where=self.path, fix="open it again")

    def _flush(self) -> None:
        group, self._pending = self._pending[:_GROUP_LIMIT], self._pending[_GROUP_LIMIT:]
        if self._pending and self._scheduled_on is not None and not self._scheduled_on.is_closed():
            self._scheduled_on.call_soon(self._flush)
        else:
            self._scheduled_on = None
        # Who was cancelled before the commit has not written: an honest outcome.
        group = [write for write in group if write.wanted()]
        if group:
            self._write_group(group)
        self._flushed = time.monotonic()

    def _write_group(self, group: list[_Write[Any]]) -> None:
        rest = group
        try:
            while rest:
                try:
                    self._attempt(rest)
                    break
                except _WroteThenRaisedError as stopped:
                    self._roll_back()
                    rest = [write for write in rest if write is not stopped.write]
        except sqlite3.Error as error:
            self._roll_back()
            for write in rest:
                write.error = database_unavailable(error, self.path)
                write.error.__cause__ = error
        except BaseException:
            self._roll_back()
            raise
        for write in group:
            write.settle()

    def _attempt(self, group: list[_Write[Any]]) -> None:
        cursor, connection = self._cursor, self._connection
        cursor.execute("BEGIN IMMEDIATE")
        for write in group:
            # Cheaper than a savepoint around each: see whether the failed one changed anything.
            changes = connection.total_changes
            try:
                write.execute(cursor)
            except Exception as error:
                if isinstance(error, sqlite3.Error) and is_store_failure(error):
                    raise
                write.error = error
                if connection.total_changes != changes:
                    raise _WroteThenRaisedError(write) from error
        cursor.execute("COMMIT")

    def _roll_back(self) -> None:
        # SQLite has rolled back by itself after some errors (disk full, I/O).
        if self._connection.in_transaction:
            self._connection.rollback()


def _connect(path: str, busy_timeout_ms: int) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, cached_statements=256
        )
    except sqlite3.Error as error:
        raise database_unavailable(error, path) from error
    try:
        connection.execute(f"PRAGMA busy_timeout = {busy_timeout_ms}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -32768")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        ensure_schema(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise database_unavailable(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection
