"""The calls to Firestore: what is sent, what it costs, what time it was there.

Reads are repeated until they are answered; a commit is sent once, and who sends it decides what
its answer means.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from arco_flow.adapters.gcp.failures import patiently
from arco_flow.adapters.gcp.firestore_wire import (
    BatchGetDocumentsRequest,
    CommitRequest,
    RunAggregationQueryRequest,
    RunQueryRequest,
)
from arco_flow.adapters.gcp.grpc_calls import GrpcCalls, Method
from arco_flow.adapters.gcp.operation_counts import OperationCounts
from arco_flow.adapters.gcp.pacing import Pace
from arco_flow.adapters.gcp.server_time import ServerTime
from arco_flow.domain.errors import TooLarge, Unavailable
from arco_flow.domain.page_size import PageSize

REQUEST_LIMIT_BYTES = 10 * 1024 * 1024 - 64 * 1024
"""Firestore takes 10 MiB; some of it are headers."""
EMULATOR_REQUEST_LIMIT_BYTES = 4 * 1024 * 1024 - 64 * 1024
"""Google's emulator takes no message over 4 MiB."""
_BATCH = 500
_OWNER = {"authorization": "Bearer owner"}
"""Whom the emulator takes for an administrator."""


def _method(name: str) -> Method:
    package = "google.firestore.v1"
    return Method(
        f"/{package}.Firestore/{name}", f"{package}.{name}Request", f"{package}.{name}Response"
    )


_GET = _method("BatchGetDocuments")
_QUERY = _method("RunQuery")
_AGGREGATE = _method("RunAggregationQuery")
_COMMIT = _method("Commit")


class FirestoreCalls:
    """One connection, to one database. Made and used in one event loop."""

    def __init__(
        self,
        project: str,
        database: str = "(default)",
        *,
        emulator: str | None = None,
        counts: OperationCounts | None = None,
        time: ServerTime | None = None,
        pace: Pace | None = None,
        interceptors: Sequence[Any] = (),
    ) -> None:
        """emulator: `host:port` of Google's emulator, which takes no credentials; None: what
        FIRESTORE_EMULATOR_HOST says, as for the official clients; "" = none.

        interceptors: of the connection to an emulator, so that tests can make it fail.
        """
        if emulator is None:
            emulator = os.environ.get("FIRESTORE_EMULATOR_HOST", "")
        self.time = time or ServerTime()
        self.pace = pace or Pace()
        self.request_limit_bytes = EMULATOR_REQUEST_LIMIT_BYTES if emulator else REQUEST_LIMIT_BYTES
        self.root = f"projects/{project}/databases/{database}/documents"
        self._database = f"projects/{project}/databases/{database}"
        self._counts = counts or OperationCounts()
        self._api = GrpcCalls(
            "firestore.googleapis.com:443",
            emulator=emulator,
            headers={
                "google-cloud-resource-prefix": self._database,
                **(_OWNER if emulator else {}),
            },
            interceptors=interceptors,
        )

    async def close(self) -> None:
        """Give the connection back."""
        await self._api.close()

    async def get(self, names: Sequence[str], fields: Sequence[str] = ()) -> dict[str, Any]:
        """The documents that are there, by `collection/id`; only these fields of them, if any."""
        found: dict[str, Any] = {}
        for start in range(0, len(names), _BATCH):
            batch = names[start : start + _BATCH]
            call = partial(self._get, batch, fields)
            documents = await patiently(self.pace, "Firestore BatchGetDocuments", call)
            self._counts.add("document_reads", len(batch))
            found.update(documents)
        return found

    async def query(self, query: Any, *, one_page: bool = False) -> list[Any]:
        """The documents that a query finds, in its order; one_page: the first, up to PAGE_BYTES of
        their bodies."""
        request = RunQueryRequest(parent=self.root, structured_query=query)

        async def call(_maybe: bool) -> list[Any]:
            page = PageSize()

            def is_last(answer: Any) -> bool:
                if not (one_page and answer.HasField("document")):
                    return False
                return page.is_reached(len(answer.document.fields["body"].bytes_value))

            answers = await self._stream(_QUERY, request, {"parent": self.root}, is_last)
            return [answer.document for answer in answers if answer.HasField("document")]

        found = await patiently(self.pace, "Firestore RunQuery", call)
        self._counts.add("document_reads", max(1, len(found)))
        return found

    async def count(self, query: Any) -> int:
        """How many documents a query finds."""
        request = RunAggregationQueryRequest(parent=self.root)
        request.structured_aggregation_query.structured_query.CopyFrom(query)
        aggregation = request.structured_aggregation_query.aggregations.add()
        aggregation.alias = "count"
        aggregation.count.SetInParent()

        async def call(_maybe: bool) -> int:
            answers = await self._stream(_AGGREGATE, request, {"parent": self.root})
            # Those without a result tell that it is being worked on.
            for answer in answers:
                if answer.HasField("result"):
                    return int(answer.result.aggregate_fields["count"].integer_value)
            raise Unavailable("Firestore has counted nothing")

        number = await patiently(self.pace, "Firestore RunAggregationQuery", call)
        self._counts.add("document_reads", max(1, -(-number // 1000)))
        return number

    async def commit(self, writes: Sequence[Any]) -> Any:
        """Apply all writes or none, in one attempt; answers their results.

        Raises TooLarge before the call, and what `GrpcCalls` does.
        """
        request = CommitRequest(database=self._database, writes=writes)
        self._check_size(request.ByteSize())
        deletes = sum(write.HasField("delete") for write in writes)
        # What fails is paid for as well.
        self._counts.add("document_deletes", deletes)
        self._counts.add("document_writes", len(writes) - deletes)
        route = {"database": self._database}
        answer = await self._api.unary(_COMMIT, request, route, self.pace.timeout_s)
        self.time.observe(answer.commit_time)
        return answer.write_results

    def name(self, path: str) -> str:
        """The full name of `collection/id`."""
        return f"{self.root}/{path}"

    async def _get(
        self, paths: Sequence[str], fields: Sequence[str], _maybe: bool
    ) -> dict[str, Any]:
        names = [self.name(path) for path in paths]
        request = BatchGetDocumentsRequest(database=self._database, documents=names)
        request.mask.field_paths.extend(fields)
        if not fields:
            request.ClearField("mask")
        answers = await self._stream(_GET, request, {"database": self._database})
        start = len(self.root) + 1
        found = (answer.found for answer in answers if answer.HasField("found"))
        return {document.name[start:]: document for document in found}

    async def _stream(
        self,
        method: Method,
        request: Any,
        route: Mapping[str, str],
        is_last: Callable[[Any], bool] = lambda _: False,
    ) -> list[Any]:
        answers = await self._api.stream(
            method, request, route, self.pace.timeout_s, is_last=is_last
        )
        if answers and answers[-1].HasField("read_time"):
            self.time.observe(answers[-1].read_time)
        return answers

    def _check_size(self, size: int) -> None:
        if size > self.request_limit_bytes:
            raise TooLarge(
                f"a commit of {size:,} bytes; Firestore takes {self.request_limit_bytes:,}",
                fix="fold fewer events at once, or keep large content in objects",
                details={"size": size, "limit": self.request_limit_bytes},
            )
