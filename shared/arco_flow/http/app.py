"""The application: from a request to an answer, whatever server stands in front.

Order of the checks: host, sizes, path and method, credential, rate, workspace, arguments, body.
What is refused early costs little, nothing is said about a workspace before the caller is known,
and the body of a caller who is not let in is not even read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import msgspec

from arco_flow.domain.errors import ArcoError, Forbidden, NotFound
from arco_flow.engine.context import Engine
from arco_flow.engine.worker_callback import admit_callback
from arco_flow.http.arguments import read_query
from arco_flow.http.auth import Authenticator, Identity, bearer_token
from arco_flow.http.bodies import require_json
from arco_flow.http.health import Health, Readiness
from arco_flow.http.load_limits import MAX_WAITS, CallerRates, Rate, Waits
from arco_flow.http.messages import ReadBody, Request, Response
from arco_flow.http.outcomes import api_error, callback_error
from arco_flow.http.page_tokens import PageTokens
from arco_flow.http.refusals import HeadersTooLarge, PathTooLong
from arco_flow.http.request_log import RequestLine
from arco_flow.http.routes import ROUTES
from arco_flow.http.routing import (
    API_BODY_BYTES,
    PERMISSION_OF,
    Call,
    Policy,
    Route,
    RouteTable,
    decode_segment,
)
from arco_flow.ports.log_context import label_logs

MAX_TARGET_CHARS: Final = 8 * 1024
MAX_HEADERS: Final = 64
MAX_HEADER_CHARS: Final = 8 * 1024
"""Of one header's name and value together."""
LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Names under which a browser can only mean this machine. A page of another site that had its
own name resolve to us (DNS rebinding) sends its own name."""

_ALWAYS: Final = (("cache-control", "no-store"), ("x-content-type-options", "nosniff"))


class App:
    """Answers requests for one plane.

    allowed_hosts: names that the Host header may hold (without the port), None = any. routes: what
    is served; a function of the cloud serves a part. rate: of the requests of each identity, None =
    as they come; reports of workers are never too many, because none may be lost. max_waits:
    callers that wait for a run at one time.
    """

    def __init__(
        self,
        engine: Engine,
        authenticator: Authenticator,
        *,
        allowed_hosts: frozenset[str] | None = None,
        routes: Sequence[Route] = ROUTES,
        rate: Rate | None = None,
        max_waits: int = MAX_WAITS,
    ) -> None:
        self._engine = engine
        self._authenticator = authenticator
        self._allowed_hosts = allowed_hosts
        self._table = RouteTable(routes)
        self._pages = PageTokens(engine.token_secret)
        self._readiness = Readiness(engine)
        self._rates = CallerRates(rate) if rate is not None else None
        self._waits = Waits(max_waits)

    async def handle(self, request: Request, read_body: ReadBody | None = None) -> Response:
        """The answer; errors are answered too, and none is raised.

        read_body: reads the body once the caller is let in; None = the request has it.
        """
        line = RequestLine(request.method)
        route: Route | None = None
        try:
            self._check(request)
            route, sent = self._table.find(request.method, request.path)
            line.route = route.path
            params = {name: decode_segment(raw) for name, raw in sent.items()}
            told = await self._call(route, params, request, read_body)
            answer = _answered(told)
        except Exception as error:  # the border: whatever happened, the caller gets an answer
            route = route or self._table.known(request.method, request.path)
            return _refused(route, error, line)
        line.write(answer.status)
        return replace(answer, headers=answer.headers + _ALWAYS)

    def refuse(self, error: ArcoError, head: Request | None = None) -> Response:
        """The answer to a request that could not be read whole. head: as much of it as was read,
        if any."""
        line = RequestLine(head.method if head else "")
        route = self._table.known(head.method, head.path) if head else None
        line.route = route.path if route else ""
        return _refused(route, error, line)

    @property
    def least_body_bytes(self) -> int:
        """A body that is no longer need not be asked about by `body_limit`."""
        return self._table.least_body_bytes

    def body_limit(self, method: str, path: str) -> int:
        """Longest body, in bytes, of this request: what a server may read before it asks. Of one
        that will be refused, the usual."""
        route = self._table.known(method, path)
        return route.body_bytes if route else API_BODY_BYTES

    def _check(self, request: Request) -> None:
        self._check_host(request.headers)
        if len(request.path) + len(request.query) > MAX_TARGET_CHARS:
            raise PathTooLong(f"the URL is longer than {MAX_TARGET_CHARS} characters")
        if len(request.headers) > MAX_HEADERS:
            raise HeadersTooLarge(f"more than {MAX_HEADERS} headers")
        for name, value in request.headers.items():
            if len(name) + len(value) > MAX_HEADER_CHARS:
                raise HeadersTooLarge(f"a header is longer than {MAX_HEADER_CHARS} characters")

    def _check_host(self, headers: Mapping[str, str]) -> None:
        if self._allowed_hosts is None:
            return
        host = headers.get("host", "").lower()
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if name not in self._allowed_hosts:
            raise Forbidden(
                "this plane does not answer under that host name",
                fix=f"use {' or '.join(sorted(self._allowed_hosts))}",
                reason="HOST_NOT_ALLOWED",
            )

    async def _call(
        self,
        route: Route,
        params: Mapping[str, str],
        request: Request,
        read_body: ReadBody | None,
    ) -> object:
        identity = await self._admit(route, params, request)
        query = read_query(request.query, route)
        if route.method != "GET":
            request = await request.with_body(read_body, route.body_bytes)
            require_json(request)
        return await route.handler(
            Call(
                engine=self._engine,
                request=request,
                params=params,
                query=query,
                pages=self._pages,
                routes=self._table.routes,
                readiness=self._readiness,
                waits=self._waits,
                identity=identity,
            )
        )

    async def _admit(
        self, route: Route, params: Mapping[str, str], request: Request
    ) -> Identity | None:
        """The caller, once the route's policy is met; None where the policy asks for none."""
        if route.policy is Policy.PUBLIC:
            return None
        if route.policy is Policy.ATTEMPT:
            admit_callback(self._engine, params["taskId"], bearer_token(request))
            return None
        identity = await self._authenticator.authenticate(request)
        label_logs(identity.scope)
        if self._rates is not None:
            self._rates.admit(identity.actor)
        # A workspace of somebody else and one that is nowhere are answered alike.
        if params["workspace"] != identity.scope.workspace:
            raise NotFound(
                "there is no such workspace",
                fix="name the workspace that the credential is of",
                reason="WORKSPACE_NOT_FOUND",
            )
        if PERMISSION_OF[route.policy] not in identity.permissions:
            raise Forbidden(
                "the credential may not do this", details={"needed": PERMISSION_OF[route.policy]}
            )
        return identity


def hosts_for(bound_to: str) -> frozenset[str] | None:
    """Host names to answer under: the local ones for a server on loopback, else any."""
    return LOCAL_HOSTS if bound_to in ("localhost", "127.0.0.1", "::1") else None


def _refused(route: Route | None, error: Exception, line: RequestLine) -> Response:
    """The answer to an error, in the words of its route, and its line in the log."""
    attempt = route is not None and route.policy is Policy.ATTEMPT
    answer = callback_error(error) if attempt else api_error(error)
    line.error = error
    line.write(answer.status)
    return replace(answer, headers=answer.headers + _ALWAYS)


def _answered(told: object) -> Response:
    return told if isinstance(told, Response) else Response(200, msgspec.json.encode(told))


def live_answer() -> Response:
    """What GET /health/live answers, without a plane."""
    return Response(200, msgspec.json.encode(Health(status="live")), headers=_ALWAYS)
