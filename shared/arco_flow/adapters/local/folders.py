"""Walking below a root without ever following a symbolic link out of it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
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
