"""The object store on Cloud Storage: every write under a generation precondition.

Everything that is written carries the token of its writer as metadata: who is told that the
precondition did not hold, after an attempt without an answer, reads it back and compares.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

from arco_flow.adapters.gcp.operation_counts import OperationCounts
from arco_flow.adapters.gcp.pacing import Pace
from arco_flow.adapters.gcp.storage_http import GOOGLE_STORAGE, Answer, StorageHttp, refused
from arco_flow.adapters.gcp.storage_uploads import WRITER, Uploads, writer_token
from arco_flow.adapters.object_keys import object_key, object_prefix
from arco_flow.domain.errors import InvalidInput, Unavailable
from arco_flow.ports.objects import ObjectMeta, StoredObject

WHOLE_BYTES: Final = 32 * 1024 * 1024
"""A file of more is sent in parts beside each other."""
_PAGE: Final = 1000
_RACES: Final = 8


class CloudObjects:
    """`Objects` in one bucket; for several threads.

    emulator: URL of one; None: what STORAGE_EMULATOR_HOST says, as for the official client.
    whole_bytes: the largest file that is sent in one request.
    """

    def __init__(
        self,
        bucket: str,
        *,
        emulator: str | None = None,
        counts: OperationCounts | None = None,
        pace: Pace | None = None,
        whole_bytes: int = WHOLE_BYTES,
    ) -> None:
        if emulator is None:
            emulator = os.environ.get("STORAGE_EMULATOR_HOST", "")
        self._http = StorageHttp(emulator or GOOGLE_STORAGE, counts, pace)
        self._objects = f"/storage/v1/b/{quote(bucket, safe='')}/o"
        self._uploads = Uploads(self._http, bucket)
        self._whole_bytes = whole_bytes

    def close(self) -> None:
        """Close the kept connections; it can be used on."""
        self._http.close()

    def get(self, key: str) -> StoredObject | None:
        """See Objects."""
        key = object_key(key)
        answer = self._http.send("object_reads", "GET", f"{self._object(key)}?alt=media")
        if _is_absent(answer):
            return None
        if answer.status != 200:
            raise refused(answer, f"to read '{key}'")
        return StoredObject(answer.body, int(answer.headers["x-goog-generation"]))

    def put_if_absent(self, key: str, data: bytes) -> int | None:
        """See Objects."""
        return self._put(object_key(key), data, 0)

    def put_if_generation(self, key: str, data: bytes, generation: int) -> int | None:
        """See Objects. None too when ours was overwritten before it was answered."""
        return self._put(object_key(key), data, generation)

    def put_file_if_absent(self, key: str, path: str) -> int | None:
        """See Objects. The file is gone when it became the object, else left alone.

        Raises InvalidInput when there is no such file.
        """
        key = object_key(key)
        if not os.path.isfile(path):
            raise InvalidInput(f"there is no file '{path}' to store as '{key}'")
        if os.path.getsize(path) <= self._whole_bytes:
            with open(path, "rb") as file:
                generation = self._put(key, file.read(), 0)
        elif self._metadata(key) is not None:
            generation = None
        else:
            token = writer_token()
            composed = self._uploads.compose(key, path, self._whole_bytes, token)
            generation = self._written(key, composed, token)
        if generation is not None:
            os.unlink(path)
        return generation

    def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[ObjectMeta]:
        """See Objects."""
        prefix = object_prefix(prefix)
        found: list[ObjectMeta] = []
        token = ""
        while len(found) < limit:
            page = self._page(prefix, after, token, limit - len(found))
            items: Sequence[dict[str, Any]] = page.get("items", ())
            metas = (ObjectMeta(i["name"], int(i["generation"]), int(i["size"])) for i in items)
            found += [meta for meta in metas if meta.key > after]
            token = page.get("nextPageToken", "")
            if not token:
                break
        return found[:limit]

    def delete(self, key: str) -> bool:
        """See Objects. The generation that was seen is deleted, so that a repetition does not
        remove what somebody has written meanwhile."""
        key = object_key(key)
        for _ in range(_RACES):
            found = self._metadata(key)
            if found is None:
                return False
            query = f"?ifGenerationMatch={found['generation']}"
            answer = self._http.send("object_deletes", "DELETE", self._object(key) + query)
            is_gone = answer.status == 412 or _is_absent(answer)
            if answer.status in (200, 204) or (is_gone and answer.maybe):
                return True
            if not is_gone:
                raise refused(answer, f"to delete '{key}'")
        raise Unavailable(f"'{key}' is written again and again, so it can not be deleted")

    def local_path(self, key: str) -> str | None:
        """None: what is stored is far away."""
        object_key(key)
        return None

    def _object(self, key: str) -> str:
        return f"{self._objects}/{quote(key, safe='')}"

    def _put(self, key: str, data: bytes, generation: int) -> int | None:
        token = writer_token()
        return self._written(key, self._uploads.whole(key, data, generation, token), token)

    def _written(self, key: str, answer: Answer, token: str) -> int | None:
        """The generation of a write that was answered; None when its precondition did not hold."""
        if answer.status == 200:
            return int(json.loads(answer.body)["generation"])
        if answer.status != 412:
            raise refused(answer, f"to write '{key}'")
        found = self._metadata(key) if answer.maybe else None
        if found is None or found.get("metadata", {}).get(WRITER) != token:
            return None
        return int(found["generation"])

    def _metadata(self, key: str) -> dict[str, Any] | None:
        """Generation and metadata of an object, or None."""
        path = f"{self._object(key)}?fields=generation,metadata"
        answer = self._http.send("object_reads", "GET", path)
        if _is_absent(answer):
            return None
        if answer.status != 200:
            raise refused(answer, f"to look at '{key}'")
        found: dict[str, Any] = json.loads(answer.body)
        return found

    def _page(self, prefix: str, after: str, token: str, wanted: int) -> dict[str, Any]:
        # Keys begin at `after` itself there, which is left out here.
        query: dict[str, Any] = {
            "prefix": prefix,
            "maxResults": min(wanted + 1, _PAGE),
            "fields": "items(name,generation,size),nextPageToken",
        }
        query |= {"startOffset": after} if after else {}
        query |= {"pageToken": token} if token else {}
        path = f"{self._objects}?{urlencode(query, quote_via=quote)}"
        answer = self._http.send("object_writes", "GET", path)
        if answer.status != 200:
            raise refused(answer, f"to list '{prefix}'")
        page: dict[str, Any] = json.loads(answer.body)
        return page


def _is_absent(answer: Answer) -> bool:
    """Whether there is no such object; a bucket that does not exist is another trouble."""
    return answer.status == 404 and b"bucket does not exist" not in answer.body
