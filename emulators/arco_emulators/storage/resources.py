"""Buckets and objects as the JSON API shows them, and objects' bytes as it serves them."""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from arco_emulators.storage.content import Content
from arco_emulators.storage.errors import StorageError
from arco_emulators.storage.http import Response
from arco_emulators.storage.state import Bucket, StoredObject

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def bucket_resource(bucket: Bucket, base_url: str) -> dict[str, Any]:
    """A bucket's metadata."""
    return {
        "kind": "storage#bucket",
        "id": bucket.name,
        "name": bucket.name,
        "selfLink": f"{base_url}/storage/v1/b/{quote(bucket.name, safe='')}",
        "projectNumber": "0",
        "location": "US",
        "locationType": "multi-region",
        "storageClass": "STANDARD",
        **bucket.fields,
        "metageneration": str(bucket.metageneration),
        "timeCreated": bucket.created,
        "updated": bucket.updated,
        "etag": bucket.etag,
    }


def object_resource(stored: StoredObject, base_url: str) -> dict[str, Any]:
    """An object's metadata. One that was composed has no MD5 hash, as in the service."""
    path = f"storage/v1/b/{quote(stored.bucket, safe='')}/o/{quote(stored.name, safe='')}"
    media = f"{base_url}/download/{path}?generation={stored.generation}&alt=media"
    shown: dict[str, Any] = {
        "kind": "storage#object",
        "id": f"{stored.bucket}/{stored.name}/{stored.generation}",
        "selfLink": f"{base_url}/{path}",
        "mediaLink": media,
        "name": stored.name,
        "bucket": stored.bucket,
        **stored.fields,
        "generation": str(stored.generation),
        "metageneration": str(stored.metageneration),
        "size": str(stored.content.size),
        "crc32c": stored.content.crc32c,
        "etag": stored.etag,
        "timeCreated": stored.created,
        "updated": stored.updated,
        "timeStorageClassUpdated": stored.created,
    }
    if stored.components is None:
        shown["md5Hash"] = stored.content.md5
    else:
        shown["componentCount"] = stored.components
    return shown


def media(stored: StoredObject, headers: Mapping[str, str]) -> Response:
    """An object's bytes, all or the range that is asked for. Errors: StorageError 416."""
    shown = _media_headers(stored)
    encoding = stored.fields.get("contentEncoding")
    if encoding == "gzip" and "gzip" not in headers.get("accept-encoding", ""):
        data = gzip.decompress(stored.content.read())
        return Response(200, {**shown, "warning": "214 UploadServer gunzipped"}, data)
    if encoding:
        shown["content-encoding"] = encoding
    content = stored.content
    asked = _RANGE.fullmatch(headers.get("range", ""))
    if asked is None:
        return Response(200, shown, content.chunks(), content.size)
    start, end = _range(asked[1], asked[2], content)
    shown["content-range"] = f"bytes {start}-{end - 1}/{content.size}"
    return Response(206, shown, content.chunks(start, end), end - start)


class RangeNotSatisfiable(StorageError):
    """416: no byte of the range exists."""

    def __init__(self, size: int) -> None:
        super().__init__(
            416, "requestedRangeNotSatisfiable", "The requested range cannot be satisfied."
        )
        self.content_range = f"bytes */{size}"


def _range(first: str, last: str, content: Content) -> tuple[int, int]:
    """First byte, and the one after the last. `-n` means the last n bytes."""
    size = content.size
    if not first:
        start, end = max(0, size - int(last or 0)), size
    else:
        start, end = int(first), min(int(last) + 1 if last else size, size)
    if start >= end:
        raise RangeNotSatisfiable(size)
    return start, end


def _media_headers(stored: StoredObject) -> dict[str, str]:
    content, given = stored.content, stored.fields
    checksums = f"crc32c={content.crc32c}"
    if stored.components is None:
        checksums += f",md5={content.md5}"
    headers = {
        "content-type": given.get("contentType", "application/octet-stream"),
        "etag": stored.etag,
        "last-modified": _http_date(stored.updated),
        "x-goog-generation": str(stored.generation),
        "x-goog-metageneration": str(stored.metageneration),
        "x-goog-hash": checksums,
        "x-goog-storage-class": given.get("storageClass", "STANDARD"),
        "x-goog-stored-content-encoding": given.get("contentEncoding", "identity"),
        "x-goog-stored-content-length": str(content.size),
    }
    for key, header in (
        ("cacheControl", "cache-control"),
        ("contentDisposition", "content-disposition"),
        ("contentLanguage", "content-language"),
    ):
        if key in given:
            headers[header] = given[key]
    return headers


def _http_date(moment: str) -> str:
    return datetime.fromisoformat(moment).strftime("%a, %d %b %Y %H:%M:%S GMT")
