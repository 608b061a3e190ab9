"""The route table: every route has a policy, a description and the right verdict for everyone."""

from __future__ import annotations

import re

import pytest
from http_plane import BASE, NEIGHBOUR, READER, Plane, error_of, manifest, reason_of

from arco_flow.http.messages import Response
from arco_flow.http.routes import ROUTES
from arco_flow.http.routing import Call, Policy, Route, RouteTable

SCOPED = [route for route in ROUTES if route.policy in (Policy.READ, Policy.WRITE)]


def path_of(route: Route, workspace: str = "test") -> str:
    path = route.path.replace("{workspace}", workspace)
    return re.sub(r"{\w+}", "shop.a", path)


def name_of(route: Route) -> str:
    return route.operation_id


async def nothing(_call: Call) -> Response:
    return Response(204)


def test_a_route_without_a_policy_is_refused_when_it_is_declared() -> None:
    with pytest.raises(TypeError):
        Route("GET", "/v1/things", nothing)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="no policy"):
        Route("GET", "/v1/things", nothing, None, "Things")  # type: ignore[arg-type]


def test_a_workspace_path_can_not_be_public_nor_a_bare_path_scoped() -> None:
    with pytest.raises(TypeError, match="does not fit"):
        Route("GET", "/v1/workspaces/{workspace}/things", nothing, Policy.PUBLIC, "Things")
    with pytest.raises(TypeError, match="does not fit"):
        Route("GET", "/v1/things", nothing, Policy.READ, "Things")


def test_a_route_that_begins_with_a_parameter_is_refused() -> None:
    with pytest.raises(TypeError, match="begins with a parameter"):
        RouteTable([Route("GET", "/v1/{thing}", nothing, Policy.PUBLIC, "Things")])


def test_a_route_that_appears_twice_is_refused() -> None:
    route = Route("GET", "/v1/things", nothing, Policy.PUBLIC, "Things")
    with pytest.raises(TypeError, match="twice"):
        RouteTable([route, route])


@pytest.mark.parametrize("route", SCOPED, ids=name_of)
def test_without_a_good_credential_there_is_401_and_no_detail(route: Route) -> None:
    plane = Plane()
    good = {"authorization": "Basic d3JpdGVyLXRva2Vu"}
    answers = [
        plane.ask(route.method, path_of(route), token=token)
        for token in ("", "wrong", "writer-token2", "writer-toke", "Writer-Token", "a b", "é")
    ] + [
        plane.ask(route.method, path_of(route), token="", headers=good),
        plane.ask(route.method, path_of(route, "other"), token=""),
        plane.ask(route.method, path_of(route) + "?access_token=writer-token", token=""),
    ]
    for answer in answers:
        assert answer.status == 401
        assert answer.body == answers[0].body, "each refusal of a credential reads alike"
        assert dict(answer.headers)["www-authenticate"].startswith("Bearer")
        assert reason_of(answer) == "UNAUTHENTICATED"


@pytest.mark.parametrize("route", SCOPED, ids=name_of)
def test_a_foreign_workspace_is_answered_like_an_absent_one(route: Route) -> None:
    plane = Plane()
    plane.post("/deployments", manifest())
    foreign = plane.ask(route.method, path_of(route), token=NEIGHBOUR)
    absent = plane.ask(route.method, path_of(route, "nowhere"), token=NEIGHBOUR)
    assert (foreign.status, foreign.body, foreign.headers) == (404, absent.body, absent.headers)


@pytest.mark.parametrize("route", SCOPED, ids=name_of)
def test_a_reader_reads_and_does_not_write(route: Route) -> None:
    answer = Plane().ask(
        route.method, path_of(route), b"{}" if route.policy is Policy.WRITE else None, token=READER
    )
    if route.policy is Policy.WRITE:
        assert (answer.status, reason_of(answer)) == (403, "PERMISSION_DENIED")
    else:
        assert answer.status in (200, 404)


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_another_method_is_405_with_the_methods_that_are_possible(route: Route) -> None:
    plane = Plane()
    here = {other.method for other in ROUTES if other.path == route.path}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"} - here:
        answer = plane.ask(method, path_of(route))
        assert answer.status == 405
        assert dict(answer.headers)["allow"] == ", ".join(sorted(here))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/",
        "/v1/workspaces/test",
        f"{BASE}/runs/",
        f"{BASE}//runs",
        f"/{BASE}/runs",
        f"{BASE}/RUNS",
        f"{BASE}/runs;x",
        f"{BASE}/%72uns",
        f"/api/..{BASE}/runs",
        f"{BASE}/./runs",
        f"{BASE}/runs/x/health/live",
        "/health/live/",
        "/health",
        "/Health/live",
        "/healthz",
        f"{BASE}/runs/x:explode",
        f"{BASE}/runs:cancel",
    ],
)
def test_another_spelling_of_a_path_is_another_path(path: str) -> None:
    plane = Plane()
    for token in ("", "writer-token"):
        assert plane.ask("GET", path, token=token).status in (404, 405)


@pytest.mark.parametrize(
    "header", ["x-http-method-override", "x-method-override", "x-forwarded-prefix"]
)
def test_headers_do_not_change_the_method_or_the_path(header: str) -> None:
    answer = Plane().ask("GET", f"{BASE}/runs", headers={header: "POST"}, token="")
    assert answer.status == 401


@pytest.mark.parametrize(
    "segment",
    ["..", "%2e%2e", "%00", "a%0d%0ab", "%", "%2", "%zz", "%ff", "%c0%af", "a%e2%80%8bb"],
)
def test_a_segment_that_no_id_can_hold_is_refused(segment: str) -> None:
    for path in (f"{BASE}/runs/{segment}/plan", f"{BASE}/assets/{segment}"):
        answer = Plane().ask("GET", path)
        assert (answer.status, reason_of(answer)) == (400, "MALFORMED_PATH")


@pytest.mark.parametrize("name", ["..%2f..%2fetc", "a%5cb", "a:b", "x" * 600, "run_%EF%BC%8F", "_"])
def test_ids_that_do_not_exist_are_not_found_whatever_they_hold(name: str) -> None:
    plane = Plane()
    plane.post("/deployments", manifest())
    for path in (f"/runs/{name}/plan", f"/runs/{name}/logs", f"/assets/{name}/partitions"):
        assert plane.ask("GET", BASE + path).status == 404


def test_health_needs_no_credential_and_names_nothing() -> None:
    plane = Plane()
    assert plane.ask("GET", "/health/live", token="").body == b'{"status":"live"}'
    assert plane.ask("GET", "/health/ready", token="").body == b'{"status":"ready"}'


def test_unknown_and_repeated_arguments_are_refused_by_name() -> None:
    plane = Plane()
    unknown = plane.ask("GET", f"{BASE}/runs?pagesize=3")
    assert (unknown.status, reason_of(unknown)) == (400, "UNKNOWN_ARGUMENT")
    assert "pageSize" in error_of(unknown)["message"]
    twice = plane.ask("GET", f"{BASE}/runs?pageSize=3&pageSize=4")
    assert (twice.status, reason_of(twice)) == (400, "REPEATED_ARGUMENT")
    assert plane.ask("GET", f"{BASE}/runs?pageSize=%zz").status == 400
