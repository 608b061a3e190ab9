"""The client against a server that answers by script: what it repeats and what it does not."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from run_views import a_run, a_task

from arco_flow.cli.client import (
    ATTEMPTS,
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    PlaneClient,
    segment,
)
from arco_flow.cli.failures import PlaneRefused, PlaneUnreachable
from arco_flow.cli.main import cli
from arco_flow.cli.progress import CROWDED_PAUSE_SECONDS, EARLY_SECONDS, follow_run
from arco_flow.domain.errors import InvalidInput
from arco_flow.engine.views import AssetPage, AssetView, RunView

OK = (200, b'{"runs":[]}')
BUSY = (
    503,
    b'{"error":{"code":503,"status":"UNAVAILABLE","message":"busy","details":[{"reason":"BUSY"}]}}',
)
DROP = (0, b"")
TOO_MANY = b'{"error":{"message":"too many","details":[{"reason":"TOO_MANY_REQUESTS"}]}}'


@contextmanager
def plane(*script: tuple[int, bytes], headers: str = "") -> Iterator[tuple[str, list[str]]]:
    """An address that gives these answers, one connection each, and what it was asked."""
    asked: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(5)

    def serve() -> None:
        for status, body in script:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                raw = connection.recv(65536).decode()
                while "\r\n\r\n" not in raw:
                    raw += connection.recv(65536).decode()
                asked.append(raw)
                if status:
                    head = f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\n{headers}"
                    connection.sendall(f"{head}Connection: close\r\n\r\n".encode() + body)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
    finally:
        listener.close()
        thread.join()


def lines(asked: list[str]) -> list[str]:
    return [request.splitlines()[0] for request in asked]


def test_reads_are_repeated_when_the_plane_is_busy_or_drops_the_line() -> None:
    pauses: list[float] = []
    with plane(BUSY, DROP, OK) as (url, asked):
        client = PlaneClient(url, "t", "w", pause=pauses.append)
        assert client.get("/runs", dict[str, Any]) == {"runs": []}
        assert lines(asked) == ["GET /v1/workspaces/w/runs HTTP/1.1"] * 3
    assert pauses == [FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS]


def page_of_assets(key: str, token: str) -> tuple[int, bytes]:
    asset = AssetView(
        name=key, key=key, kind="asset", group="default", description="", owners=[], kinds=[],
        tags={}, metadata={}, code_version="v1", partitions="", partition_count=None,
        materialized_count=0, upstream=[], downstream=[], checks=[], last_materialization=None,
    )  # fmt: skip
    return 200, msgspec.json.encode(AssetPage(assets=[asset], next_page_token=token))


def test_a_list_of_assets_is_read_to_its_last_page_with_the_arguments_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCO_FLOW_TOKEN", "t")
    command = ["assets", "t.a or t.b", "-C", str(tmp_path), "--workspace", "w", "--json"]
    with plane(page_of_assets("t.a", "more"), page_of_assets("t.b", "")) as (url, asked):
        monkeypatch.setenv("ARCO_FLOW_URL", url)
        shown = CliRunner().invoke(cli, command)
    assert [asset["key"] for asset in msgspec.json.decode(shown.output)["assets"]] == ["t.a", "t.b"]
    path = "GET /v1/workspaces/w/assets?pageSize=1000"
    assert lines(asked) == [
        f"{path}&selection=t.a+or+t.b HTTP/1.1",
        f"{path}&pageToken=more&selection=t.a+or+t.b HTTP/1.1",
    ]


def test_a_plane_that_stays_busy_is_given_up() -> None:
    pauses: list[float] = []
    with plane(*[BUSY] * ATTEMPTS) as (url, asked):
        with pytest.raises(PlaneUnreachable, match="busy"):
            PlaneClient(url, "t", "w", pause=pauses.append).get("/runs", dict[str, Any])
        assert (len(asked), len(pauses)) == (ATTEMPTS, ATTEMPTS - 1)


def test_too_many_requests_are_repeated_when_the_plane_says_so_whatever_they_ask() -> None:
    pauses: list[float] = []
    again = (429, TOO_MANY)
    with plane(again, again, OK, headers="Retry-After: 3\r\n") as (url, asked):
        client = PlaneClient(url, "t", "w", pause=pauses.append)
        assert client.post("/runs", dict[str, Any], {"a": 1}) == {"runs": []}
        assert (len(asked), pauses) == (3, [3.0, 3.0])


@pytest.mark.parametrize(
    ("asked_for", "kept"),
    [
        ("7", 7.0),
        ("86400", LONGEST_PAUSE_SECONDS),
        ("0", FIRST_PAUSE_SECONDS),
        ("-5", FIRST_PAUSE_SECONDS),
        ("soon", FIRST_PAUSE_SECONDS),
        ("Fri, 01 Jan 2100 00:00:00 GMT", FIRST_PAUSE_SECONDS),
    ],
)
def test_a_pause_that_is_asked_for_is_kept_within_reason(asked_for: str, kept: float) -> None:
    pauses: list[float] = []
    with plane(BUSY, OK, headers=f"Retry-After: {asked_for}\r\n") as (url, _):
        PlaneClient(url, "t", "w", pause=pauses.append).get("/runs", dict[str, Any])
    assert pauses == [kept]


def test_a_plane_that_stays_crowded_is_given_up() -> None:
    pauses: list[float] = []
    with plane(*[(429, TOO_MANY)] * ATTEMPTS) as (url, asked):
        with pytest.raises(PlaneRefused, match="too many") as caught:
            PlaneClient(url, "t", "w", pause=pauses.append).get("/runs", dict[str, Any])
        assert (caught.value.status, len(asked), len(pauses)) == (429, ATTEMPTS, ATTEMPTS - 1)


def test_writes_are_repeated_only_when_they_carry_their_own_identity() -> None:
    pauses: list[float] = []
    with plane(BUSY, OK) as (url, asked):
        client = PlaneClient(url, "t", "w", pause=pauses.append)
        client.post("/runs", dict[str, Any], {"a": 1}, repeat=True)
        assert (len(asked), len(pauses)) == (2, 1)
    with plane(BUSY) as (url, asked):
        with pytest.raises(PlaneUnreachable, match="busy"):
            PlaneClient(url, "t", "w").post("/runs", dict[str, Any], {"a": 1})
        assert len(asked) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 500])
def test_other_refusals_are_not_repeated(status: int) -> None:
    body = b'{"error":{"message":"no\\n  fix: so","details":[{"reason":"WHY"}]}}'
    with plane((status, body)) as (url, asked):
        with pytest.raises(PlaneRefused, match="no\n  fix: ") as caught:
            PlaneClient(url, "t", "w").get("/runs", dict[str, Any])
        assert (caught.value.status, caught.value.reason, len(asked)) == (status, "WHY", 1)


def test_a_refused_credential_names_the_variable() -> None:
    body = b'{"error":{"message":"a valid credential is needed","details":[{"reason":"X"}]}}'
    with plane((401, body)) as (url, _), pytest.raises(PlaneRefused, match="ARCO_FLOW_TOKEN"):
        PlaneClient(url, "", "w").get("/runs", dict[str, Any])


def test_a_server_that_is_no_plane_is_told_so() -> None:
    page = (404, b"<html>nothing here</html>")
    with plane(page) as (url, _), pytest.raises(PlaneRefused, match="not as a plane does"):
        PlaneClient(url, "", "w").get("/runs", dict[str, Any])


def test_an_answer_that_can_not_be_read_is_told_so() -> None:
    page = (200, b"<html>welcome</html>")
    with plane(page) as (url, _), pytest.raises(PlaneRefused, match="not as a plane does"):
        PlaneClient(url, "", "w").get("/runs", dict[str, Any])


def test_the_request_carries_token_workspace_and_arguments() -> None:
    with plane(OK) as (url, asked):
        client = PlaneClient(f"{url}/base/", "secret", "a b/c")
        client.get("/runs", dict[str, Any], filter="state = FAILED", wait="", validateOnly=True)
    assert asked[0].splitlines()[0] == (
        "GET /base/v1/workspaces/a%20b%2Fc/runs?filter=state+%3D+FAILED&validateOnly=true HTTP/1.1"
    )
    assert "authorization: Bearer secret" in asked[0]


@pytest.mark.parametrize("url", ["", "localhost:3000", "ftp://x", "http://", "file:///etc/passwd"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(InvalidInput, match="no address of a plane"):
        PlaneClient(url, "", "w")


def test_names_are_one_path_segment() -> None:
    assert segment("shop.orders[2026-01-01]/../x") == "shop.orders%5B2026-01-01%5D%2F..%2Fx"


class Silent:
    patience_seconds = 20

    def show(self, run: RunView) -> None:
        return


def test_who_follows_a_run_of_a_plane_with_no_place_to_wait_asks_once_a_second() -> None:
    running = a_run(a_task("a", "RUNNING"))
    over = msgspec.structs.replace(a_run(a_task("a"), state="SUCCEEDED"), version=2)
    script = [(200, msgspec.json.encode(run)) for run in (running, running, running, over)]
    pauses: list[float] = []
    with plane(*script) as (url, asked):
        client = PlaneClient(url, "t", "w")
        run = follow_run(client, "run_1", Silent(), clock=lambda: 0.0, pause=pauses.append)
    assert (run.state, len(asked)) == ("SUCCEEDED", 4)
    assert pauses == [CROWDED_PAUSE_SECONDS] * 2


def test_who_was_kept_waiting_asks_again_at_once() -> None:
    running = a_run(a_task("a", "RUNNING"))
    over = msgspec.structs.replace(a_run(a_task("a"), state="SUCCEEDED"), version=2)
    script = [(200, msgspec.json.encode(run)) for run in (running, running, over)]
    times = itertools.count(0, EARLY_SECONDS)
    with plane(*script) as (url, _):
        client = PlaneClient(url, "t", "w")
        never: list[float] = []
        follow_run(client, "run_1", Silent(), clock=lambda: next(times), pause=never.append)
    assert never == []


def test_a_run_is_followed_under_the_id_that_was_typed() -> None:
    with plane((404, b'{"error":{"message":"no","details":[{"reason":"WHY"}]}}')) as (url, asked):
        with pytest.raises(PlaneRefused):
            follow_run(PlaneClient(url, "t", "w"), "a b/../c", Silent())
        assert lines(asked) == ["GET /v1/workspaces/w/runs/a%20b%2F..%2Fc HTTP/1.1"]
