"""How content gets into Cloud Storage: in one request, or in parts that are composed.

A large file is cut into at most 32 parts, which are sent beside each other, each in pieces of a
resumable upload, of which only the one that failed is sent again. The parts become the object in
one conditional request and are deleted. Those of a process that died are left under `_parts/`;
they carry a custom time, by which a lifecycle rule of the bucket (daysSinceCustomTime) finds them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from arco_flow.adapters.gcp.storage_http import Answer, StorageHttp, refused
from arco_flow.domain.errors import ArcoError, Unavailable

WRITER: Final = "writer"
"""The metadata that holds the token."""
PIECE_BYTES: Final = 16 * 1024 * 1024
"""Of a resumable upload; a multiple of 256 KiB, as the service demands."""
AT_ONCE: Final = 4
"""Parts under way: each holds one piece in memory."""
_MAX_PARTS: Final = 32
_LOST: Final = (404, 410)
"""Answers to a piece whose upload is not known any more: it has to begin anew."""
_BINARY: Final = "application/octet-stream"
_SCOPE: Final = re.compile(r"tenants/[^/]+/workspaces/[^/]+/")


class Part(NamedTuple):
    """A part of a file, and the object that holds it for a while."""

    key: str
    start: int
    size: int


def writer_token() -> str:
    """A token that no other write has."""
    return os.urandom(9).hex()


def parts_of(key: str, size: int, part_bytes: int, token: str) -> list[Part]:
    """The parts of a file of this size: as large as wanted, or as 32 of them have to be."""
    count = min(_MAX_PARTS, -(-size // part_bytes))
    share = -(-size // count)
    scope = _SCOPE.match(key)
    folder = f"{scope.group() if scope else ''}_parts/{token}"
    return [
        Part(f"{folder}/{number:02}", start, min(share, size - start))
        for number, start in enumerate(range(0, size, share))
    ]


class Uploads:
    """Uploads to one bucket."""

    def __init__(self, http: StorageHttp, bucket: str) -> None:
        self._http = http
        self._objects = f"/storage/v1/b/{quote(bucket, safe='')}/o"
        self._uploads = f"/upload/storage/v1/b/{quote(bucket, safe='')}/o"

    def whole(self, key: str, data: bytes, generation: int, token: str) -> Answer:
        """Write an object in one request, over this generation of it (0: there is none)."""
        metadata = {"name": key, "metadata": {WRITER: token}}
        line = f"--{token}".encode()
        body = b"\r\n".join(
            [
                line, b"content-type: application/json", b"", json.dumps(metadata).encode(),
                line, b"content-type: " + _BINARY.encode(), b"", data, line + b"--", b"",
            ]
        )  # fmt: skip
        query = urlencode({"uploadType": "multipart", "ifGenerationMatch": generation})
        headers = {"content-type": f"multipart/related; boundary={token}"}
        path = f"{self._uploads}?{query}"
        return self._http.send("object_writes", "POST", path, body=body, headers=headers)

    def compose(self, key: str, path: str, part_bytes: int, token: str) -> Answer:
        """Create an object of a file, in parts."""
        parts = parts_of(key, os.path.getsize(path), part_bytes, token)
        try:
            with ThreadPoolExecutor(AT_ONCE) as threads:
                sent = [threads.submit(self._send_part, part, path) for part in parts]
                try:
                    generations = [future.result() for future in sent]
                except BaseException:
                    threads.shutdown(cancel_futures=True)
                    raise
            return self._composed(key, parts, generations, token)
        finally:
            self._discard(parts)

    def _composed(self, key: str, parts: list[Part], generations: list[int], token: str) -> Answer:
        sources = [
            {"name": part.key, "generation": generation}
            for part, generation in zip(parts, generations, strict=True)
        ]
        destination = {"contentType": _BINARY, "metadata": {WRITER: token}}
        return self._http.send(
            "object_writes",
            "POST",
            f"{self._objects}/{quote(key, safe='')}/compose?ifGenerationMatch=0",
            body=json.dumps({"sourceObjects": sources, "destination": destination}).encode(),
            headers={"content-type": "application/json"},
        )

    def _send_part(self, part: Part, path: str) -> int:
        """Send one part by a resumable upload, and by another when the service has lost the first;
        its generation."""
        answer = self._uploaded(part, path)
        if answer.status in _LOST:
            answer = self._uploaded(part, path)
        if answer.status != 200:
            raise refused(answer, f"to take part '{part.key}'")
        return int(json.loads(answer.body)["generation"])

    def _uploaded(self, part: Part, path: str) -> Answer:
        """The answer that ends a resumable upload."""
        session = self._begin(part)
        with open(path, "rb") as file:
            for answer in self._pieces(session, part, file):
                if answer.status != 308:
                    return answer
        raise Unavailable(f"Cloud Storage does not keep the pieces of '{part.key}'")

    def _begin(self, part: Part) -> str:
        metadata = {"name": part.key, "customTime": datetime.now(UTC).isoformat()}
        begun = self._http.send(
            "object_writes",
            "POST",
            f"{self._uploads}?uploadType=resumable",
            body=json.dumps(metadata).encode(),
            headers={"content-type": "application/json", "x-upload-content-type": _BINARY},
        )
        if begun.status != 200:
            raise refused(begun, f"to begin part '{part.key}'")
        address = urlsplit(begun.headers["location"])
        return f"{address.path}?{address.query}"

    def _pieces(self, session: str, part: Part, file: Any) -> Iterator[Answer]:
        """Send the pieces from where the upload has come to; what is sent twice is kept once."""
        at = 0
        # Nearly all are kept as they come; a service that keeps nothing must not be asked for ever.
        for _ in range(2 * (part.size // PIECE_BYTES) + 4):
            file.seek(part.start + at)
            piece = file.read(min(PIECE_BYTES, part.size - at))
            span = {"content-range": f"bytes {at}-{at + len(piece) - 1}/{part.size}"}
            answer = self._http.send("object_writes", "PUT", session, body=piece, headers=span)
            yield answer
            at = next_byte(answer.headers)

    def _discard(self, parts: list[Part]) -> None:
        """Delete what is there of the parts; what can not be deleted now is left to the rule."""

        def discard(part: Part) -> None:
            with suppress(ArcoError):
                self._http.send(
                    "object_deletes", "DELETE", f"{self._objects}/{quote(part.key, safe='')}"
                )

        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(discard, parts))


def next_byte(headers: Mapping[str, str]) -> int:
    """How much of a resumable upload is stored: `range: bytes=0-N`; nothing without it."""
    kept = headers.get("range", "")
    return int(kept.rpartition("-")[2]) + 1 if kept else 0
