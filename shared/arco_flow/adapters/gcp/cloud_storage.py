"""The object store on Cloud Storage: every write under a generation precondition."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

from arco_flow.adapters.gcp.operation_counts import OperationCounts
from arco_flow.adapters.gcp.storage_http import GOOGLE_STORAGE, Answer, StorageHttp, refused
from arco_flow.adapters.object_keys import object_key, object_prefix
from arco_flow.domain.errors import InvalidInput
from arco_flow.ports.objects import ObjectMeta, StoredObject

CHUNK_BYTES: Final = 16 * 1024 * 1024
"""A file of more is sent in chunks of a resumable upload, of which only the last one that failed
is sent again. A multiple of 256 KiB, as the service demands."""
_PAGE: Final = 1000


class CloudObjects:
    """`Objects` in one bucket; for several threads.

    emulator: URL of one; None: what STORAGE_EMULATOR_HOST says, as for the official client.
    """

    def __init__(
        self,
        bucket: str,
        *,
        emulator: str | None = None,
        counts: OperationCounts | None = None,
    ) -> None:
        if emulator is None:
            emulator = os.environ.get("STORAGE_EMULATOR_HOST", "")
        self._http = StorageHttp(emulator or GOOGLE_STORAGE, counts)
        self._objects = f"/storage/v1/b/{quote(bucket, safe='')}/o"
        self._uploads = f"/upload/storage/v1/b/{quote(bucket, safe='')}/o"

    def close(self) -> None:
        """Close the kept connections; it can be used on."""
        self._http.close()

    def get(self, key: str) -> StoredObject | None:
        """See Objects."""
        key = object_key(key)
        answer = self._http.send("object_reads", "GET", f"{self._object(key)}?alt=media")
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise refused(answer, f"to read '{key}'")
        return StoredObject(answer.body, int(answer.headers["x-goog-generation"]))

    def put_if_absent(self, key: str, data: bytes) -> int | None:
        """See Objects."""
        return self._put(object_key(key), data, 0)

    def put_if_generation(self, key: str, data: bytes, generation: int) -> int | None:
        """See Objects."""
        return self._put(object_key(key), data, generation)

    def put_file_if_absent(self, key: str, path: str) -> int | None:
        """See Objects. The file is gone when it became the object, else left alone.

        Raises InvalidInput when there is no such file.
        """
        key = object_key(key)
        if not os.path.isfile(path):
            raise InvalidInput(f"there is no file '{path}' to store as '{key}'")
        if os.path.getsize(path) <= CHUNK_BYTES:
            with open(path, "rb") as file:
                generation = self._put(key, file.read(), 0)
        else:
            generation = self._put_in_chunks(key, path)
        if generation is not None:
            os.unlink(path)
        return generation

    def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[ObjectMeta]:
        """See Objects."""
        prefix = object_prefix(prefix)
        found: list[ObjectMeta] = []
        token = ""
        while len(found) < limit:
            page = self._page(prefix, after, token)
            items: Sequence[dict[str, Any]] = page.get("items", ())
            metas = (ObjectMeta(i["name"], int(i["generation"]), int(i["size"])) for i in items)
            found += [meta for meta in metas if meta.key > after]
            token = page.get("nextPageToken", "")
            if not token:
                break
        return found[:limit]

    def delete(self, key: str) -> bool:
        """See Objects."""
        key = object_key(key)
        answer = self._http.send("object_deletes", "DELETE", self._object(key))
        if answer.status == 404:
            return answer.maybe
        if answer.status not in (200, 204):
            raise refused(answer, f"to delete '{key}'")
        return True

    def local_path(self, key: str) -> str | None:
        """None: what is stored is far away."""
        object_key(key)
        return None

    def _object(self, key: str) -> str:
        return f"{self._objects}/{quote(key, safe='')}"

    def _put(self, key: str, data: bytes, generation: int) -> int | None:
        query = urlencode(
            {"uploadType": "media", "name": key, "ifGenerationMatch": generation}, quote_via=quote
        )
        answer = self._http.send(
            "object_writes",
            "POST",
            f"{self._uploads}?{query}",
            body=data,
            headers={"content-type": "application/octet-stream"},
        )
        return self._written(key, answer, len(data), data)

    def _written(self, key: str, answer: Answer, size: int, data: bytes | None) -> int | None:
        """The generation of a write that was answered.

        A refused precondition has two meanings when an earlier attempt got no answer: somebody
        else was first, or we were. What is stored tells: if it is what we sent, it counts as ours.
        """
        if answer.status == 200:
            return int(json.loads(answer.body)["generation"])
        if answer.status != 412:
            raise refused(answer, f"to write '{key}'")
        if not answer.maybe:
            return None
        if data is None:
            return self._generation_of_size(key, size)
        stored = self.get(key)
        return stored.generation if stored is not None and stored.data == data else None

    def _generation_of_size(self, key: str, size: int) -> int | None:
        answer = self._http.send("object_reads", "GET", self._object(key))
        if answer.status != 200:
            return None
        found = json.loads(answer.body)
        return int(found["generation"]) if int(found["size"]) == size else None

    def _put_in_chunks(self, key: str, path: str) -> int | None:
        query = urlencode(
            {"uploadType": "resumable", "name": key, "ifGenerationMatch": 0}, quote_via=quote
        )
        begun = self._http.send("object_writes", "POST", f"{self._uploads}?{query}")
        if begun.status == 412:
            return None
        if begun.status != 200:
            raise refused(begun, f"to begin '{key}'")
        session = _path_of(begun.headers["location"])
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            start = 0
            while True:
                chunk = file.read(CHUNK_BYTES)
                span = f"bytes {start}-{start + len(chunk) - 1}/{size}"
                answer = self._http.send(
                    "object_writes", "PUT", session, body=chunk, headers={"content-range": span}
                )
                if answer.status != 308:
                    return self._written(key, answer, size, None)
                start = _next_byte(answer)
                file.seek(start)

    def _page(self, prefix: str, after: str, token: str) -> dict[str, Any]:
        wanted = {
            "prefix": prefix,
            "maxResults": _PAGE,
            "fields": "items(name,generation,size),nextPageToken",
        }
        if after:
            wanted["startOffset"] = after
        if token:
            wanted["pageToken"] = token
        path = f"{self._objects}?{urlencode(wanted, quote_via=quote)}"
        answer = self._http.send("object_writes", "GET", path)
        if answer.status != 200:
            raise refused(answer, f"to list '{prefix}'")
        page: dict[str, Any] = json.loads(answer.body)
        return page


def _path_of(url: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def _next_byte(answer: Answer) -> int:
    """How much of a resumable upload is stored: `range: bytes=0-N`; nothing without it."""
    kept = answer.headers.get("range", "")
    return int(kept.rpartition("-")[2]) + 1 if kept else 0
