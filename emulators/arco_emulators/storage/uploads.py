"""Uploads: in one request, in one request with metadata, and in resumable pieces."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from arco_emulators.storage.conditions import Conditions
from arco_emulators.storage.content import Content, Spool
from arco_emulators.storage.errors import StorageError, invalid, required
from arco_emulators.storage.http import Disconnected, Operation, Request, Response, json_object
from arco_emulators.storage.resources import object_resource
from arco_emulators.storage.state import Storage, StoredObject

QUANTUM_BYTES = 256 * 1024
"""Pieces that are not the last are kept in multiples of this."""

CANCELLED = 499

_BOUNDARY = re.compile(r'boundary="?([^";]+)"?', re.IGNORECASE)
_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class Target:
    """Where content goes, and under what conditions."""

    bucket: str
    name: str
    metadata: dict[str, Any]
    conditions: Conditions
    base_url: str
    checksums: str
    """The header x-goog-hash."""

    @classmethod
    def of(cls, request: Request, bucket: str, metadata: dict[str, Any]) -> Target:
        """Read it off a request. Errors: StorageError 400."""
        return cls(
            bucket,
            _name(request, metadata),
            metadata,
            Conditions.of(request.query),
            request.base_url,
            request.headers.get("x-goog-hash", ""),
        )


@dataclass(slots=True)
class Session:
    """A resumable upload under way, or finished."""

    target: Target
    spool: Spool
    stored: StoredObject | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """What a Content-Range says.

    start: position of the first byte; None asks only how far the upload has come.
    total: size of the whole; None when it is not known yet.
    last: nothing comes after this piece, because no Content-Range was given.
    """

    start: int | None
    total: int | None
    last: bool = False

    @classmethod
    def of(cls, header: str | None) -> Piece:
        """Without the header, the request holds all. Errors: StorageError 400."""
        if header is None:
            return cls(0, None, last=True)
        found = _RANGE.fullmatch(header)
        if found is None:
            raise invalid(f"Invalid Content-Range: {header}")
        start, _, total = found.groups()
        return cls(None if start is None else int(start), None if total == "*" else int(total))

    def completes(self, size: int) -> bool:
        """Whether nothing is missing, now that so many bytes are kept."""
        return self.last or self.total == size


class Uploads:
    """Reads uploads; what they do to the storage is done when their operation is applied."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._sessions: dict[str, Session] = {}

    async def media(self, request: Request, bucket: str) -> Operation:
        """`uploadType=media`: the body is the content."""
        kind = request.headers.get("content-type", "application/octet-stream")
        target = Target.of(request, bucket, {"contentType": kind})
        return self._insert(target, self._spooled(await request.body()))

    async def multipart(self, request: Request, bucket: str) -> Operation:
        """`uploadType=multipart`: metadata in JSON, then the content."""
        kind = request.headers.get("content-type", "")
        metadata, content_type, data = _parts(kind, await request.body())
        target = Target.of(request, bucket, {"contentType": content_type, **metadata})
        return self._insert(target, self._spooled(data))

    async def begin(self, request: Request, bucket: str) -> Operation:
        """`uploadType=resumable`: a new session."""
        kind = request.headers.get("x-upload-content-type", "application/octet-stream")
        metadata = {"contentType": kind, **await request.json()}
        target = Target.of(request, bucket, metadata)

        def apply() -> Response:
            self._storage.bucket(bucket)
            upload_id = secrets.token_urlsafe(24)
            self._sessions[upload_id] = Session(target, Spool(self._storage.folder))
            where = f"{target.base_url}/upload/storage/v1/b/{quote(bucket, safe='')}/o"
            location = f"{where}?uploadType=resumable&upload_id={upload_id}"
            return Response(200, {"location": location, "x-guploader-uploadid": upload_id})

        return Operation("uploads.begin", (bucket, target.name), apply)

    async def resume(self, request: Request, upload_id: str) -> Operation:
        """Take a piece, or tell how far the upload has come.

        Errors: StorageError 400, 404 for an unknown session, 503 for a piece that leaves a gap.
        """
        session = self._session(upload_id)
        piece = Piece.of(request.headers.get("content-range"))
        try:
            data = await request.body()
        except Disconnected as broken:
            if session.stored is None:
                _append(session.spool, Piece(piece.start, None), broken.received)
            raise
        end = (piece.start or 0) + len(data) if data else session.spool.size
        path = (session.target.bucket, session.target.name)
        header = request.headers.get("x-goog-hash", "")
        if session.stored is None and piece.completes(end):
            return Operation(
                "objects.insert",
                path,
                lambda: self._finish(session, piece, data, header),
                writes=True,
            )
        return Operation("uploads.resume", path, lambda: _kept(session, piece, data))

    def cancel(self, upload_id: str) -> Operation:
        """Forget a session. Errors: StorageError 404."""
        session = self._session(upload_id)

        def apply() -> Response:
            self._sessions.pop(upload_id, session).spool.discard()
            return Response(CANCELLED)

        return Operation("uploads.cancel", (session.target.bucket, session.target.name), apply)

    def _session(self, upload_id: str) -> Session:
        session = self._sessions.get(upload_id)
        if session is None:
            raise StorageError(404, "notFound", f"No such upload: {upload_id}")
        return session

    def _spooled(self, data: bytes) -> Content:
        spool = Spool(self._storage.folder)
        spool.append(data)
        return spool.seal()

    def _insert(self, target: Target, content: Content) -> Operation:
        def apply() -> Response:
            return _shown(self._store(target, content), target)

        return Operation("objects.insert", (target.bucket, target.name), apply, writes=True)

    def _finish(self, session: Session, piece: Piece, data: bytes, header: str) -> Response:
        if session.stored is None:
            _append(session.spool, piece, data)
            target = replace(session.target, checksums=header or session.target.checksums)
            session.stored = self._store(target, session.spool.seal())
        return _shown(session.stored, session.target)

    def _store(self, target: Target, content: Content) -> StoredObject:
        _verify(content, target)
        return self._storage.put(
            target.bucket, target.name, content, target.metadata, target.conditions
        )


def _kept(session: Session, piece: Piece, data: bytes) -> Response:
    """Keep a piece that is not the last, and tell how far the upload has come."""
    if session.stored is not None:
        return _shown(session.stored, session.target)
    if piece.start is not None:
        _append(session.spool, piece, data)
    size = session.spool.size
    return Response(308, {"range": f"bytes=0-{size - 1}"} if size else {})


def _append(spool: Spool, piece: Piece, data: bytes) -> None:
    """Add what is not kept yet."""
    start = piece.start or 0
    if start > spool.size:
        raise StorageError(
            503,
            "backendError",
            "Invalid request.  According to the Content-Range header, the upload offset is "
            f"{start} byte(s), which exceeds already uploaded size of {spool.size} byte(s).",
        )
    size = start + len(data)
    if piece.total is not None and size > piece.total:
        raise invalid(f"{size} bytes came, but the Content-Range tells of {piece.total}")
    spool.append(data[spool.size - start :])
    if not piece.completes(spool.size):
        spool.truncate(spool.size - spool.size % QUANTUM_BYTES)


def _shown(stored: StoredObject, target: Target) -> Response:
    return Response.json(object_resource(stored, target.base_url))


def _name(request: Request, metadata: dict[str, Any]) -> str:
    asked, told = request.query.get("name"), metadata.get("name")
    if asked is not None and told is not None and asked != told:
        raise invalid(f"Value '{told}' in content does not agree with value '{asked}'.")
    name = asked if asked is not None else told
    if not isinstance(name, str) or not name:
        raise required("name")
    return name


def _parts(content_type: str, body: bytes) -> tuple[dict[str, Any], str, bytes]:
    """Metadata, content type and content of a multipart body."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise invalid("Missing multipart boundary in the Content-Type header")
    line = b"--" + found[1].encode("latin-1")
    second = body.find(b"\r\n" + line, len(line))
    last = body.rfind(b"\r\n" + line + b"--")
    if not body.startswith(line) or second < 0 or last <= second:
        raise invalid("Malformed multipart body: two parts are expected")
    _, metadata = _part(body[len(line) : second])
    kind, data = _part(body[second + 2 + len(line) : last])
    return json_object(metadata), kind, data


def _part(part: bytes) -> tuple[str, bytes]:
    head, split, data = part.partition(b"\r\n\r\n")
    if not split:
        raise invalid("Malformed multipart body: a part has no empty line after its headers")
    for header in head.split(b"\r\n"):
        name, _, value = header.partition(b":")
        if name.strip().lower() == b"content-type":
            return value.strip().decode("latin-1"), data
    return "application/octet-stream", data


def _verify(content: Content, target: Target) -> None:
    """Compare the checksums that the caller gave. Errors: StorageError 400."""
    given = dict(part.strip().partition("=")[::2] for part in target.checksums.split(",") if part)
    for label, key, name, actual in (
        ("CRC32C", "crc32c", "crc32c", content.crc32c),
        ("MD5 hash", "md5Hash", "md5", content.md5),
    ):
        for said in (target.metadata.get(key), given.get(name)):
            if said is not None and said != actual:
                raise invalid(
                    f'Provided {label} "{said}" doesn\'t match calculated {label} "{actual}".'
                )
