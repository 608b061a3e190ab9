"""Deployments over HTTP: what a client names so that a request that comes late does no harm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from http_plane import BASE, SCOPE, WRITER, Plane, error_of, manifest, reason_of

from arco_flow.cli.client import PlaneClient
from arco_flow.cli.deploying import MEANT_SECONDS, LoadedCode, post_code
from arco_flow.cli.failures import PlaneRefused, PlaneUnreachable
from handler_server import QuietHandler, serving_handler


class Way:
    """A way to a plane on which the first requests of deployments get lost.

    lost: how many answers are lost. late: whether such a request waits until `deliver`, and has not
    arrived before. meanwhile: what others deploy, one each time before a deployment arrives.
    """

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.lost = 0
        self.late = False
        self.meanwhile: list[bytes] = []
        self.waiting: list[tuple[str, bytes]] = []
        self.taken = 0.0

    def deliver(self) -> list[int]:
        """What is late arrives; the status of each answer, which nobody hears any more."""
        arrived, self.waiting = self.waiting, []
        return [self.plane.ask("POST", path, body).status for path, body in arrived]

    def clock(self) -> float:
        return self.taken

    def client(self, url: str) -> PlaneClient:
        return PlaneClient(url, WRITER, SCOPE.workspace, pause=lambda _: None)


@contextmanager
def on_its_way(way: Way) -> Iterator[str]:
    """An address that leads to the plane."""

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self.answer(b"")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if way.lost:
                way.lost -= 1
                if way.late:
                    way.waiting.append((self.path, body))
                else:
                    way.plane.ask("POST", self.path, body)
                return
            if way.meanwhile:
                way.plane.post("/deployments", way.meanwhile.pop(0))
            self.answer(body)

        def answer(self, body: bytes) -> None:
            found = way.plane.ask(self.command, self.path, body)
            self.send_response(found.status)
            self.send_header("content-length", str(len(found.body)))
            self.end_headers()
            self.wfile.write(found.body)

    with serving_handler(Handler) as url:
        yield url


def code(version: str) -> LoadedCode:
    return LoadedCode(manifest("shop.a", code=version), {"target": "shop.py"})


def current(plane: Plane) -> tuple[int, str]:
    found = plane.get("/deployments")
    return found["deployment"], found["codeVersionId"]


def test_a_deployment_that_lands_after_a_later_one_of_the_same_client_changes_nothing() -> None:
    way = Way(Plane())
    with on_its_way(way) as url, closing(way.client(url)) as client:
        post_code(client, code("v0"))
        way.lost, way.late = 1, True
        assert post_code(client, code("v1")).deployment == 2
        assert post_code(client, code("v2")).deployment == 3
    # One and the same request: the plane knows what it has made, and who sent it would be told.
    assert way.deliver() == [200]
    assert current(way.plane) == (3, "v2")


@pytest.mark.parametrize(
    ("then", "deployment", "unchanged"),
    [("v2", 2, False), ("v0", 1, True)],
    ids=["a later one", "the one before was confirmed"],
)
def test_a_deployment_that_was_given_up_does_not_land_after(
    then: str, deployment: int, unchanged: bool
) -> None:
    way = Way(Plane())
    with on_its_way(way) as url, closing(way.client(url)) as client:
        post_code(client, code("v0"))
        way.lost, way.late = 4, True
        with pytest.raises(PlaneUnreachable):
            post_code(client, code("v1"))
        told = post_code(client, code(then))
        assert (told.deployment, told.unchanged) == (deployment, unchanged)
    assert way.deliver() == [409] * 4
    assert current(way.plane) == (deployment, then)


def test_who_repeats_a_deployment_whose_answer_was_lost_is_told_of_the_one_it_made() -> None:
    way = Way(Plane())
    with on_its_way(way) as url, closing(way.client(url)) as client:
        way.lost, way.meanwhile = 1, [manifest("shop.b", code="theirs")]
        told = post_code(client, code("v1"))
    assert (told.deployment, told.unchanged, told.added) == (1, False, ["shop.a"])
    assert current(way.plane) == (2, "theirs"), "what came after it stays"


def test_who_is_overtaken_at_once_deploys_all_the_same_and_compares_anew() -> None:
    way = Way(Plane())
    with on_its_way(way) as url, closing(way.client(url)) as client:
        way.meanwhile = [manifest("shop.b", code="theirs"), manifest("shop.c", code="theirs")]
        told = post_code(client, code("v1"))
    assert (told.deployment, told.added, told.removed) == (3, ["shop.a"], ["shop.c"])
    assert current(way.plane) == (3, "v1")


def test_who_is_overtaken_while_a_request_was_on_its_way_for_long_is_asked_what_shall_be() -> None:
    way, times = Way(Plane()), iter([0.0, MEANT_SECONDS + 1])
    with on_its_way(way) as url, closing(way.client(url)) as client:
        way.meanwhile = [manifest("shop.b", code="theirs")]
        with pytest.raises(PlaneRefused, match="deployment 1 by user:writer is current") as caught:
            post_code(client, code("v1"), clock=lambda: next(times))
    assert caught.value.reason == "DEPLOYMENT_OVERTAKEN"
    assert "deploy again if this shall replace it" in str(caught.value)
    assert current(way.plane) == (1, "theirs")


def test_a_deployment_that_always_others_overtake_is_given_up() -> None:
    way = Way(Plane())
    with on_its_way(way) as url, closing(way.client(url)) as client:
        way.meanwhile = [manifest("shop.b", code=f"theirs-{number}") for number in range(9)]
        with pytest.raises(PlaneRefused, match="was to be replaced"):
            post_code(client, code("v1"))
    assert current(way.plane)[1].startswith("theirs")


def test_without_either_argument_a_deployment_replaces_whichever_is_current() -> None:
    plane = Plane()
    for number, version in enumerate(("v1", "v2", "v1"), 1):
        assert plane.post("/deployments", manifest("shop.a", code=version))["deployment"] == number


def test_what_is_current_already_is_no_conflict_and_confirmed_once_for_all_who_saw_the_same() -> (
    None
):
    plane = Plane()
    plane.post("/deployments?replaces=0", manifest("shop.a"))
    asked = [plane.post("/deployments?replaces=1", manifest("shop.a")) for _ in range(3)]
    assert [(told["unchanged"], told["deployment"], told["revision"]) for told in asked] == [
        (True, 1, 2)
    ] * 3
    assert plane.get("/deployments")["revision"] == 2
    assert plane.post("/deployments", manifest("shop.a"))["revision"] == 2, "it names none"


def test_a_request_id_stands_for_one_deployment() -> None:
    plane = Plane()
    first = plane.post("/deployments?requestId=ci-1", manifest("shop.a"))
    plane.post("/deployments", manifest("shop.b"))
    headers = {"idempotency-key": "ci-1"}
    assert plane.post("/deployments", manifest("shop.a"), headers=headers) == first
    refused = plane.ask("POST", f"{BASE}/deployments", manifest("shop.c"), headers=headers)
    error = error_of(refused)
    assert (error["code"], error["status"]) == (409, "ALREADY_EXISTS")
    assert reason_of(refused) == "REQUEST_ID_REUSED"
    assert current(plane)[0] == 2


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("replaces=-1", "BAD_NUMBER"),
        ("replaces=1.0", "BAD_NUMBER"),
        ("replaces=", "BAD_NUMBER"),
        ("replaces=%D9%A1", "BAD_NUMBER"),
        ("replaces=7", "DEPLOYMENT_OVERTAKEN"),
        ("replaces=7&validateOnly=true", "DEPLOYMENT_OVERTAKEN"),
        ("requestId=%20", "INVALID_ARGUMENT"),
        (f"requestId={'x' * 257}", "INVALID_ARGUMENT"),
    ],
)
def test_arguments_that_name_no_request_or_no_deployment(query: str, reason: str) -> None:
    plane = Plane()
    refused = plane.ask("POST", f"{BASE}/deployments?{query}", manifest("shop.a"))
    assert (refused.status, reason_of(refused)) == (409 if "OVERTAKEN" in reason else 400, reason)
    assert plane.ask("GET", f"{BASE}/deployments").status == 404
