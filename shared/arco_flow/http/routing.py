"""What a route is: a method, a path pattern, a handler and, always, a policy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

import msgspec

from arco_flow.domain.errors import ArcoError, InvalidInput, NotFound, Rejected
from arco_flow.domain.ids import Scope
from arco_flow.http.auth import Identity, Permission
from arco_flow.http.messages import Request
from arco_flow.http.page_tokens import PageTokens
from arco_flow.http.refusals import MethodNotAllowed

if TYPE_CHECKING:
    from arco_flow.engine.context import Engine
    from arco_flow.http.health import Readiness
    from arco_flow.http.load_limits import Waits

API_BODY_BYTES: Final = 256 * 1024
CALLBACK_BODY_BYTES: Final = 1024 * 1024
WORKSPACE_PREFIX: Final = "/v1/workspaces/{workspace}"


class Policy(Enum):
    """Who may call a route."""

    PUBLIC = "anyone"
    READ = "an identity that may read the workspace of the path"
    WRITE = "an identity that may change the workspace of the path"
    ATTEMPT = "the bearer of an attempt token of the task of the path"


PERMISSION_OF: Final = {Policy.READ: Permission.READ, Policy.WRITE: Permission.WRITE}


@dataclass(frozen=True, slots=True)
class Param:
    """An argument in the URL, or a header that a route reads.

    kind: string, integer, boolean or duration. example: a value that is accepted; pattern: regular
    expression of the whole value; both "" = none, and both for the description of the API.
    """

    name: str
    description: str
    kind: str = "string"
    example: str = ""
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """What a handler is given: the request, taken apart and authorised, and the plane.

    params: decoded path parameters. query: decoded arguments, each one that the route knows.
    """

    engine: Engine
    request: Request
    params: Mapping[str, str]
    query: Mapping[str, str]
    pages: PageTokens
    routes: tuple[Route, ...]
    readiness: Readiness
    waits: Waits
    identity: Identity | None = None

    @property
    def caller(self) -> Identity:
        """The verified identity; a route whose policy asks for none must not use it."""
        if self.identity is None:
            raise RuntimeError("a public route has asked for the caller")
        return self.identity

    @property
    def scope(self) -> Scope:
        """Tenant and workspace of the identity."""
        return self.caller.scope

    def cursor(self) -> str:
        """Where the page begins, "" = at the start. Raises InvalidInput for a forged token."""
        now_ms = self.engine.clock.now_ms()
        return self.pages.open(self.request.path, self.query, now_ms)

    def sealed(self, cursor: str) -> str:
        """The page token that continues after `cursor`, "" at the end."""
        now_ms = self.engine.clock.now_ms()
        return self.pages.seal(self.request.path, self.query, cursor, now_ms)


Handler = Callable[[Call], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the route table.

    path: literal segments and `{parameter}` segments; the last may end in `:verb` (AIP-136).
    handler: answers a Response, or a message that is encoded as JSON with status 200.
    responses: types of the answer's body, one of them each time. request: type of the body.
    headers: what it reads of them beyond what all routes do. refusals: errors of the use case,
    beyond those of the policy and of what a request is made of. These four are for the description
    of the API.
    body_bytes: longest body accepted.
    """

    method: str
    path: str
    handler: Handler
    policy: Policy
    summary: str
    responses: tuple[type[msgspec.Struct], ...] = ()
    request: type[msgspec.Struct] | None = None
    query: tuple[Param, ...] = ()
    body_bytes: int = API_BODY_BYTES
    headers: tuple[Param, ...] = ()
    refusals: tuple[type[ArcoError], ...] = ()
    segments: tuple[str, ...] = field(init=False)
    verb: str = field(init=False)

    def __post_init__(self) -> None:
        """Refuse a route that nobody decided the policy of, when the table is imported."""
        if not isinstance(self.policy, Policy):
            raise TypeError(f"{self.method} {self.path} has no policy")
        scoped = self.path.startswith(f"{WORKSPACE_PREFIX}/")
        if scoped != (self.policy in PERMISSION_OF):
            raise TypeError(f"policy {self.policy.name} does not fit the path {self.path}")
        path, _, verb = self.path.partition(":")
        object.__setattr__(self, "segments", tuple(path.split("/")[1:]))
        object.__setattr__(self, "verb", verb)

    @property
    def operation_id(self) -> str:
        """The handler's name: unique, because a handler serves one route."""
        name: str = self.handler.__name__
        return name

    def match(self, segments: list[str]) -> dict[str, str] | None:
        """Raw path parameters, or None when the path is not this route's."""
        found: dict[str, str] = {}
        for pattern, segment in zip(self.segments, segments, strict=True):
            if pattern.startswith("{") and segment:
                found[pattern[1:-1]] = segment
            elif pattern != segment:
                return None
        return found


class RouteTable:
    """The routes, indexed by the number of their segments, their verb and their second segment,
    which is literal: `tasks`, `workspaces`.

    least_body_bytes: a body that is no longer is short enough for every route.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self.least_body_bytes = min((route.body_bytes for route in self.routes), default=0)
        self._index: dict[tuple[int, str, str], list[Route]] = {}
        taken: set[tuple[str, str]] = set()
        for route in self.routes:
            if (route.method, route.path) in taken:
                raise TypeError(f"{route.method} {route.path} appears twice")
            taken.add((route.method, route.path))
            if route.segments[1:2] and route.segments[1].startswith("{"):
                raise TypeError(f"{route.path} begins with a parameter")
            self._index.setdefault(_index_key(route.segments, route.verb), []).append(route)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route of a request and its path parameters, as they were sent: what is wrong with
        them is told in the words of the route.

        Literal segments are compared as sent, so that an encoded, doubled or differently cased
        spelling is another path. Raises NotFound, MethodNotAllowed.
        """
        segments = path.split("/")[1:]
        last, colon, verb = segments[-1].rpartition(":")
        if colon:
            segments[-1] = last
        allowed: list[str] = []
        for route in self._index.get(_index_key(segments, verb if colon else ""), ()):
            params = route.match(segments)
            if params is None:
                continue
            if route.method == method:
                return route, params
            allowed.append(route.method)
        if allowed:
            raise MethodNotAllowed(method, allowed)
        raise NotFound("there is nothing at this path", fix="GET /v1/openapi.json lists the paths")

    def known(self, method: str, path: str) -> Route | None:
        """The route of a request; None for one that will be refused."""
        try:
            return self.find(method, path)[0]
        except Rejected:
            return None


def _index_key(segments: Sequence[str], verb: str) -> tuple[int, str, str]:
    return len(segments), verb, segments[1] if len(segments) > 1 else ""


def decode_segment(raw: str) -> str:
    """Percent-decode one path segment. Raises InvalidInput for what no id of ours can hold."""
    text = percent_decode(raw, plus=False) if "%" in raw else raw
    if not text or text in (".", "..") or not text.isprintable():
        raise _malformed("a segment of the path is empty, dots, or not printable")
    return text


def percent_decode(raw: str, *, plus: bool) -> str:
    """Decode %XX as UTF-8, and `+` as a space in a query. Raises InvalidInput."""
    text = raw.replace("+", " ") if plus else raw
    if "%" not in text:
        return text
    for part in text.split("%")[1:]:
        if len(part) < 2 or not all(c in "0123456789abcdefABCDEF" for c in part[:2]):
            raise _malformed("the URL has a '%' without two hexadecimal digits")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError as error:
        raise _malformed("the URL is not UTF-8") from error


def _malformed(problem: str) -> InvalidInput:
    return InvalidInput(
        problem, fix="percent-encode names as UTF-8 (RFC 3986)", reason="MALFORMED_PATH"
    )
