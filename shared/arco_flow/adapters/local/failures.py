"""SQLite's and the file system's errors in words that say what to do."""

from __future__ import annotations

import errno
import sqlite3

from arco_flow.domain.errors import Unavailable

_FULL = ("the disk is full", "free some space; the next call works again by itself")
_READ_ONLY = ("the folder is read-only", "make it writable for this user, or choose another one")
_IO = ("the disk answered with an error", "check the disk, its cable or its mount")
_DAMAGED = ("the database file is damaged", "restore the folder from a copy, or start a new one")

_SQLITE = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: (
        "the database can not be opened",
        "check that the folder exists and is writable for this user",
    ),
    sqlite3.SQLITE_IOERR: _IO,
    sqlite3.SQLITE_BUSY: (
        "another program holds the database locked",
        "close the database browser or backup that has it open",
    ),
    sqlite3.SQLITE_LOCKED: (
        "another connection holds a table locked",
        "close the database browser or backup that has it open",
    ),
    sqlite3.SQLITE_NOMEM: ("there is no memory left", "close other programs"),
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
}

_IN_THE_WAY = ("a file is where a folder should be", "move it away, or restore the folder")

_OS = {
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
    errno.ENOSPC: _FULL,
    errno.EDQUOT: ("the disk quota is used up", "free some space; the next call works again"),
    errno.ENOENT: (
        "the folder is gone",
        "bring it back, or start again to have an empty one made",
    ),
    errno.EFBIG: (
        "the file would be larger than this user may write",
        "raise the limit with `ulimit -f`",
    ),
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
    errno.EMFILE: ("too many files are open", "raise the limit with `ulimit -n`"),
    errno.ENFILE: ("too many files are open", "raise the limit with `ulimit -n`"),
}


def is_store_failure(error: sqlite3.Error) -> bool:
    """Whether the database failed, rather than one statement being wrong in itself."""
    return _primary_code(error) in _SQLITE


def database_unavailable(error: sqlite3.Error, path: str) -> Unavailable:
    """What stands between us and the database, and the mend. Nothing was applied."""
    what, fix = _SQLITE.get(_primary_code(error), ("the database failed", "see the cause"))
    return Unavailable(
        f"{what} ({error})", where=path, fix=fix, details={"sqlite": _primary_code(error)}
    )


def files_unavailable(error: OSError, path: str) -> Unavailable:
    """What stands between us and a file, and the mend. Nothing was applied."""
    what, fix = _OS.get(error.errno or 0, _IO)
    return Unavailable(f"{what} ({error.strerror})", where=path, fix=fix)


def _primary_code(error: sqlite3.Error) -> int:
    # Extended codes keep the primary one in their low byte.
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
