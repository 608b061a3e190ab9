"""Files that are written beside the objects until they are whole."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_UNNAMED = os.O_WRONLY | os.O_CLOEXEC | getattr(os, "O_TMPFILE", os.O_DIRECTORY)
# Coarse file systems keep times in steps of up to two seconds.
_COARSE_STEP_NS = 2_000_000_000
_ORPHAN_AGE_SECONDS = 24 * 3600


def stage(staging: int, data: bytes, *, after_ns: int = 0) -> tuple[str, int]:
    """A finished file in the staging folder: its name, and its generation, greater than
    `after_ns`. The caller moves it away or removes it."""
    name = secrets.token_hex(8)
    file = os.open(name, _CREATE, 0o644, dir_fd=staging)
    try:
        try:
            _write_all(file, data)
            return name, _set_generation(file, after_ns)
        finally:
            os.close(file)
    except BaseException:
        unstage(staging, name)
        raise


def unstage(staging: int, name: str) -> None:
    """Remove a staged file, or its name in the staging folder when it has another one."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=staging)


def write_unnamed(folder: int, data: bytes) -> tuple[int, int]:
    """A finished file of the folder's disk that has no name yet: its descriptor, which the caller
    closes, and its generation. It is gone with its last descriptor unless it was named."""
    file = os.open(".", _UNNAMED, 0o644, dir_fd=folder)
    try:
        _write_all(file, data)
        return file, _set_generation(file, 0)
    except BaseException:
        os.close(file)
        raise


def name_unnamed(file: int, folder: int, name: str) -> None:
    """Give such a file its name. Raises FileExistsError when it is taken."""
    os.link(f"/proc/self/fd/{file}", name, dst_dir_fd=folder, follow_symlinks=True)


def takes_unnamed(staging: int) -> bool:
    """Whether the disk and the system know files without a name: Linux does, some disks do not."""
    name = secrets.token_hex(8)
    try:
        file, _ = write_unnamed(staging, b"")
        try:
            name_unnamed(file, staging, name)
        finally:
            os.close(file)
    except OSError:
        return False
    unstage(staging, name)
    return True


@contextmanager
def staged_file(staging: int, path: str) -> Iterator[tuple[str, int]]:
    """A finished file in the staging folder, made of another one and gone at the end: by a second
    name for it where that is safe, else by a copy. Yields its name and its generation."""
    name = secrets.token_hex(8)
    try:
        if not _link_alone(path, staging, name):
            with (
                open(path, "rb") as source,
                os.fdopen(os.open(name, _CREATE, 0o644, dir_fd=staging), "wb") as target,
            ):
                shutil.copyfileobj(source, target, 1 << 20)
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=staging)
        try:
            generation = _set_generation(file, 0)
        finally:
            os.close(file)
        yield name, generation
    finally:
        unstage(staging, name)


def clear_staging(folder: str) -> None:
    """Remove what processes left that were ended in the middle of a write, a day ago or more."""
    oldest = time.time() - _ORPHAN_AGE_SECONDS
    with os.scandir(folder) as entries:
        for entry in entries:
            # Other processes work here: what the listing named may be an object by now.
            with suppress(FileNotFoundError):
                if entry.name != "lock" and entry.stat(follow_symlinks=False).st_mtime < oldest:
                    os.unlink(entry.path)


def _link_alone(path: str, staging: int, name: str) -> bool:
    # A file with other names could be changed through them after it became an object.
    if os.path.islink(path) or os.stat(path).st_nlink != 1:
        return False
    try:
        os.link(path, name, dst_dir_fd=staging, follow_symlinks=False)
    except OSError:
        return False
    return True


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _set_generation(file: int, after_ns: int) -> int:
    # Ours, because the kernel's own stamps repeat within a tick of some milliseconds.
    wanted = max(time.time_ns(), after_ns + 1)
    os.utime(file, ns=(wanted, wanted))
    kept = os.fstat(file).st_mtime_ns
    if kept <= after_ns:
        os.utime(file, ns=(wanted, after_ns + _COARSE_STEP_NS))
        kept = os.fstat(file).st_mtime_ns
    return kept
