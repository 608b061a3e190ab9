"""What an IO is: it turns a value into files of one version, and files into a value.

An IO never sees a bucket or a tenant: it gets an `OutputTarget` that writes create-only below
the version's prefix, or an `InputSource` that reads the files which a `_commit` names.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from arco_flow.domain.errors import ArcoError, Conflict, InvalidInput, OutcomeUnknown
from arco_flow.domain.wire import canonical_json, sha256_hex
from arco_flow.ports.objects import Objects

if TYPE_CHECKING:
    from arco_flow.io.commit import CommitMarker

VERIFY_BYTES = 8 * 1024 * 1024
"""Files up to this size are compared by digest when they are loaded, larger ones by size."""


class ValueRefused(InvalidInput):
    """The value that an asset returned can not be stored as declared, or loaded as annotated."""

    reason = "VALUE_REFUSED"


class VersionDamaged(ArcoError):
    """The files of a committed version are not those that its marker describes."""

    reason = "VERSION_DAMAGED"


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One data file of a version: name below the prefix, size in bytes, hexadecimal SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class OutputInfo:
    """What was saved.

    row_count: None where rows have no meaning. byte_size: sum of the files. schema: (column,
    type) in column order, types named alike for every library. Hashes are `sha256:…`, empty
    where there is no schema or no data. metadata: what the IO wants shown beside the user's.
    """

    files: tuple[FileInfo, ...] = ()
    row_count: int | None = None
    byte_size: int = 0
    schema: tuple[tuple[str, str], ...] = ()
    schema_hash: str = ""
    content_hash: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of_files(
        cls,
        *files: FileInfo,
        row_count: int | None = None,
        schema: tuple[tuple[str, str], ...] = (),
        metadata: Mapping[str, object] | None = None,
    ) -> OutputInfo:
        """Derive the size and both hashes from the files and the schema."""
        return cls(
            files=files,
            row_count=row_count,
            byte_size=sum(file.size for file in files),
            schema=schema,
            schema_hash=schema_hash_of(schema),
            content_hash=content_hash_of(files),
            metadata=dict(metadata or {}),
        )


def schema_hash_of(schema: tuple[tuple[str, str], ...]) -> str:
    """`sha256:…` of the canonical JSON of (name, type) pairs; empty without a schema."""
    return "sha256:" + sha256_hex(canonical_json(schema)) if schema else ""


def content_hash_of(files: tuple[FileInfo, ...]) -> str:
    """`sha256:…` of the one data file, or of the (name, digest) list of several."""
    if not files:
        return ""
    if len(files) == 1:
        return "sha256:" + files[0].sha256
    pairs = [[file.name, file.sha256] for file in sorted(files, key=lambda file: file.name)]
    return "sha256:" + sha256_hex(canonical_json(pairs))


@dataclass(frozen=True, slots=True)
class OutputTarget:
    """Where one version's files go: create-only, so that a version never changes.

    prefix: folder of the version with the final slash. asset: its key, for messages.
    """

    objects: Objects
    prefix: str
    asset: str = ""

    def put(self, name: str, data: bytes) -> FileInfo:
        """Create a file from bytes. Raises Conflict when another content is there."""
        info = FileInfo(name, len(data), sha256_hex(data))
        self._create(info, lambda key: self.objects.put_if_absent(key, data))
        return info

    def put_path(self, name: str, path: str) -> FileInfo:
        """Create a file from a local one, which may be moved. Raises Conflict like put."""
        with open(path, "rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
        info = FileInfo(name, os.path.getsize(path), digest)
        self._create(info, lambda key: self.objects.put_file_if_absent(key, path))
        return info

    @contextlib.contextmanager
    def open_path(self, suffix: str = "") -> Iterator[str]:
        """A local path to write to, removed afterwards; hand it to put_path inside the block."""
        with tempfile.TemporaryDirectory(prefix="arco-flow-") as folder:
            yield os.path.join(folder, "data" + suffix)

    def _create(self, info: FileInfo, create: _Create) -> None:
        if info.name.startswith("_"):
            raise InvalidInput(
                f"data file name '{info.name}' starts with '_', which is kept for markers",
                fix="give the file another name in the IO's save()",
            )
        key = self.prefix + info.name
        try:
            if create(key) is not None:
                return
        except OutcomeUnknown:
            # It may have landed: what is stored decides, never the error (reliability B14).
            if self.objects.get(key) is None:
                raise
        stored = self.objects.get(key)
        if stored is None or sha256_hex(stored.data) != info.sha256:
            raise Conflict(
                f"'{info.name}' of this version exists already with another content",
                where=key,
                fix="an attempt writes its version once: return the value, or call "
                "context.output() once, not both",
                reason="VERSION_FILE_CONFLICT",
            )


class _Create(Protocol):
    def __call__(self, key: str) -> int | None: ...


@dataclass(frozen=True, slots=True)
class InputSource:
    """A committed version to be read.

    commit: its marker. asset: key of the asset that it belongs to, for messages.
    """

    objects: Objects
    prefix: str
    commit: CommitMarker
    asset: str = ""

    def file(self) -> FileInfo:
        """The only data file. Raises VersionDamaged when the marker names none or several."""
        if len(self.commit.files) != 1:
            raise VersionDamaged(
                f"the version of '{self.asset}' names {len(self.commit.files)} data files, "
                f"its IO '{self.commit.io}' reads exactly one",
                where=self.prefix,
            )
        return self.commit.file_infos()[0]

    def read(self, info: FileInfo) -> bytes:
        """Content of a file, verified. Raises VersionDamaged."""
        stored = self.objects.get(self.prefix + info.name)
        if stored is None:
            raise self._damaged(info, "is missing")
        self._verify(info, len(stored.data), lambda: sha256_hex(stored.data))
        return stored.data

    def open(self, info: FileInfo) -> str | bytes:
        """A local path where the store has one, else the content; verified either way."""
        path = self.objects.local_path(self.prefix + info.name)
        if path is None:
            return self.read(info)
        if not os.path.exists(path):
            raise self._damaged(info, "is missing")
        self._verify(info, os.path.getsize(path), lambda: _digest_of(path))
        return path

    def _verify(self, info: FileInfo, size: int, digest: _Digest) -> None:
        if size != info.size:
            raise self._damaged(info, f"has {size} bytes, its marker says {info.size}")
        if size <= VERIFY_BYTES and digest() != info.sha256:
            raise self._damaged(info, "has another SHA-256 than its marker says")

    def _damaged(self, info: FileInfo, what: str) -> VersionDamaged:
        return VersionDamaged(
            f"data file '{info.name}' of '{self.asset}' {what}",
            where=self.prefix,
            fix="materialize the upstream asset again; versions must not be edited by hand",
        )


class _Digest(Protocol):
    def __call__(self) -> str: ...


def _digest_of(path: str) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


class IO(Protocol):
    """Saves and loads the values of assets.

    name: stable; it is written into every version's marker and found again by it, so a renamed
    IO must stay registered under its old name as long as versions of it are to be read.
    """

    @property
    def name(self) -> str:
        """Stable name."""
        ...

    def save(self, value: object, target: OutputTarget) -> OutputInfo:
        """Write the value's files. Raises ValueRefused for a value that does not fit."""
        ...

    def load(self, source: InputSource, type_: object) -> object:
        """Read the value as the annotation `type_` asks. Raises ValueRefused, VersionDamaged."""
        ...
