"""The table of what an error of Google's says of its call."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.api_core.exceptions import from_grpc_status
from google.auth.exceptions import RefreshError

from arco_flow.adapters.gcp.failures import Fate, failure, fate_of, patiently
from arco_flow.adapters.gcp.grpc_calls import NoCredentials
from arco_flow.adapters.gcp.pacing import Pace
from arco_flow.domain.errors import InvalidInput, OutcomeUnknown, Unavailable

TABLE = {
    "ALREADY_EXISTS": Fate.PRECONDITION,
    "FAILED_PRECONDITION": Fate.PRECONDITION,
    "NOT_FOUND": Fate.PRECONDITION,
    "ABORTED": Fate.LOCKED,
    "RESOURCE_EXHAUSTED": Fate.NOT_APPLIED,
    "UNAVAILABLE": Fate.UNKNOWN,
    "DEADLINE_EXCEEDED": Fate.UNKNOWN,
    "UNKNOWN": Fate.UNKNOWN,
    "INTERNAL": Fate.UNKNOWN,
    "CANCELLED": Fate.UNKNOWN,
    "DATA_LOSS": Fate.UNKNOWN,
    "INVALID_ARGUMENT": Fate.REFUSED,
    "OUT_OF_RANGE": Fate.REFUSED,
    "PERMISSION_DENIED": Fate.REFUSED,
    "UNAUTHENTICATED": Fate.REFUSED,
    "UNIMPLEMENTED": Fate.REFUSED,
}


def error_of(status, text="told"):
    return grpc.aio.AioRpcError(
        grpc.StatusCode[status], grpc.aio.Metadata(), grpc.aio.Metadata(), text, "debug"
    )


def test_the_table_knows_every_status():
    assert set(TABLE) == {status.name for status in grpc.StatusCode} - {"OK"}


@pytest.mark.parametrize("status", TABLE)
def test_a_status_has_its_fate(status):
    assert fate_of(error_of(status)) is TABLE[status]


@pytest.mark.parametrize(
    "text",
    [
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: refused",
        "DNS resolution failed for firestore.googleapis.com",
    ],
)
def test_a_connection_that_never_came_about_has_applied_nothing(text):
    assert fate_of(error_of("UNAVAILABLE", text)) is Fate.NOT_APPLIED


def test_a_refused_connection_is_told_as_the_table_knows_it():
    async def main():
        async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await channel.unary_unary("/any/Thing")(b"", timeout=20)
        return raised.value

    assert fate_of(asyncio.run(main())) is Fate.NOT_APPLIED


def test_without_credentials_nothing_is_sent():
    error = NoCredentials("no metadata server")
    assert fate_of(error) is Fate.NOT_APPLIED
    assert failure(error, "Firestore Commit").message == (
        "Firestore Commit failed: NoCredentials: no metadata server"
    )


def test_what_an_official_client_raises_is_told_in_the_same_words():
    known = from_grpc_status(grpc.StatusCode.PERMISSION_DENIED, "first line\nsecond")
    ours = error_of("PERMISSION_DENIED", "first line\nsecond")
    assert str(failure(known, "X")) == str(failure(ours, "X"))
    without = failure(RefreshError("no metadata server"), "X")
    assert without.message == "X failed: RefreshError: no metadata server"


@pytest.mark.parametrize("status", ["INVALID_ARGUMENT", "OUT_OF_RANGE"])
def test_what_is_malformed_is_the_callers_fault(status):
    assert isinstance(failure(error_of(status), "X", maybe_applied=True), InvalidInput)


@pytest.mark.parametrize("status", ["PERMISSION_DENIED", "UNAUTHENTICATED", "FAILED_PRECONDITION"])
def test_our_own_trouble_is_told_with_its_mend(status):
    error = failure(error_of(status, "first line\nsecond"), "X")
    assert type(error) is Unavailable
    assert error.message == f"X failed: {status}: first line"
    assert error.fix


def test_a_read_is_made_until_it_is_answered_and_was_never_applied():
    errors = [error_of("UNAVAILABLE"), error_of("INTERNAL"), error_of("ABORTED")]

    async def call(maybe):
        assert maybe is False
        if errors:
            raise errors.pop(0)
        return "answer"

    pace = Pace(attempts=4, first_ms=0)
    assert asyncio.run(patiently(pace, "X", call)) == "answer"
    errors[:] = [error_of("DEADLINE_EXCEEDED")] * 4
    with pytest.raises(Unavailable) as raised:
        asyncio.run(patiently(pace, "X", call))
    assert not isinstance(raised.value, OutcomeUnknown)
    errors[:] = [error_of("PERMISSION_DENIED")]
    with pytest.raises(Unavailable):
        asyncio.run(patiently(pace, "X", call))
    assert errors == []


def test_a_change_is_told_that_it_may_have_been_made():
    seen, errors = [], [error_of("ABORTED"), error_of("UNAVAILABLE"), error_of("ABORTED")]

    async def call(maybe):
        seen.append(maybe)
        if errors:
            raise errors.pop(0)

    asyncio.run(patiently(Pace(attempts=4, first_ms=0), "X", call, changes=True))
    assert seen == [False, False, True, True]
