import json
import socket
from pathlib import Path

import msgspec
import pytest

from arco_flow.domain.envelope import (
    CallbackErrorPayload,
    CallbackResponse,
    CompletedRequest,
    DispatchEnvelope,
    HeartbeatRequest,
    StartedRequest,
    parse_envelope,
)
from arco_flow.domain.errors import InvalidInput
from arco_flow.worker.http1 import Closed, Malformed, Reader, request_bytes, response_bytes

SAMPLES = Path(__file__).parent.parent / "vectors" / "worker_protocol"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("worker_dispatch_envelope.json", DispatchEnvelope),
        ("task_started_request.json", StartedRequest),
        ("heartbeat_request.json", HeartbeatRequest),
        ("task_completed_request.json", CompletedRequest),
        ("callback_error_payload.json", CallbackErrorPayload),
    ],
)
def test_the_samples_of_the_protocol_survive_a_round_trip(name, kind):
    raw = (SAMPLES / name).read_bytes()
    again = json.loads(msgspec.json.encode(msgspec.json.decode(raw, type=kind)))
    sample = json.loads(raw)
    # Defaults are left out on the wire; everything else is there.
    assert {key: sample[key] for key in again} == again
    defaults = {"heartbeatTimeoutSec": 300, "workerQueue": "default-queue"}
    assert {**defaults, **again} == {**defaults, **sample}


def test_the_sample_answer_is_read():
    raw = (SAMPLES / "heartbeat_response.json").read_bytes()
    answer = msgspec.json.decode(raw, type=CallbackResponse)
    assert answer.acknowledged
    assert not answer.should_cancel
    assert answer.server_time == "2026-01-01T00:00:06Z"


def test_the_legacy_envelope_reads_as_the_new_one():
    legacy = parse_envelope(
        (SAMPLES / "worker_dispatch_envelope_legacy_snake_case.json").read_bytes()
    )
    assert legacy.task_id == legacy.task_key == "analytics.daily_sales"
    assert legacy.callback_base_url == "https://callbacks.example"
    assert legacy.attempt_id == "att-123"


def test_a_malformed_envelope_is_refused():
    with pytest.raises(InvalidInput, match="malformed envelope"):
        parse_envelope(b'{"tenantId": 1}')


class Pieces:
    """A socket that gives its bytes in pieces."""

    def __init__(self, data: bytes, size: int) -> None:
        self.data, self.size = data, size

    def recv(self, size: int, /) -> bytes:
        piece, self.data = self.data[: self.size], self.data[self.size :]
        return piece


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_messages_are_read_however_they_arrive(size):
    first = request_bytes("POST", "/dispatch", {"Host": "x"}, b"abc")
    second = response_bytes(503, b"{}", retry_after=1)
    reader = Reader(Pieces(first + second, size))
    message = reader.read()
    assert message.method_and_path == ("POST", "/dispatch")
    assert (message.headers["host"], message.body) == ("x", b"abc")
    answer = reader.read()
    assert (answer.status, answer.headers["retry-after"], answer.body) == (503, "1", b"{}")
    with pytest.raises(Closed):
        reader.read()


def test_chunked_answers_are_read():
    raw = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3;x=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n"
    )
    assert Reader(Pieces(raw, 5)).read().body == b"abc0123456789"


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000,
    ],
)
def test_what_is_no_message_is_refused(raw):
    with pytest.raises(Malformed):
        Reader(Pieces(raw, 4096)).read()


@pytest.mark.parametrize("status", ["9" * 5_000, "20", "\u00b200", "", "OK"])
def test_a_status_line_without_a_code_of_three_digits_is_refused(status):
    message = Reader(Pieces(f"HTTP/1.1 {status} OK\r\n\r\n".encode("latin-1"), 4096)).read()
    with pytest.raises(Malformed, match="is no status line"):
        _ = message.status


def test_a_header_can_not_smuggle_another_one():
    with pytest.raises(Malformed, match="line break"):
        request_bytes("POST", "/x", {"Authorization": "a\r\nX: y"}, b"")


def test_a_connection_closed_in_the_middle_says_so():
    with pytest.raises(Closed) as caught:
        Reader(Pieces(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", 100)).read()
    assert caught.value.partial
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs, pytest.raises(Closed) as caught:
        Reader(theirs).read()
    assert not caught.value.partial
