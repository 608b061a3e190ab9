"""The rows of what reads requests, reports and page tokens, outside the domain."""

from __future__ import annotations

from urllib.parse import quote

from arco_flow.domain.errors import NotFound
from arco_flow.domain.manifest import Manifest
from arco_flow.engine.log_cursor import LogCursor, Reading, parse_cursor
from arco_flow.engine.worker_callback import parse_callback
from arco_flow.http.arguments import flag, page_size, read_query, run_states, wait_ms
from arco_flow.http.auth import bearer_token
from arco_flow.http.bodies import decode_body, refuse_repeated_names, require_json
from arco_flow.http.messages import Request
from arco_flow.http.page_tokens import PageTokens
from arco_flow.http.parsing import parse_head
from arco_flow.http.refusals import (
    ExpectationFailed,
    HeadersTooLarge,
    LengthRequired,
    MethodNotAllowed,
    PathTooLong,
    UnsupportedContent,
    VersionNotSupported,
)
from arco_flow.http.routes import CALLBACKS, ROUTES
from arco_flow.http.routing import RouteTable, decode_segment
from arco_flow.worker.http1 import Closed, Malformed, Reader
from fuzz import samples
from fuzz.table import BAD, BAD_OR_LARGE, UNKNOWN, Decoder, bytes_of, of_text

PAGES = PageTokens(samples.SECRET)
TABLE = RouteTable(ROUTES)
LIST_RUNS = next(route for route in ROUTES if route.operation_id == "list_runs")
CURSOR = LogCursor(3, 7, [Reading(1, 2, 3, 4)])
HEAD_REFUSALS = (
    *BAD_OR_LARGE,
    PathTooLong,
    HeadersTooLarge,
    LengthRequired,
    ExpectationFailed,
    VersionNotSupported,
)
BODIES = {
    "RunSpec": b'{"selection":"*","partitions":["a"],"tags":{"a":"b"},"timeoutMs":5}',
    "CancelRequest": b'{"reason":"enough"}',
    "PartitionNames": b'{"partitions":["a","b"]}',
}
REPORTS = {
    "started": b'{"attempt":1,"attemptId":"att_1","workerId":"w"}',
    "heartbeat": (samples.PROTOCOL / "heartbeat_request.json").read_bytes(),
    "completed": (samples.PROTOCOL / "task_completed_request.json").read_bytes(),
}


def _query(raw: str) -> object:
    query = read_query(raw, LIST_RUNS)
    return page_size(query), run_states(query), flag(query, "validateOnly"), wait_ms(query)


def _authorization(raw: str) -> str:
    return bearer_token(Request("GET", "/", headers={"authorization": raw}))


def _content_type(raw: str) -> None:
    require_json(Request("POST", "/", headers={"content-type": raw}, body=b"{}"))


class _Connection:
    """A connection that is closed after these bytes."""

    def __init__(self, raw: bytes) -> None:
        self._rest = raw

    def recv(self, size: int, /) -> bytes:
        given, self._rest = self._rest[:size], self._rest[size:]
        return given


def _answer(raw: bytes) -> tuple[int, bytes]:
    message = Reader(_Connection(raw)).read()
    return message.status, message.body


BORDERS = (
    *(
        Decoder(
            f"report_{verb}",
            lambda raw, verb=verb: parse_callback(verb, "a.b", raw),
            (sample,),
            BAD_OR_LARGE,
            json=True,
        )
        for verb, sample in REPORTS.items()
    ),
    *(
        Decoder(
            f"body_{route.request.__name__}",
            lambda raw, kind=route.request: decode_body(Request("POST", "/", body=raw), kind),
            (BODIES[route.request.__name__],),
            write=bytes_of,
            json=True,
        )
        for route in ROUTES
        if route.request not in (None, Manifest) and route not in CALLBACKS
    ),
    Decoder("distinct_names", refuse_repeated_names, (b'{"a":1,"b":{"a":2}}',), json=True),
    Decoder(
        "log_cursor",
        of_text(parse_cursor),
        (CURSOR.token().encode(), b""),
        write=lambda cursor: cursor.token().encode(),
    ),
    Decoder(
        "page_token",
        of_text(lambda text: PAGES.open("/v1/runs", {"pageToken": text}, samples.NOW_MS)),
        (PAGES.seal("/v1/runs", {}, "1~acme:main:run:r", samples.NOW_MS).encode(),),
    ),
    Decoder(
        "path_segment",
        lambda raw: decode_segment(raw.decode("latin-1")),
        (b"shop.orders%5B2026%5D", b"%C3%A9"),
        write=lambda text: quote(text, safe="").encode(),
    ),
    Decoder(
        "path",
        lambda raw: TABLE.find("GET", "/" + raw.decode("latin-1")),
        (b"v1/workspaces/main/runs/run_1/tasks/a.b%5B1%5D/attempts", b"health/live"),
        (*BAD, NotFound, MethodNotAllowed),
    ),
    Decoder(
        "request_head",
        parse_head,
        (b"GET /v1/runs?a=b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue",),
        HEAD_REFUSALS,
    ),
    Decoder(
        "worker_message",
        _answer,
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n2;x=1\r\n{}\r\n0\r\n\r\n",
        ),
        (Malformed, Closed),
    ),
    Decoder(
        "query",
        lambda raw: _query(raw.decode("latin-1")),
        (b"pageSize=7&filter=state+%3D+FAILED+OR+state%3DRUNNING",),
    ),
    Decoder("authorization", of_text(_authorization), (b"Bearer abc",), UNKNOWN),
    Decoder(
        "content_type",
        of_text(_content_type),
        (b"application/json", b'Application/JSON; charset="UTF-8"'),
        (UnsupportedContent,),
    ),
)
