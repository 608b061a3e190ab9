"""The object store on files."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from arco_flow.adapters.local.failures import files_unavailable
from arco_flow.adapters.local.folders import Trunks, descend, open_root, refuse_link
from arco_flow.adapters.local.staging import (
    clear_staging,
    name_unnamed,
    stage,
    staged_file,
    takes_unnamed,
    unstage,
    write_unnamed,
)
from arco_flow.adapters.object_keys import object_key, object_prefix
from arco_flow.domain.errors import Conflict, InvalidInput
from arco_flow.ports.objects import ObjectMeta, StoredObject

_STAGING = ".staging"
# Not blocking: a pipe that somebody left in the folder must not hold a reader.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_LOCK = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


class LocalObjects:
    """`Objects` as files under a root: the key is the path, so that people find their data.

    An object appears whole or not at all: it is written without a name, or beside, and then
    linked (created) or renamed (overwritten) into place. The generation is the file's mtime in
    nanoseconds, which we set ourselves so that it always grows. Nothing is fsynced: the promise is
    to survive the end of a process, whose writes the kernel keeps, and not a power failure; an
    fsync per object would cost a hundred times the rest.

    Unlike in a bucket, no key can go on below another object's key (Conflict), and `.staging` is
    taken. On a file system that ignores case, keys that differ only in case are one.
    Safe to share between threads and processes.
    """

    def __init__(
        self, root: str | os.PathLike[str], *, create: bool = True, unnamed: bool = True
    ) -> None:
        """Creates the root, unless `create` is off: for a look that leaves no trace.

        unnamed: off, every file is written beside, as on a disk that knows no file without a name.

        Raises Unavailable when it can not be written.
        """
        self._root = os.path.abspath(root)
        self._trunks = Trunks(self._root)
        self._unnamed = False
        if not create:
            return
        try:
            os.makedirs(os.path.join(self._root, _STAGING), exist_ok=True)
            clear_staging(os.path.join(self._root, _STAGING))
        except OSError as error:
            raise files_unavailable(error, self._root) from error
        with self._staging("") as staging:
            self._unnamed = unnamed and takes_unnamed(staging)

    def close(self) -> None:
        """Give back the descriptors of folders; it can be used on."""
        self._trunks.close()

    def get(self, key: str) -> StoredObject | None:
        """See Objects."""
        key, folder, name = _split(key)
        with self._folder(folder, key) as fd:
            file = None if fd is None else _open(fd, name)
            if file is None:
                return None
            return _read(file)

    def put_if_absent(self, key: str, data: bytes) -> int | None:
        """See Objects."""
        key, folder, name = _split(key)
        with self._folder(folder, key, create=True) as fd:
            assert fd is not None
            if self._unnamed:
                return _create(fd, name, data, key)
            with self._staging(key) as staging:
                temporary, generation = stage(staging, data)
                try:
                    return generation if _link(staging, temporary, fd, name, key) else None
                finally:
                    unstage(staging, temporary)

    def put_if_generation(self, key: str, data: bytes, generation: int) -> int | None:
        """See Objects."""
        key, folder, name = _split(key)
        with (
            self._staging(key, locked=True) as staging,
            self._folder(folder, key) as fd,
        ):
            if fd is None or _generation(fd, name) != generation:
                return None
            temporary, grown = stage(staging, data, after_ns=generation)
            try:
                os.replace(temporary, name, src_dir_fd=staging, dst_dir_fd=fd)
            except BaseException:
                unstage(staging, temporary)
                raise
            return grown

    def put_file_if_absent(self, key: str, path: str) -> int | None:
        """See Objects. The file is gone when it became the object, else left alone.

        Raises InvalidInput when there is no such file.
        """
        key, folder, name = _split(key)
        if not os.path.isfile(path):
            raise InvalidInput(f"there is no file '{path}' to store as '{key}'")
        with (
            self._folder(folder, key, create=True) as fd,
            self._staging(key) as staging,
        ):
            assert fd is not None
            with staged_file(staging, path) as (temporary, generation):
                if not _link(staging, temporary, fd, name, key):
                    return None
            # The object is there; a source that can not be removed is only untidy.
            with suppress(OSError):
                os.unlink(path)
            return generation

    def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[ObjectMeta]:
        """See Objects. Symbolic links and what is no plain file are no objects."""
        prefix = object_prefix(prefix)
        folder = prefix.rpartition("/")[0]
        found: list[ObjectMeta] = []
        if folder.partition("/")[0] == _STAGING:
            return found
        with self._folder(folder, prefix) as fd:
            if fd is not None and limit > 0:
                for meta in _walk(fd, f"{folder}/" if folder else "", prefix, after):
                    found.append(meta)
                    if len(found) == limit:
                        break
        return found

    def delete(self, key: str) -> bool:
        """See Objects."""
        key, folder, name = _split(key)
        with self._staging(key, locked=True), self._folder(folder, key) as fd:
            if fd is None or _generation(fd, name) is None:
                return False
            os.unlink(name, dir_fd=fd)
            return True

    def local_path(self, key: str) -> str | None:
        """See Objects: the path of the file; do not write to it."""
        key, folder, name = _split(key)
        with self._folder(folder, key) as fd:
            if fd is None or _generation(fd, name) is None:
                return None
        return os.path.join(self._root, key)

    @contextmanager
    def _folder(self, folder: str, key: str, *, create: bool = False) -> Iterator[int | None]:
        fd: int | None = None
        try:
            fd = self._trunks.open(folder, create=create)
            yield fd
        except OSError as error:
            raise files_unavailable(error, os.path.join(self._root, key)) from error
        finally:
            if fd is not None:
                os.close(fd)

    @contextmanager
    def _staging(self, key: str, *, locked: bool = False) -> Iterator[int]:
        """The staging folder. locked: while no other thread or process overwrites or deletes."""
        opened: list[int] = []
        try:
            opened.append(open_root(os.path.join(self._root, _STAGING)))
            if locked:
                opened.append(os.open("lock", _LOCK, 0o644, dir_fd=opened[0]))
                fcntl.flock(opened[1], fcntl.LOCK_EX)
            yield opened[0]
        except OSError as error:
            raise files_unavailable(error, os.path.join(self._root, key)) from error
        finally:
            for fd in reversed(opened):
                os.close(fd)


def _split(key: str) -> tuple[str, str, str]:
    """The key in normal form, its folder and its last segment."""
    key = object_key(key)
    folder, _, name = key.rpartition("/")
    if key.partition("/")[0] == _STAGING:
        raise InvalidInput(f"'{_STAGING}' is the store's own folder", fix="choose another name")
    return key, folder, name


def _open(fd: int, name: str) -> int | None:
    try:
        file = os.open(name, _READ, dir_fd=fd)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            refuse_link(fd, name)
        raise
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    return None


def _read(file: int) -> StoredObject:
    """All of an open file, which is closed."""
    try:
        status = os.fstat(file)
        data = os.read(file, status.st_size)
        while len(data) < status.st_size and (more := os.read(file, status.st_size - len(data))):
            data += more
        return StoredObject(data, status.st_mtime_ns)
    finally:
        os.close(file)


def _generation(fd: int, name: str) -> int | None:
    try:
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(status.st_mode):
        refuse_link(fd, name)
    return status.st_mtime_ns if stat.S_ISREG(status.st_mode) else None


def _create(fd: int, name: str, data: bytes, key: str) -> int | None:
    """A new file that gets its name when it is whole; None when the name is taken.

    Of four processes that write at once each was twice as fast as by way of the staging folder,
    which one at a time can change.
    """
    file, generation = write_unnamed(fd, data)
    try:
        name_unnamed(file, fd, name)
    except FileExistsError:
        _taken(fd, name, key)
        return None
    finally:
        os.close(file)
    return generation


def _taken(fd: int, name: str, key: str) -> None:
    """A name is in use: by an object, else Conflict."""
    if _generation(fd, name) is None:
        raise _folder_in_the_way(key) from None


def _link(source_fd: int, source: str, fd: int, name: str, key: str) -> bool:
    """Give a finished file its name; False when the name is taken."""
    try:
        os.link(source, name, src_dir_fd=source_fd, dst_dir_fd=fd, follow_symlinks=False)
    except FileExistsError:
        _taken(fd, name, key)
        return False
    return True


def _folder_in_the_way(key: str) -> Conflict:
    return Conflict(
        f"'{key}' is the beginning of other objects' keys, so it can not be an object",
        fix="choose a key that is not a folder of the store",
        details={"key": key},
    )


def _walk(fd: int, folder: str, prefix: str, after: str) -> Iterator[ObjectMeta]:
    """Objects below an open folder in the order of their keys; `folder` ends in a slash."""
    with os.scandir(fd) as entries:
        # A folder sorts as what its keys go on with: 'a-b' comes before 'a/b'.
        names = sorted(
            entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name
            for entry in entries
            if folder or entry.name != _STAGING
        )
    for name in names:
        key = folder + name
        if not (key.startswith(prefix) or prefix.startswith(key)):
            continue
        if name.endswith("/"):
            if key > after or after.startswith(key):
                yield from _walk_below(fd, name[:-1], key, prefix, after)
        elif key > after and key.startswith(prefix):
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                yield ObjectMeta(key, status.st_mtime_ns, status.st_size)


def _walk_below(fd: int, name: str, folder: str, prefix: str, after: str) -> Iterator[ObjectMeta]:
    below = descend(fd, name)
    if below is None:
        return
    try:
        yield from _walk(below, folder, prefix, after)
    finally:
        os.close(below)
