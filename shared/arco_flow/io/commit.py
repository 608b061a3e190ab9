"""The `_commit` marker: the last object written into a version folder makes it exist.

Readers look at the marker only, so a worker that died half way leaves nothing visible. A marker
is never overwritten: a replay of the same attempt finds its own and is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from arco_flow.domain.errors import Conflict, NotFound, OutcomeUnknown
from arco_flow.io.base import FileInfo, OutputInfo, VersionDamaged
from arco_flow.ports.objects import Objects

COMMIT_NAME = "_commit"
COMMIT_VERSION = 1


class FileEntry(msgspec.Struct, frozen=True):
    """A data file as the marker names it: size in bytes, hexadecimal SHA-256."""

    name: str
    size: int
    sha256: str


class CommitMarker(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Content of `_commit`.

    task: short form `asset[partition]`. schema: [name, type] pairs in column order. checks: the
    results of the checks that ran before the commit. created_at: ISO 8601, for people only.
    """

    version: int = COMMIT_VERSION
    run_id: str = ""
    task: str = ""
    attempt: int = 0
    attempt_id: str
    io: str
    files: list[FileEntry] = []
    row_count: int | None = None
    byte_size: int = 0
    schema_hash: str = ""
    schema: list[tuple[str, str]] = []
    content_hash: str = ""
    checks: list[dict[str, Any]] = []
    metadata: dict[str, Any] = {}
    code_version_id: str = ""
    created_at: str = ""

    def file_infos(self) -> tuple[FileInfo, ...]:
        """The data files as the IOs use them."""
        return tuple(FileInfo(entry.name, entry.size, entry.sha256) for entry in self.files)


_decoder = msgspec.json.Decoder(CommitMarker)
# Sorted keys like every document of ours; not the fingerprint profile, because users put floats
# into metadata and check results, and no id is derived from these bytes.
_encoder = msgspec.json.Encoder(order="sorted")


def marker_of(
    output: OutputInfo,
    *,
    io: str,
    attempt_id: str,
    attempt: int,
    run_id: str,
    task: str,
    checks: Sequence[Mapping[str, object]] = (),
    metadata: Mapping[str, object] | None = None,
    code_version_id: str = "",
    created_at: str = "",
) -> CommitMarker:
    """Describe a saved output; the user's metadata wins over the IO's own."""
    return CommitMarker(
        run_id=run_id,
        task=task,
        attempt=attempt,
        attempt_id=attempt_id,
        io=io,
        files=[FileEntry(file.name, file.size, file.sha256) for file in output.files],
        row_count=output.row_count,
        byte_size=output.byte_size,
        schema_hash=output.schema_hash,
        schema=list(output.schema),
        content_hash=output.content_hash,
        checks=[dict(check) for check in checks],
        metadata={**output.metadata, **(metadata or {})},
        code_version_id=code_version_id,
        created_at=created_at,
    )


def write_commit(objects: Objects, prefix: str, marker: CommitMarker) -> CommitMarker:
    """Make the version under `prefix` exist; call it last.

    Returns the marker that stands, which is an earlier one on a replay of the same attempt.
    Raises Conflict when another attempt has committed this folder.
    """
    try:
        if objects.put_if_absent(prefix + COMMIT_NAME, _encoder.encode(marker)) is not None:
            return marker
    except OutcomeUnknown:
        if find_commit(objects, prefix) is None:
            raise
    standing = read_commit(objects, prefix)
    if standing.attempt_id != marker.attempt_id:
        raise Conflict(
            f"this version was committed by attempt {standing.attempt_id}, "
            f"not by {marker.attempt_id}",
            where=prefix,
            reason="VERSION_COMMITTED",
        )
    return standing


def read_commit(objects: Objects, prefix: str) -> CommitMarker:
    """The marker of a version. Raises NotFound when the version was never committed."""
    marker = find_commit(objects, prefix)
    if marker is None:
        raise NotFound(
            "this version does not exist: its folder holds no commit marker",
            where=prefix,
            fix="materialize the asset again; a folder without a marker is left by an attempt "
            "that died while writing",
            reason="VERSION_NOT_COMMITTED",
        )
    return marker


def find_commit(objects: Objects, prefix: str) -> CommitMarker | None:
    """The marker of a version, or None. Raises VersionDamaged when it can not be read."""
    stored = objects.get(prefix + COMMIT_NAME)
    if stored is None:
        return None
    try:
        return _decoder.decode(stored.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise VersionDamaged(f"unreadable commit marker: {error}", where=prefix) from error
