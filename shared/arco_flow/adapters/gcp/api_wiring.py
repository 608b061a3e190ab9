"""The object graph of a function that callers call: users of the API, or workers that report."""

from __future__ import annotations

from arco_flow.adapters.gcp.oidc import OidcVerifier
from arco_flow.adapters.gcp.settings import FunctionSettings
from arco_flow.adapters.gcp.wiring import CloudPlane, Handler, web_handler
from arco_flow.domain.errors import Forbidden
from arco_flow.domain.ids import Scope
from arco_flow.http.app import App, live_answer
from arco_flow.http.auth import Identity, Permission, bearer_token
from arco_flow.http.load_limits import Rate
from arco_flow.http.messages import LIVE_PATH, ReadBody, Request, Response
from arco_flow.http.routes import CALLBACKS, ROUTES, SERVICE


def serve_api(function: str) -> Handler:
    """A handler for callers: users of the API, or workers that report."""
    return web_handler(_Api(CloudPlane.of(function), function).handle)


class _Api:
    """The application of a function; over its engine once a request needs it."""

    def __init__(self, plane: CloudPlane, function: str) -> None:
        self._plane = plane
        self._routes = ROUTES if function == "api" else (*CALLBACKS, *SERVICE)
        self._app: App | None = None

    async def handle(self, request: Request, read_body: ReadBody) -> Response:
        """The answer. That the process lives is said without clients: a probe must neither wait
        for them nor fail with them."""
        if (request.method, request.path) == ("GET", LIVE_PATH):
            return live_answer()
        return await (await self._started()).handle(request, read_body)

    async def _started(self) -> App:
        engine = await self._plane.engine()
        if self._app is None:
            users = _Users(self._plane.settings, self._plane.verifier)
            self._app = App(engine, users, routes=self._routes, rate=_rate(self._plane.settings))
        return self._app


def _rate(settings: FunctionSettings) -> Rate | None:
    per_second = settings.requests_per_second
    return Rate(per_second, settings.request_burst) if per_second else None


class _Users:
    """`Authenticator` of the API: identity tokens of the people and services in the table."""

    def __init__(self, settings: FunctionSettings, verifier: OidcVerifier) -> None:
        self._settings = settings
        self._verifier = verifier

    async def authenticate(self, request: Request) -> Identity:
        """See Authenticator."""
        email = await self._verifier.email_of(bearer_token(request), self._settings.audience)
        found = self._settings.principals.get(email)
        if found is None:
            raise Forbidden(
                f"{email} is not known to this plane",
                fix="add it to the principals of the deployment",
                details={"email": email},
            )
        permissions = frozenset(Permission(name) for name in found.permissions)
        return Identity(Scope(found.tenant, found.workspace), f"user:{email}", permissions)
