"""Walking below a root without ever following a symbolic link out of it."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from arco_flow.domain.errors import Conflict, Unavailable

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextmanager
def opened_root(path: str) -> Iterator[int]:
    """A descriptor of a folder that is there and, itself, no symbolic link."""
    fd = os.open(path, _DIRECTORY | os.O_NOFOLLOW)
    try:
        yield fd
    finally:
        os.close(fd)


TRUNK_SEGMENTS = 6
"""Segments whose folder is kept open: `tenants/T/workspaces/W/assets/KEY`, and as far for logs
and plans. What is below differs with every partition and attempt."""

_TRUNKS_KEPT = 32


class Trunks:
    """Descriptors of folders that keys share, so that a key is not walked from the root each
    time: measured, 21 opens per task became 8. For several threads.

    One that was deleted meanwhile has no link left and is opened anew.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._kept: dict[str, int] = {}
        self._lock = threading.Lock()

    @contextmanager
    def open(self, folder: str, *, create: bool) -> Iterator[int | None]:
        """As `opened_folder`."""
        segments = folder.split("/") if folder else []
        trunk = "/".join(segments[:TRUNK_SEGMENTS])
        fd = self._borrow(trunk)
        if fd is None:
            with opened_folder(self._root, trunk, create=create) as opened:
                fd = None if opened is None else os.dup(opened)
            if fd is None:
                yield None
                return
        try:
            with _opened_below(fd, segments[TRUNK_SEGMENTS:], folder, create=create) as below:
                yield below
        finally:
            self._give_back(trunk, fd)

    def close(self) -> None:
        """Close what is kept."""
        with self._lock:
            while self._kept:
                os.close(self._kept.popitem()[1])

    def _borrow(self, trunk: str) -> int | None:
        with self._lock:
            fd = self._kept.pop(trunk, None)
        if fd is not None and os.fstat(fd).st_nlink == 0:
            os.close(fd)
            return None
        return fd

    def _give_back(self, trunk: str, fd: int) -> None:
        with self._lock:
            if trunk not in self._kept and len(self._kept) < _TRUNKS_KEPT:
                self._kept[trunk] = fd
                return
            oldest = next(iter(self._kept)) if trunk not in self._kept else None
            spare = fd
            if oldest is not None:
                spare = self._kept.pop(oldest)
                self._kept[trunk] = fd
        os.close(spare)


@contextmanager
def _opened_below(
    trunk: int, segments: Sequence[str], folder: str, *, create: bool
) -> Iterator[int | None]:
    fd: int | None = os.dup(trunk) if not segments else trunk
    try:
        for segment in segments:
            assert fd is not None
            below = _descend_or_create(fd, segment, folder) if create else descend(fd, segment)
            if fd != trunk:
                os.close(fd)
            fd = below
            if fd is None:
                break
        yield fd
    finally:
        if fd is not None and fd != trunk:
            os.close(fd)


@contextmanager
def opened_folder(root: str, folder: str, *, create: bool) -> Iterator[int | None]:
    """A descriptor of `root/folder`, opened one segment at a time; None when there is none.

    Folders are made when `create`, and then a file among the segments is a Conflict. The root
    itself may be a link, nothing below it may: Unavailable.
    """
    fd: int | None = os.open(root, _DIRECTORY)
    try:
        for segment in folder.split("/") if folder else ():
            assert fd is not None
            below = _descend_or_create(fd, segment, folder) if create else descend(fd, segment)
            os.close(fd)
            fd = below
            if fd is None:
                break
        yield fd
    finally:
        if fd is not None:
            os.close(fd)


def descend(fd: int, segment: str) -> int | None:
    """A descriptor of a folder below another one; None when there is no such folder."""
    try:
        return os.open(segment, _DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        refuse_link(fd, segment)
        return None


def refuse_link(fd: int, name: str) -> None:
    """Raises Unavailable when `name` below the descriptor is a symbolic link."""
    try:
        mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISLNK(mode):
        raise Unavailable(
            f"'{name}' in the object folder is a symbolic link, and none is followed",
            fix="replace it by a folder or a mount, or let the root of the store be the link",
            details={"name": name},
        )


def _descend_or_create(fd: int, segment: str, folder: str) -> int:
    below = descend(fd, segment)
    if below is not None:
        return below
    # Another process may have made it just now, or it is a file: the next look tells.
    with suppress(FileExistsError):
        os.mkdir(segment, dir_fd=fd)
    below = descend(fd, segment)
    if below is None:
        raise Conflict(
            f"an object is in the way of '{folder}/': '{segment}' is no folder",
            fix="a key can not go on below another object's key; choose another name",
            details={"folder": folder, "segment": segment},
        )
    return below
