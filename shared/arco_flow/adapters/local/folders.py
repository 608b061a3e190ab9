"""Walking below a root without ever following a symbolic link out of it."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Sequence
from contextlib import suppress

from arco_flow.domain.errors import Conflict, Unavailable

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def open_root(path: str) -> int:
    """A descriptor of a folder that is there and, itself, no symbolic link."""
    return os.open(path, _DIRECTORY | os.O_NOFOLLOW)


TRUNK_SEGMENTS = 6
"""Segments whose folder is kept open: `tenants/T/workspaces/W/assets/KEY`, and as far for logs
and plans. What is below differs with every partition and attempt."""

_STEM_SEGMENTS = TRUNK_SEGMENTS - 1
"""Where the way to a trunk begins that is not kept: there may be more assets than are."""

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

    def open(self, folder: str, *, create: bool) -> int | None:
        """A descriptor of `root/folder` for the caller to close; None when there is none.

        Folders are made when `create`, and then a file among the segments is a Conflict. The root
        itself may be a link, nothing below it may: Unavailable.
        """
        segments = folder.split("/") if folder else []
        make_for = folder if create else None
        return self._open(segments, TRUNK_SEGMENTS, make_for)

    def _open(self, segments: Sequence[str], depth: int, make_for: str | None) -> int | None:
        kept = "/".join(segments[:depth])
        fd = self._borrow(kept)
        if fd is None:
            if depth > _STEM_SEGMENTS:
                fd = self._open(segments[:depth], _STEM_SEGMENTS, make_for)
            else:
                fd = self._from_root(segments[:depth], make_for)
        if fd is None:
            return None
        try:
            return _walk(fd, segments[depth:], make_for)
        finally:
            self._give_back(kept, fd)

    def _from_root(self, segments: Sequence[str], make_for: str | None) -> int | None:
        root = os.open(self._root, _DIRECTORY)
        try:
            return _walk(root, segments, make_for)
        finally:
            os.close(root)

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


def _walk(start: int, segments: Sequence[str], make_for: str | None) -> int | None:
    """A new descriptor of the folder that lies these segments below `start`, taken one at a time;
    None when there is none. make_for: make what is missing, for this folder."""
    fd = start
    for segment in segments:
        try:
            below = descend(fd, segment)
            if below is None and make_for is not None:
                below = _create(fd, segment, make_for)
        finally:
            if fd != start:
                os.close(fd)
        if below is None:
            return None
        fd = below
    return os.dup(start) if fd == start else fd


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


def _create(fd: int, segment: str, folder: str) -> int:
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
