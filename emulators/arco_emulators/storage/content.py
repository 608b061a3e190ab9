"""The bytes of objects: small ones in memory, large ones in files."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

import google_crc32c

IN_MEMORY_BYTES = 1024 * 1024
"""What is smaller stays in memory."""

CHUNK_BYTES = 1024 * 1024


class Content:
    """Bytes that do not change, with their checksums.

    A file goes when the last object that shares it has gone; who has it open reads on.
    """

    __slots__ = ("__weakref__", "_data", "_path", "crc32c", "md5", "size")

    def __init__(self, data: bytes, path: Path | None, size: int) -> None:
        """`data` is the whole content unless it lies in the file `path`."""
        self._data = data
        self._path = path
        self.size = size
        self.crc32c, self.md5 = _checksums(self.chunks())
        if path is not None:
            weakref.finalize(self, _remove, path)

    @classmethod
    def of(cls, data: bytes) -> Content:
        """Content that is held in memory."""
        return cls(data, None, len(data))

    def chunks(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from start up to, not including, end; at most a mebibyte at a time."""
        stop = self.size if end is None else end
        if self._path is None:
            for begin in range(start, stop, CHUNK_BYTES):
                yield self._data[begin : min(begin + CHUNK_BYTES, stop)]
            return
        with self._path.open("rb") as file:
            file.seek(start)
            while start < stop:
                chunk = file.read(min(CHUNK_BYTES, stop - start))
                start += len(chunk)
                yield chunk

    def read(self) -> bytes:
        """All of it."""
        return b"".join(self.chunks())


class Spool:
    """Takes up bytes as they arrive; a folder, where given, holds what grows large."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._data = bytearray()
        self._path: Path | None = None
        self.size = 0

    def append(self, data: bytes) -> None:
        """Add the bytes at the end."""
        self._data += data
        self.size += len(data)
        if self._folder is not None and len(self._data) >= IN_MEMORY_BYTES:
            self._flush(self._folder)

    def truncate(self, size: int) -> None:
        """Forget what comes after the first `size` bytes."""
        in_file = self.size - len(self._data)
        if size >= in_file:
            del self._data[size - in_file :]
        elif self._path is not None:
            self._data.clear()
            os.truncate(self._path, size)
        self.size = size

    def seal(self) -> Content:
        """The content. The spool is empty afterwards."""
        if self._path is None or self._folder is None:
            content = Content.of(bytes(self._data))
        else:
            self._flush(self._folder)
            content = Content(b"", self._path, self.size)
        self._data, self._path, self.size = bytearray(), None, 0
        return content

    def discard(self) -> None:
        """Forget everything."""
        if self._path is not None:
            _remove(self._path)
        self._data, self._path, self.size = bytearray(), None, 0

    def _flush(self, folder: Path) -> None:
        if self._path is None:
            descriptor, name = tempfile.mkstemp(dir=folder, prefix="object-")
            os.close(descriptor)
            self._path = Path(name)
        with self._path.open("ab") as file:
            file.write(self._data)
        self._data.clear()


def joined(contents: list[Content], folder: Path | None) -> Content:
    """One content after the other."""
    spool = Spool(folder)
    for content in contents:
        for chunk in content.chunks():
            spool.append(chunk)
    return spool.seal()


def _checksums(chunks: Iterator[bytes]) -> tuple[str, str]:
    """CRC32C (big endian) and MD5, both in base64 as the JSON API gives them."""
    crc = google_crc32c.Checksum()
    md5 = hashlib.md5(usedforsecurity=False)
    for chunk in chunks:
        crc.update(chunk)
        md5.update(chunk)
    return base64.b64encode(crc.digest()).decode(), base64.b64encode(md5.digest()).decode()


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
