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
from arco_flow.adapters.gcp.firestore_queries import in_range
from arco_flow.adapters.gcp.messages import message_class
from arco_flow.domain.errors import Unavailable


@contextmanager
def answering(kind: str, *answers: Any) -> Iterator[str]:
    """Address of a server that answers every call with these, one after the other."""

    class Handler(grpc.GenericRpcHandler):
        def service(self, _details: Any) -> Any:
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
