"""One process owns a folder."""

from __future__ import annotations

import fcntl
import os
import weakref
from pathlib import Path
from typing import Final

from arco_flow.adapters.local.failures import files_unavailable
from arco_flow.domain.errors import Unavailable

LOCK_FILE: Final = "arco.lock"

_held: weakref.WeakSet[FolderLock] = weakref.WeakSet()


class FolderLock:
    """An exclusive `flock` on a file of the folder that names its holder.

    The kernel gives it back when the process ends, however it ends. Raises Unavailable when
    another process (or another opener in this one) holds it, or the folder can not be made.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / LOCK_FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise files_unavailable(error, str(path)) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._taken(folder) from None
        except OSError as error:
            os.close(self._fd)
            raise files_unavailable(error, str(path)) from error
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        _held.add(self)

    def release(self) -> None:
        """Give the folder free; a second call does nothing."""
        if self._fd >= 0:
            # Closing alone would not do: a child that was forked this moment, and has not come
            # to closing its copy, shares the lock.
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            self.forsake()

    def forsake(self) -> None:
        """Close our descriptor only: the lock stays with whoever shares it."""
        _held.discard(self)
        os.close(self._fd)
        self._fd = -1

    def _taken(self, folder: Path) -> Unavailable:
        holder = os.pread(self._fd, 20, 0).decode(errors="replace").strip() or "unknown"
        os.close(self._fd)
        return Unavailable(
            f"the folder {folder} is in use by process {holder}",
            fix=f"stop that process (`kill {holder}`), or choose another folder for this one"
            if holder != "unknown"
            else "stop the process that uses it, or choose another folder for this one",
            reason="FOLDER_IN_USE",
            details={"folder": str(folder), "pid": holder},
        )


def _release_in_child() -> None:
    # A forked child shares the lock: one that outlives us would keep the folder for ever.
    for lock in list(_held):
        lock.forsake()


os.register_at_fork(after_in_child=_release_in_child)
