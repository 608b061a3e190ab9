"""Bytes on the socket of an embedded plane that are no request as its own server reads them.

In the cloud Google's front end and uvicorn read them before us.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.bad_input import ask, refused, request_head, send_raw
from e2e.harness import EMBEDDED, PlaneUnderTest, running_plane, write_module

EVERY_PLANE = EMBEDDED

SHOP = """
    from arco_flow import asset

    @asset(namespace="t")
    def a() -> int:
        return 1
"""
A_RUN = b'{"selection":"t.a"}'


@pytest.fixture(scope="module")
def plane(plane_kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneUnderTest]:
    folder = tmp_path_factory.mktemp("shop")
    with running_plane(folder, workers=1) as running:
        running.deploy(write_module(folder, "shop", SHOP))
        running.kept.settle()
        yield running


RFC = "  fix: speak HTTP/1.1 (RFC 9112)"
WHOLE = (
    "the request ended before it was whole\n"
    "  fix: send all of the headers, and as many bytes as Content-Length says"
)
SOCKETS: dict[str, tuple[tuple[str, ...], bytes, int, str]] = {
    "a truncated body": (("Content-Length: 100",), A_RUN, 400, WHOLE),
    "a chunked body": (
        ("Transfer-Encoding: chunked",),
        b"13\r\n" + A_RUN + b"\r\n0\r\n\r\n",
        411,
        "a transfer coding is not read here\n  fix: send the body whole, with Content-Length",
    ),
    "two lengths": (
        ("Content-Length: 19", "Content-Length: 2"),
        A_RUN,
        400,
        f"header content-length is sent twice\n{RFC}",
    ),
    "a length and a coding": (
        ("Content-Length: 19", "Transfer-Encoding: chunked"),
        A_RUN,
        400,
        f"both Content-Length and Transfer-Encoding\n{RFC}",
    ),
    "a negative length": (("Content-Length: -1",), A_RUN, 400, f"malformed Content-Length\n{RFC}"),
    "an endless length": (
        ("Content-Length: " + "9" * 30,),
        A_RUN,
        413,
        "Content-Length is longer than any number of bytes that is read here\n"
        "  fix: send less at a time",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SOCKETS)
def test_a_body_whose_end_is_unclear_is_refused(plane: PlaneUnderTest, what: str) -> None:
    lines, body, status, message = SOCKETS[what]
    with plane.kept.unchanged():
        answer = send_raw(plane, request_head(plane, *lines) + body)
    assert (answer.status, answer.message) == (status, message)


GARBAGE: dict[str, tuple[bytes, int, str]] = {
    "bytes": (bytes(range(256)) * 8, 400, WHOLE),
    "a flood of bytes": (b"\x00" * 100_000, 431, "the headers are longer than 32768 bytes"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x7f" * 500, 400, WHOLE),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, f"malformed request line\n{RFC}"),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400, f"malformed request line\n{RFC}"),
    "line feeds alone": (b"GET / HTTP/1.1\nHost: x\n\n", 400, WHOLE),
    "no host": (b"GET /health/live HTTP/1.1\r\n\r\n", 400, f"no Host header\n{RFC}"),
}


def test_a_page_of_another_site_can_not_ask(plane: PlaneUnderTest) -> None:
    with plane.kept.unchanged():
        refused(
            ask(plane, "POST", "/runs", A_RUN, headers={"host": "evil.example"}),
            403,
            "HOST_NOT_ALLOWED",
            "this plane does not answer under that host name\n"
            "  fix: use 127.0.0.1 or [::1] or localhost",
        )


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_on_the_socket_is_answered_and_hurts_nobody(
    plane: PlaneUnderTest, what: str
) -> None:
    data, status, message = GARBAGE[what]
    with plane.kept.unchanged():
        answer = send_raw(plane, data)
        assert answer.status == status
        assert answer.message.startswith(message)
        assert ask(plane, "GET", "/health/live", base="").status == 200
