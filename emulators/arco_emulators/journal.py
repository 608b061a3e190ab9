"""What an emulator holds, kept in a file, so that it survives a restart.

Every change is in the file before the call that made it is answered. It outlives the process,
however that ends; a crash of the machine may lose the last changes.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol


class Record(NamedTuple):
    """One thing: its name, its kind, its message, and what the message has no field for."""

    name: str
    kind: str
    message: bytes
    extra: Mapping[str, Any]


class Journal(Protocol):
    """Where records are kept. A name has one record: what is put later replaces it."""

    def put(self, name: str, kind: str, message: bytes = b"", extra: Any = None) -> None:
        """Keep the record."""
        ...

    def drop(self, names: Iterable[str]) -> None:
        """Forget the records of these names."""
        ...

    def records(self, kind: str) -> Iterator[Record]:
        """The records of a kind, in no order."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class NoJournal:
    """Keeps nothing: what the emulator holds ends with its process."""

    def put(self, name: str, kind: str, message: bytes = b"", extra: Any = None) -> None:
        """Keep nothing."""

    def drop(self, names: Iterable[str]) -> None:
        """Forget nothing."""

    def records(self, kind: str) -> Iterator[Record]:  # noqa: ARG002
        """None."""
        return iter(())

    def clear(self) -> None:
        """Forget nothing."""

    def close(self) -> None:
        """Let go of nothing."""


class FileJournal:
    """Records in one SQLite file, which one process has for itself."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Errors: BlockingIOError when another process has it.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, isolation_level=None, timeout=0)
        try:
            self._database.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=OFF")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS records"
                " (name TEXT PRIMARY KEY, kind TEXT, message BLOB, extra TEXT) WITHOUT ROWID"
            )
        except sqlite3.OperationalError as error:
            self._database.close()
            raise BlockingIOError(f"{path} is open in another process: {error}") from error

    def put(self, name: str, kind: str, message: bytes = b"", extra: Any = None) -> None:
        """Keep the record."""
        row = (name, kind, message, json.dumps(extra or {}))
        self._database.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)", row)

    def drop(self, names: Iterable[str]) -> None:
        """Forget the records of these names, all at once."""
        self._database.execute("BEGIN")
        self._database.executemany("DELETE FROM records WHERE name = ?", ((n,) for n in names))
        self._database.execute("COMMIT")

    def records(self, kind: str) -> Iterator[Record]:
        """The records of a kind, in no order."""
        rows = self._database.execute("SELECT * FROM records WHERE kind = ?", (kind,)).fetchall()
        for name, kind_, message, extra in rows:
            yield Record(name, kind_, message, json.loads(extra))

    def clear(self) -> None:
        """Forget everything."""
        self._database.execute("DELETE FROM records")

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()


def opened(path: Path | None) -> Journal:
    """The journal of the file, or one that keeps nothing when there is none.

    Errors: BlockingIOError when another process has the file.
    """
    return FileJournal(path) if path else NoJournal()
