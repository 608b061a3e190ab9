"""Answers of Firestore that its emulator never gives, from a server of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from arco_flow.adapters.gcp.firestore_calls import FirestoreCalls
from arco_flow.adapters.gcp.firestore_leases import Leases
from arco_flow.adapters.gcp.firestore_queries import in_range
from arco_flow.adapters.gcp.messages import message_class
from arco_flow.adapters.gcp.server_time import ServerTime
from arco_flow.domain.errors import Unavailable
from arco_flow.ports.store import Lease


@contextmanager
def answering(kind: str, *answers: Any, commit: Any = None) -> Iterator[str]:
    """Address of a server that answers every read with these, and every commit with that."""

    class Handler(grpc.GenericRpcHandler):
        def service(self, handler_call_details: Any) -> Any:
            if handler_call_details.method.endswith("/Commit"):
                raw = commit.SerializeToString()
                return grpc.unary_unary_rpc_method_handler(lambda _request, _context: raw)
            serializer = message_class(kind).SerializeToString
            return grpc.unary_stream_rpc_method_handler(
                lambda _request, _context: iter(answers), response_serializer=serializer
            )

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Handler()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


READ = "google.firestore.v1.BatchGetDocumentsResponse"
AGGREGATION = "google.firestore.v1.RunAggregationQueryResponse"


def progress(seconds: int) -> Any:
    """What a long query answers on its way: the time, and no result yet."""
    made = message_class(AGGREGATION)()
    made.read_time.seconds = seconds
    return made


def result(number: int) -> Any:
    made = progress(1_800_000_000)
    made.result.aggregate_fields["count"].integer_value = number
    return made


def counted(*answers: Any) -> int:
    with answering(AGGREGATION, *answers) as address:

        async def main() -> int:
            calls = FirestoreCalls("shop", emulator=address)
            try:
                return await calls.count(in_range(calls.root, "rows", "a", "b"))
            finally:
                await calls.close()

        return asyncio.run(main())


@pytest.mark.parametrize("number", [0, 7])
def test_a_count_is_read_from_the_answer_that_has_one(number: int) -> None:
    assert counted(result(number)) == number
    assert counted(progress(1_800_000_000), result(number)) == number
    assert counted(result(number), progress(1_800_000_001)) == number


@pytest.mark.parametrize("answers", [(), (progress(1_800_000_000),)])
def test_an_answer_without_a_count_is_not_taken_for_none(answers: tuple[Any, ...]) -> None:
    with pytest.raises(Unavailable, match="Firestore has counted nothing"):
        counted(*answers)


class Clock:
    """A monotonic clock that stands at 1 s; `at_reading`: what it shows instead, by reading."""

    def __init__(self, **at_reading: int) -> None:
        self._at = {int(name[1:]): seconds for name, seconds in at_reading.items()}
        self._readings = 0
        self._seconds = 1

    def __call__(self) -> int:
        self._readings += 1
        self._seconds = self._at.get(self._readings, self._seconds)
        return self._seconds * 1_000_000_000


def test_a_process_that_stood_still_after_a_read_reads_the_time_again_for_its_lease() -> None:
    read = message_class(READ)()
    read.missing, read.read_time.seconds = "x", 1_800_000_000
    written = message_class("google.firestore.v1.CommitResponse")()
    written.commit_time.seconds = 1_800_000_000
    # The second reading is that of the lease, after the answer has come in.
    clock = Clock(_2=91)
    with answering(READ, read, commit=written) as address:

        async def main() -> Lease | None:
            calls = FirestoreCalls("shop", emulator=address, time=ServerTime(clock))
            try:
                return await Leases(calls).acquire("sweeper", "me", 15_000)
            finally:
                await calls.close()

        lease = asyncio.run(main())
    assert lease == Lease("sweeper", "me", 1, 1_800_000_000_000 + 15_000)
