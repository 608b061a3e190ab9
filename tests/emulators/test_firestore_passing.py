"""What the relay before Firestore hands on: everything, as it came, whatever is in it."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from arco_emulators.firestore import relay
from arco_emulators.firestore.trouble import Trouble
from emulators.upstream import NO_LIMITS, serving_upstream

SERVICE = "/google.firestore.v1.Firestore"
MIB = 1024 * 1024


class Way:
    """A client's way to a server that echoes, through the relay; `run` goes it."""

    def __init__(self, trouble=None):
        self.trouble = trouble

    def run(self, scenario):
        async def main():
            async with (
                asyncio.timeout(60),
                serving_upstream() as (self.upstream, address),
                relay.serving(address, trouble=self.trouble) as running,
                grpc.aio.insecure_channel(
                    f"127.0.0.1:{running.port}", options=NO_LIMITS
                ) as self.channel,
            ):
                self.relay = running.relay
                await scenario()

        asyncio.run(main())

    def one(self, request=b"x", method="Commit", **options):
        return self.channel.unary_unary(f"{SERVICE}/{method}")(request, **options)

    def many(self, request=b"x", **options):
        return self.channel.unary_stream(f"{SERVICE}/RunQuery")(request, **options)

    def stream(self, requests=None, **options):
        return self.channel.stream_stream(f"{SERVICE}/Listen")(requests, **options)


NOBODY_LEFT = "ExecuteBatchError raised in core"
"""gRPC's own word when a client has gone in the moment in which its call is ended."""


@pytest.fixture(autouse=True)
def nothing_unforeseen(caplog):
    """gRPC tells of what a handler raises in its log, and the client of a failure."""
    yield
    told = [entry for when in ("setup", "call") for entry in caplog.get_records(when)]
    errors = [entry.getMessage() for entry in told if entry.levelname == "ERROR"]
    assert not [error for error in errors if not error.startswith(NOBODY_LEFT)]


@pytest.fixture
def way():
    return Way()


async def all_of(call):
    return [answer async for answer in call]


def test_bytes_pass_in_every_kind_of_call(way):
    async def requests():
        yield b"first"
        yield b"\xff\x00"

    async def scenario():
        assert await way.one(b"\x00 not a message") == b"\x00 not a message"
        assert await way.one(b"", method="NeverHeardOf") == b""
        assert await all_of(way.many(b"row")) == [b"row"] * 3
        assert await all_of(way.stream(requests())) == [b"first", b"\xff\x00"]

    way.run(scenario)


def test_a_stream_that_stays_open_passes_each_message_when_it_comes(way):
    async def scenario():
        call = way.stream()
        for message in (b"one", b"two"):
            await call.write(message)
            assert await call.read() == message
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF

    way.run(scenario)


def test_messages_over_the_limits_of_grpc_pass(way):
    async def scenario():
        large = b"x" * (12 * MIB)
        assert await way.one(large) == large
        assert await all_of(way.many(large)) == [large] * 3

    way.run(scenario)


def test_what_names_the_caller_and_the_database_reaches_the_emulator(way):
    given = {
        "authorization": "Bearer owner",
        "google-cloud-resource-prefix": "projects/p/databases/(default)",
        "x-goog-request-params": "database=projects%2Fp",
        "x-goog-blob-bin": b"\x00\xff",
    }

    async def scenario():
        await way.one(metadata=tuple(given.items()))
        assert given.items() <= way.upstream.metadata.items()

    way.run(scenario)


def test_trailing_metadata_comes_back(way):
    told = {("x-told", "yes"), ("x-told-bin", b"\x00\xff")}

    async def scenario():
        for call in (way.one(), way.many()):
            await (call if isinstance(call, grpc.aio.UnaryUnaryCall) else all_of(call))
            assert told <= set(await call.trailing_metadata())

    way.run(scenario)


def test_a_refusal_comes_back_with_its_code_its_words_and_its_metadata(way):
    async def scenario():
        for call in (way.one(b"refuse"), all_of(way.many(b"refuse"))):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call
            assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert raised.value.details() == "no: ünklar"
            assert raised.value.trailing_metadata()["x-told-bin"] == b"\x00\xff"
        assert way.relay.counters.get("errors", "Commit FAILED_PRECONDITION") == 1

    way.run(scenario)


def test_the_deadline_reaches_the_emulator(way):
    async def scenario():
        await way.one(timeout=50)
        # Three digits of it travel, rounded up.
        assert 40 < way.upstream.seconds_left < 51
        await way.one()
        assert way.upstream.seconds_left is None
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await way.one(b"wait", timeout=0.2)
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await way.upstream.cancelled.wait()

    way.run(scenario)


@pytest.mark.parametrize("kind", ["one", "many", "stream"])
def test_a_call_that_the_client_gives_up_ends_at_the_emulator(way, kind):
    async def scenario():
        if kind == "stream":
            call = way.stream()
            await call.write(b"wait")
        else:
            call = getattr(way, kind)(b"wait")
        await way.upstream.waiting.wait()
        call.cancel()
        await way.upstream.cancelled.wait()
        await way.relay.idle(0)

    way.run(scenario)


def test_the_relay_is_idle_when_every_call_is_answered_though_a_listener_stays(way):
    async def scenario():
        listener, call = way.stream(), way.one(b"wait")
        await listener.write(b"x")
        assert await listener.read() == b"x"
        await way.upstream.waiting.wait()
        assert way.relay.state()["under_way"] == 1
        call.cancel()
        await way.relay.idle(0)
        assert way.relay.state()["under_way"] == 0

    way.run(scenario)


async def refused(call):
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value.code()


def test_a_call_that_is_unavailable_does_not_reach_the_emulator():
    way = Way(Trouble({"unavailable": 1}))

    async def scenario():
        for call in (way.one(), all_of(way.many()), all_of(way.stream())):
            assert await refused(call) is grpc.StatusCode.UNAVAILABLE
        assert way.upstream.calls == 0
        assert way.relay.counters.get("faults", "unavailable") == 3

    way.run(scenario)


def test_a_call_that_landed_is_done_and_not_answered_whatever_the_answer():
    way = Way(Trouble({"landed": 1}))

    async def scenario():
        for request in (b"x", b"refuse"):
            assert await refused(way.one(request)) is grpc.StatusCode.UNAVAILABLE
        assert way.upstream.calls == 2

    way.run(scenario)


def test_what_landed_may_be_done_after_the_next_attempt():
    way = Way(Trouble({"landed": 1, "landed_ms": 100}))

    async def scenario():
        assert await refused(way.one()) is grpc.StatusCode.UNAVAILABLE
        assert way.upstream.calls == 0
        way.relay.chaos.change({"landed": 0})
        assert await way.one() == b"x"
        assert way.upstream.calls == 1
        await way.relay.idle(0)
        assert way.upstream.calls == 2

    way.run(scenario)


def test_what_landed_is_done_though_the_client_gave_up():
    way = Way(Trouble({"planned": [{"fault": "landed"}]}))

    async def scenario():
        call = way.one(b"wait")
        await way.upstream.waiting.wait()
        call.cancel()
        assert await way.one() == b"x"
        way.upstream.released.set()
        await way.relay.idle(0)
        assert not way.upstream.cancelled.is_set()

    way.run(scenario)


def test_a_stream_of_answers_that_landed_breaks_off_after_the_first():
    way = Way(Trouble({"landed": 1}))

    async def scenario():
        call = way.many()
        assert await call.read() == b"x"
        assert await refused(call.read()) is grpc.StatusCode.UNAVAILABLE
        assert await refused(all_of(way.many(b"refuse"))) is grpc.StatusCode.UNAVAILABLE

    way.run(scenario)


def test_only_writes_are_contended():
    way = Way(Trouble({"contended": 1}))

    async def scenario():
        for method in ("Commit", "BatchWrite", "CreateDocument"):
            assert await refused(way.one(method=method)) is grpc.StatusCode.ABORTED
        assert way.upstream.calls == 0
        assert await way.one(method="GetDocument") == b"x"
        assert len(await all_of(way.many())) == 3

    way.run(scenario)


def test_calls_take_longer_as_they_are_told_to():
    way = Way(Trouble({"api_delay_ms": 60}))

    async def scenario():
        began = asyncio.get_running_loop().time()
        await way.one()
        assert asyncio.get_running_loop().time() - began >= 0.055
        assert await refused(way.one(timeout=0.02)) is grpc.StatusCode.DEADLINE_EXCEEDED

    way.run(scenario)


def test_a_planned_fault_strikes_the_next_call_that_it_fits_and_no_other():
    plan = [{"fault": "landed", "operation": "Commit", "contains": "heads/a"}]
    way = Way(Trouble({"planned": plan}))

    async def scenario():
        for request, method in ((b"heads/b", "Commit"), (b"heads/a", "GetDocument")):
            assert await way.one(request, method=method) == request
        assert await refused(way.one(b"...heads/a...")) is grpc.StatusCode.UNAVAILABLE
        assert await way.one(b"heads/a") == b"heads/a"
        assert way.upstream.calls == 4

    way.run(scenario)


@pytest.mark.parametrize(
    "settings",
    [{"planned": [{"fault": "late"}]}, {"planned": [{"operation": "Commit"}]}, {"no_such": 1}],
)
def test_a_fault_that_does_not_exist_is_refused_and_nothing_changes(settings):
    trouble = Trouble()
    with pytest.raises(ValueError, match="fault"):
        trouble.change({"planned": [{"fault": "landed"}], **settings, "landed": 1})
    assert trouble.as_json() == Trouble().as_json()
