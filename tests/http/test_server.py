"""The embedded server against raw sockets: well-behaved clients, clumsy ones and hostile ones."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Awaitable, Callable

import pytest
from http_plane import BASE, WRITER, Plane, manifest
from hypothesis import given, settings
from hypothesis import strategies as st

from arco_flow.domain.errors import ArcoError
from arco_flow.http.app import LOCAL_HOSTS
from arco_flow.http.parsing import parse_head
from arco_flow.http.server import HttpServer, Limits

QUICK = Limits(
    head_seconds=0.05,
    body_seconds=0.05,
    idle_seconds=0.1,
    sweep_seconds=0.01,
    close_seconds=0.05,
    linger_seconds=0.05,
)
PATIENT = Limits(linger_seconds=0.05, sweep_seconds=0.01)
AUTH = f"Authorization: Bearer {WRITER}\r\n"
LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Wire:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes | str) -> None:
        self.writer.write(data.encode("latin-1") if isinstance(data, str) else data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer, read by its Content-Length."""
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return int(first.split()[1]), headers, body

    async def is_closed(self) -> bool:
        """Whether the server closes without another byte."""
        try:
            return await asyncio.wait_for(self.reader.read(1), 5) == b""
        except ConnectionResetError:
            return True


def serve(talk: Callable[[Wire, HttpServer], Awaitable[None]], limits: Limits = PATIENT) -> Plane:
    """Run a conversation with a server of its own."""
    plane = Plane(allowed_hosts=LOCAL_HOSTS)
    plane.post("/deployments", manifest(), headers={"host": "localhost"})

    async def run() -> None:
        server = HttpServer(plane.app, limits)
        port = await server.start("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await talk(Wire(reader, writer), server)
        finally:
            writer.close()
            await server.close()

    asyncio.run(run())
    return plane


def test_one_connection_serves_request_after_request() -> None:
    async def talk(wire: Wire, server: HttpServer) -> None:
        for _ in range(3):
            await wire.send(LIVE)
            status, headers, body = await wire.answer()
            assert (status, body) == (200, b'{"status":"live"}')
            assert headers["connection"] == "keep-alive"
            assert headers["content-type"] == "application/json"
            assert "date" in headers
            assert "server" not in headers
        assert len(server.connections) == 1

    serve(talk)


def test_the_standard_client_is_understood() -> None:
    plane = Plane(allowed_hosts=LOCAL_HOSTS)

    async def run() -> None:
        server = HttpServer(plane.app, PATIENT)
        port = await server.start("127.0.0.1", 0)
        await asyncio.to_thread(ask, port)
        await server.close()

    def ask(port: int) -> None:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        auth = {"Authorization": f"Bearer {WRITER}", "Content-Type": "application/json"}
        client.request("POST", f"{BASE}/deployments", manifest(), auth)
        assert json.loads(client.getresponse().read())["assetCount"] == 3
        client.request("GET", f"{BASE}/assets", headers=auth)
        assert len(json.loads(client.getresponse().read())["assets"]) == 3
        client.close()

    asyncio.run(run())


def test_a_request_that_comes_byte_by_byte_is_one_request() -> None:
    body = b'{"selection": "shop.a", "runKey": "k"}'
    raw = (
        f"POST {BASE}/runs HTTP/1.1\r\nHost: localhost\r\n{AUTH}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body

    async def talk(wire: Wire, _server: HttpServer) -> None:
        for index in range(len(raw)):
            await wire.send(raw[index : index + 1])
        assert (await wire.answer())[0] == 200

    plane = serve(talk)
    assert len(plane.get("/runs", headers={"host": "localhost"})["runs"]) == 1


def test_requests_sent_ahead_are_answered_in_their_order() -> None:
    async def talk(wire: Wire, _server: HttpServer) -> None:
        missing = b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n"
        await wire.send((LIVE + missing) * 20)
        for _ in range(20):
            assert (await wire.answer())[0] == 200
            assert (await wire.answer())[0] == 404

    serve(talk)


def test_a_client_that_sends_far_ahead_is_held_back_and_still_answered() -> None:
    async def talk(wire: Wire, _server: HttpServer) -> None:
        count = 4000
        sending = asyncio.create_task(wire.send(LIVE * count))
        for _ in range(count):
            assert (await wire.answer())[0] == 200
        await sending

    serve(talk)


def test_what_follows_a_refused_request_is_never_read() -> None:
    async def talk(wire: Wire, _server: HttpServer) -> None:
        await wire.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n" + LIVE)
        status, headers, _ = await wire.answer()
        assert (status, headers["connection"]) == (400, "close")
        assert await wire.is_closed()

    serve(talk)


def request(line: str = "GET /health/live HTTP/1.1", *headers: str, host: bool = True) -> bytes:
    lines = [line, *(["Host: localhost"] if host else []), *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request(host=False), 400),
        (request("GET /health/live HTTP/1.1", "Host: evil.example"), 400),
        (request("GET /health/live HTTP/1.1", "Host: evil.example", host=False), 403),
        (request("GET /health/live HTTP/2.0"), 505),
        (request("GET /health/live HTTP/1.2"), 505),
        (request("GET /health/live HTTP/0.9"), 505),
        (request("GET /health/live"), 400),
        (request("GET  /health/live HTTP/1.1"), 400),
        (request("GET /health/live HTTP/1.1 "), 400),
        (request("get /health/live HTTP/1.1"), 400),
        (request("GET health/live HTTP/1.1"), 400),
        (request("GET http://localhost/health/live HTTP/1.1"), 400),
        (request("OPTIONS * HTTP/1.1"), 400),
        (request("CONNECT localhost:443 HTTP/1.1"), 400),
        (request("GET /health/live#x HTTP/1.1"), 400),
        (request("GET /a b HTTP/1.1"), 400),
        (request("GET /\xe9 HTTP/1.1"), 400),
        (request("GET /health/live\x00 HTTP/1.1"), 400),
        (b"\r\n" + request(), 400),
        (request("GET /health/live HTTP/1.1", "X-A: 1", " folded"), 400),
        (request("GET /health/live HTTP/1.1", "X-A : 1"), 400),
        (request("GET /health/live HTTP/1.1", "X A: 1"), 400),
        (request("GET /health/live HTTP/1.1", ": 1"), 400),
        (request("GET /health/live HTTP/1.1", "no colon"), 400),
        (request("GET /health/live HTTP/1.1", "X-A: a\nX-B: b"), 400),
        (request("GET /health/live HTTP/1.1", "X-A: a\rX-B: b"), 400),
        (request("GET /health/live HTTP/1.1", "X-A: a\x00b"), 400),
        (request("POST /x HTTP/1.1", "Content-Length: 5", "Content-Length: 5"), 400),
        (request("POST /x HTTP/1.1", "Content-Length: 5", "Content-Length: 6"), 400),
        (request("POST /x HTTP/1.1", "Content-Length: 5, 5"), 400),
        (request("POST /x HTTP/1.1", "Content-Length: -5"), 400),
        (request("POST /x HTTP/1.1", "Content-Length: +5"), 400),
        (request("POST /x HTTP/1.1", "Content-Length: 0x5"), 400),
        (request("POST /x HTTP/1.1", "Content-Length: 1_0"), 400),
        (request("POST /x HTTP/1.1", "Content-Length: \xb2"), 400),
        (request("POST /x HTTP/1.1", "Content-Length:"), 400),
        (request("POST /x HTTP/1.1", "Transfer-Encoding: chunked"), 411),
        (request("POST /x HTTP/1.1", "Transfer-Encoding: gzip, chunked"), 411),
        (request("POST /x HTTP/1.1", "Transfer-Encoding: identity"), 411),
        (request("POST /x HTTP/1.1", "Transfer-Encoding: chunked", "Content-Length: 5"), 400),
        (request("POST /x HTTP/1.1", "Content-Length: 1073741824"), 413),
        (request("POST /x HTTP/1.1", f"Content-Length: {'9' * 40}"), 413),
        (request("POST /x HTTP/1.1", "Content-Length: 262145"), 413),
        (request("GET /x HTTP/1.1", "Expect: magic"), 417),
        (request("GET /x HTTP/1.1", *(f"X-{i}: 1" for i in range(100))), 431),
        (request("GET /x HTTP/1.1", "X-A: " + "a" * 8200), 431),
        (request("GET /x HTTP/1.1", *("X-A: " + "a" * 8000 for _ in range(5))), 431),
        (b"GET /x HTTP/1.1\r\nX: " + b"a" * 40_000, 431),
        (request("GET /" + "x" * 9000 + " HTTP/1.1"), 414),
        (request("GET /x HTTP/1.1", "Authorization: Bearer a", "Authorization: Bearer b"), 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ],
)
def test_malformed_requests_are_refused_and_the_connection_is_closed(
    raw: bytes, status: int
) -> None:
    async def talk(wire: Wire, _server: HttpServer) -> None:
        await wire.send(raw)
        got, headers, body = await wire.answer()
        assert got == status, body
        assert json.loads(body)["error"]["code"] == status
        if status != 403:
            assert headers["connection"] == "close"
            assert await wire.is_closed()

    serve(talk)


def test_a_client_in_the_middle_of_too_large_a_body_reads_the_refusal() -> None:
    async def talk(wire: Wire, _server: HttpServer) -> None:
        head = request(f"POST {BASE}/runs HTTP/1.1", "Content-Length: 5000000", AUTH.strip())
        await wire.send(head)
        await wire.send(b"x" * 2_000_000)
        assert (await wire.answer())[0] == 413

    serve(talk)


@pytest.mark.parametrize(
    ("length", "limits", "status", "word"),
    [(2 * 1024 * 1024, PATIENT, 413, "body_too_large"), (9, QUICK, 408, "request_timed_out")],
)
def test_a_report_that_is_not_read_whole_is_refused_in_the_words_of_its_protocol(
    length: int, limits: Limits, status: int, word: str
) -> None:
    async def talk(wire: Wire, _server: HttpServer) -> None:
        await wire.send(request("POST /v1/tasks/x/started HTTP/1.1", f"Content-Length: {length}"))
        told, headers, body = await wire.answer()
        assert (told, json.loads(body)["error"]) == (status, word)
        assert headers["cache-control"] == "no-store"

    serve(talk, limits)


def test_a_client_that_asks_before_it_sends_is_told_to_go_on() -> None:
    body = b'{"selection": "shop.a"}'

    async def talk(wire: Wire, _server: HttpServer) -> None:
        head = (
            f"POST {BASE}/runs HTTP/1.1\r\nHost: localhost\r\n{AUTH}Expect: 100-continue\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        await wire.send(head)
        assert await wire.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await wire.send(body)
        assert (await wire.answer())[0] == 200

    serve(talk)


@pytest.mark.parametrize(
    ("line", "headers", "kept"),
    [
        ("GET /health/live HTTP/1.1", (), True),
        ("GET /health/live HTTP/1.1", ("Connection: close",), False),
        ("GET /health/live HTTP/1.0", (), False),
        ("GET /health/live HTTP/1.0", ("Connection: keep-alive",), True),
    ],
)
def test_the_client_decides_whether_the_connection_stays(
    line: str, headers: tuple[str, ...], kept: bool
) -> None:
    async def talk(wire: Wire, _server: HttpServer) -> None:
        await wire.send(request(line, *headers))
        _, answered, _ = await wire.answer()
        assert answered["connection"] == ("keep-alive" if kept else "close")
        if kept:
            await wire.send(request(line, *headers))
            assert (await wire.answer())[0] == 200
        else:
            assert await wire.is_closed()

    serve(talk)


def test_a_client_that_closes_its_side_after_asking_is_still_answered() -> None:
    async def talk(wire: Wire, _server: HttpServer) -> None:
        wire.writer.write(LIVE)
        wire.writer.write_eof()
        assert (await wire.answer())[0] == 200
        assert await wire.is_closed()

    serve(talk)


@pytest.mark.parametrize(
    "raw",
    [
        b"G",
        b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n",
        request(f"POST {BASE}/runs HTTP/1.1", "Content-Length: 10") + b"1234",
    ],
)
def test_a_request_that_stops_half_way_runs_into_its_deadline(raw: bytes) -> None:
    async def talk(wire: Wire, server: HttpServer) -> None:
        await wire.send(raw)
        status, _, body = await wire.answer()
        assert (status, json.loads(body)["error"]["status"]) == (408, "DEADLINE_EXCEEDED")
        assert await wire.is_closed()

    serve(talk, QUICK)


def test_a_client_that_trickles_bytes_gains_no_time() -> None:
    async def talk(wire: Wire, _server: HttpServer) -> None:
        async def trickle() -> None:
            while True:
                await wire.send(b"X-A: 1\r\n")
                await asyncio.sleep(0.01)

        await wire.send(b"GET /health/live HTTP/1.1\r\n")
        dripping = asyncio.create_task(trickle())
        assert (await wire.answer())[0] == 408
        dripping.cancel()

    serve(talk, QUICK)


def test_silent_connections_are_dropped_before_and_between_requests() -> None:
    async def silent(wire: Wire, _server: HttpServer) -> None:
        assert await wire.is_closed()

    async def idle(wire: Wire, _server: HttpServer) -> None:
        await wire.send(LIVE)
        await wire.answer()
        assert await wire.is_closed()

    serve(silent, QUICK)
    serve(idle, QUICK)


def test_one_connection_too_many_is_turned_away() -> None:
    async def talk(wire: Wire, server: HttpServer) -> None:
        await wire.send(LIVE)
        await wire.answer()
        host, port = wire.writer.get_extra_info("peername")[:2]
        reader, writer = await asyncio.open_connection(host, port)
        assert await Wire(reader, writer).is_closed()
        writer.close()

    serve(talk, Limits(connections=1))


def test_closing_waits_for_the_request_in_progress_and_drops_idle_ones() -> None:
    async def talk(wire: Wire, server: HttpServer) -> None:
        run = server.app
        await wire.send(request(f"POST {BASE}/runs HTTP/1.1", AUTH.strip(), "Content-Length: 0"))
        assert (await wire.answer())[0] == 400
        assert run is server.app
        closing = asyncio.create_task(server.close())
        assert await wire.is_closed()
        await closing
        assert not server.connections

    serve(talk)


def test_a_long_poll_does_not_hold_the_close_for_ever() -> None:
    async def talk(wire: Wire, server: HttpServer) -> None:
        body = b'{"selection": "shop.a"}'
        json_body = ("Content-Type: application/json", f"Content-Length: {len(body)}")
        await wire.send(request(f"POST {BASE}/runs HTTP/1.1", AUTH.strip(), *json_body) + body)
        run = json.loads((await wire.answer())[2])["runId"]
        await wire.send(request(f"GET {BASE}/runs/{run}?wait=60s HTTP/1.1", AUTH.strip()))
        await asyncio.sleep(0.02)
        await asyncio.wait_for(server.close(), 2)
        assert await wire.is_closed()

    serve(talk, QUICK)


def test_a_long_poll_whose_client_has_left_does_not_hold_the_close_at_all() -> None:
    async def talk(wire: Wire, server: HttpServer) -> None:
        body = b'{"selection": "shop.a"}'
        json_body = ("Content-Type: application/json", f"Content-Length: {len(body)}")
        await wire.send(request(f"POST {BASE}/runs HTTP/1.1", AUTH.strip(), *json_body) + body)
        run = json.loads((await wire.answer())[2])["runId"]
        await wire.send(request(f"GET {BASE}/runs/{run}?wait=60s HTTP/1.1", AUTH.strip()))
        wire.writer.close()
        host, port = wire.writer.get_extra_info("peername")[:2]
        reader, writer = await asyncio.open_connection(host, port)
        # What came before on another connection has been read when this is answered.
        await Wire(reader, writer).send(LIVE)
        await Wire(reader, writer).answer()
        writer.close()
        await asyncio.wait_for(server.close(), 2)

    serve(talk, Limits(close_seconds=60))


def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind() -> None:
    async def talk(wire: Wire, server: HttpServer) -> None:
        await wire.send(request(f"POST {BASE}/runs HTTP/1.1", "Content-Length: 10") + b"12")
        wire.writer.transport.abort()
        for _ in range(200):
            if not server.connections:
                break
            await asyncio.sleep(0.005)
        assert not server.connections

    serve(talk)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_make_the_parser_fail_in_another_way(raw: bytes) -> None:
    for head in (raw, b"GET / HTTP/1.1\r\n" + raw, b"GET / HTTP/1.1\r\nHost: a\r\n" + raw):
        try:
            parsed = parse_head(head)
        except ArcoError:
            continue
        assert parsed.path.startswith("/")
        assert parsed.length >= 0
        assert all("\r" not in value and "\n" not in value for value in parsed.headers.values())
