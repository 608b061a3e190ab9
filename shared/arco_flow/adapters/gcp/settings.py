"""Settings of a function, from its environment: read once, at the start, whole or not at all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec

from arco_flow.adapters.gcp.oidc import GOOGLE_CERTS_URL
from arco_flow.domain.durations import MAX_DURATION_MS
from arco_flow.domain.errors import InvalidInput, did_you_mean
from arco_flow.domain.identifiers import validate_tenant, validate_workspace

T = TypeVar("T")

ENGINE_VARIABLES: Final = {
    "ARCO_FLOW_WAKE_MS": "wake_ms",
    "ARCO_FLOW_SKEW_MS": "skew_ms",
    "ARCO_FLOW_QUIET_MS": "quiet_ms",
    "ARCO_FLOW_MAX_IN_FLIGHT": "max_in_flight",
    "ARCO_FLOW_SWEEP_AFTER_MS": "sweep_after_ms",
    "ARCO_FLOW_SWEEP_AGAIN_MS": "sweep_again_ms",
    "ARCO_FLOW_CANCEL_GRACE_MS": "cancel_grace_ms",
    "ARCO_FLOW_HEARTBEAT_INTERVAL_MS": "heartbeat_interval_ms",
    "ARCO_FLOW_TOKEN_TTL_MS": "token_ttl_ms",
}
"""Variable -> field of `engine.context.Settings`; one that is not set keeps its default."""
ABOVE_ZERO: Final = frozenset(
    {"ARCO_FLOW_WAKE_MS", "ARCO_FLOW_MAX_IN_FLIGHT", "ARCO_FLOW_TOKEN_TTL_MS"}
)
"""With 0 in these nothing would ever run."""
THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
"""Where an emulator may be spoken to without TLS."""


LONGEST_DELIVERY_SECONDS: Final = 1800
"""Cloud Tasks waits no longer for an answer."""
REQUESTS_PER_SECOND: Final = 50
REQUEST_BURST: Final = 200
"""Of one principal to one instance of `api`, unless the deployment says otherwise."""


class Principal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an e-mail address stands for."""

    tenant: str
    workspace: str
    permissions: tuple[Literal["read", "write"], ...] = ("read", "write")


class RouteTarget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Where the tasks of a route go: see `cloud_tasks.Target`."""

    url: str
    audience: str
    account: Annotated[str, msgspec.Meta(pattern=".@.")]
    deadline_seconds: Annotated[int, msgspec.Meta(ge=15, le=LONGEST_DELIVERY_SECONDS)] = 600


@dataclass(frozen=True, slots=True)
class FunctionSettings:
    """Everything that a function is told by its deployment.

    function: its name in functions.yaml. project, location, bucket: where its things are.
    audience: what tokens for it must be made for: its own URL. urls: function -> URL. accounts:
    identity -> e-mail of its service account. callers: e-mails of those that may deliver to the
    function. principals: e-mail -> what it may do, for `api`.
    routes: route -> where its tasks go. tasks_endpoint, scheduler_endpoint: host:port of an
    emulator, "" = Google's.
    code_target, code_root: what a worker runs, "" = what the deployment says. workers: processes
    of user code in one instance. timeout_seconds: after which the platform cuts a request.
    requests_per_second, request_burst: what one principal may ask of one instance of `api`; 0 per
    second = without limit. engine: fields of the engine's settings that were set.
    """

    function: str
    project: str
    location: str
    bucket: str
    audience: str
    urls: Mapping[str, str]
    accounts: Mapping[str, str]
    routes: Mapping[str, RouteTarget] = field(default_factory=dict)
    callers: frozenset[str] = frozenset()
    principals: Mapping[str, Principal] = field(default_factory=dict)
    certs_url: str = GOOGLE_CERTS_URL
    database: str = "(default)"
    tasks_endpoint: str = ""
    scheduler_endpoint: str = ""
    code_target: str = ""
    code_root: str = ""
    workers: int = 1
    timeout_seconds: int = LONGEST_DELIVERY_SECONDS
    log_level: str = "INFO"
    requests_per_second: int = REQUESTS_PER_SECOND
    request_burst: int = REQUEST_BURST
    engine: Mapping[str, int] = field(default_factory=dict)

    def url_of(self, function: str) -> str:
        """URL of another function. Raises InvalidInput when the deployment does not tell it."""
        url = self.urls.get(function)
        if url is None:
            raise InvalidInput(
                f"the URL of the function '{function}' is not known",
                fix="name it in ARCO_FLOW_FUNCTION_URLS",
            )
        return url


class _Reader:
    """Reads variables and collects what is wrong with them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.problems: list[str] = []
        self._environment = environment

    def text(self, name: str, default: str | None = None) -> str:
        value = self._environment.get(name, "").strip()
        if value:
            return value
        if default is None:
            self.problems.append(f"{name} is not set")
        return default or ""

    def parsed(self, name: str, parse: Callable[[str], T], default: T, what: str) -> T:
        value = self._environment.get(name, "").strip()
        if not value:
            return default
        try:
            return parse(value)
        except (ValueError, msgspec.MsgspecError) as error:
            problem = str(error)
        except InvalidInput as error:
            problem = error.message
        self.problems.append(f"{name} must be {what}: {problem}")
        return default

    def number(self, name: str, default: int, *, least: int) -> int:
        what = f"a whole number of {least} or more"
        return self.parsed(name, _at_least(least), default, what)

    def url(self, name: str, default: str | None = None) -> str:
        value = self.text(name, default)
        problem = _url_problem(value) if value else ""
        if problem:
            self.problems.append(f"{name} is '{value}', {problem}")
        return value


def read_settings(environment: Mapping[str, str]) -> FunctionSettings:
    """Settings out of the environment. Raises InvalidInput that lists all that is wrong."""
    reader = _Reader(environment)
    names = msgspec.json.Decoder(dict[str, str]).decode
    accounts: dict[str, str] = reader.parsed(
        "ARCO_FLOW_ACCOUNTS", names, {}, "JSON of names and e-mails"
    )
    found = FunctionSettings(
        function=reader.text("ARCO_FLOW_FUNCTION"),
        project=reader.text("ARCO_FLOW_PROJECT"),
        location=reader.text("ARCO_FLOW_LOCATION"),
        bucket=reader.text("ARCO_FLOW_BUCKET"),
        audience=reader.url("ARCO_FLOW_AUDIENCE"),
        urls=reader.parsed("ARCO_FLOW_FUNCTION_URLS", _urls, {}, "JSON of names and URLs"),
        accounts=accounts,
        callers=reader.parsed(
            "ARCO_FLOW_CALLERS",
            _callers_of(accounts),
            frozenset(),
            "identities of ARCO_FLOW_ACCOUNTS, separated by commas",
        ),
        routes=reader.parsed("ARCO_FLOW_ROUTES", _routes, {}, "JSON of routes and targets"),
        principals=reader.parsed(
            "ARCO_FLOW_PRINCIPALS", _principals, {}, "JSON of e-mails and what they may do"
        ),
        certs_url=reader.url("ARCO_FLOW_OIDC_CERTS_URL", GOOGLE_CERTS_URL),
        database=reader.text("ARCO_FLOW_DATABASE", "(default)"),
        tasks_endpoint=reader.text("ARCO_FLOW_TASKS_ENDPOINT", ""),
        scheduler_endpoint=reader.text("ARCO_FLOW_SCHEDULER_ENDPOINT", ""),
        code_target=reader.text("ARCO_FLOW_CODE_TARGET", ""),
        code_root=reader.text("ARCO_FLOW_CODE_ROOT", ""),
        workers=reader.number("ARCO_FLOW_WORKERS", 1, least=1),
        timeout_seconds=reader.number(
            "ARCO_FLOW_TIMEOUT_SECONDS", LONGEST_DELIVERY_SECONDS, least=1
        ),
        log_level=reader.parsed("ARCO_FLOW_LOG_LEVEL", _level, "INFO", "a level of logging"),
        requests_per_second=reader.number(
            "ARCO_FLOW_REQUESTS_PER_SECOND", REQUESTS_PER_SECOND, least=0
        ),
        request_burst=reader.number("ARCO_FLOW_REQUEST_BURST", REQUEST_BURST, least=1),
        engine=_engine_settings(reader, environment),
    )
    if reader.problems:
        raise InvalidInput(
            "the environment of this function is not what it needs:\n"
            + "\n".join(f"  - {problem}" for problem in reader.problems),
            fix="terraform sets these; for a plane on emulators, `arco-flow dev --emulated` does",
            details={"problems": reader.problems},
        )
    return found


def _engine_settings(reader: _Reader, environment: Mapping[str, str]) -> dict[str, int]:
    found = {}
    for variable, name in ENGINE_VARIABLES.items():
        if environment.get(variable, "").strip():
            least = 1 if variable in ABOVE_ZERO else 0
            found[name] = reader.number(variable, least, least=least)
    return found


def _at_least(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = int(text)
        if not least <= number <= MAX_DURATION_MS:
            raise ValueError(f"{number} is not from {least} to {MAX_DURATION_MS}")
        return number

    return read


def _callers_of(accounts: Mapping[str, str]) -> Callable[[str], frozenset[str]]:
    def read(text: str) -> frozenset[str]:
        names = [name.strip() for name in text.split(",")]
        for name in names:
            if not accounts.get(name):
                raise ValueError(f"'{name}' is none{did_you_mean(name, accounts)}")
        return frozenset(accounts[name] for name in names)

    return read


def _urls(text: str) -> dict[str, str]:
    urls = msgspec.json.decode(text, type=dict[str, str])
    for name, url in urls.items():
        _require_url(f"that of '{name}'", url)
    return urls


def _routes(text: str) -> dict[str, RouteTarget]:
    routes = msgspec.json.decode(text, type=dict[str, RouteTarget])
    for name, target in routes.items():
        _require_url(f"the target of '{name}'", target.url)
        _require_url(f"the audience of '{name}'", target.audience)
    return routes


def _principals(text: str) -> dict[str, Principal]:
    principals = msgspec.json.decode(text, type=dict[str, Principal])
    for principal in principals.values():
        validate_tenant(principal.tenant)
        validate_workspace(principal.workspace)
    return principals


def _require_url(what: str, url: str) -> None:
    problem = _url_problem(url)
    if problem:
        raise ValueError(f"{what} is '{url}', {problem}")


def _url_problem(url: str) -> str:
    """Why tokens must not be sent to a URL, nor certificates be believed; "" for a good one."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if not host or not url.isprintable() or " " in url or "@" in parts.netloc:
        return "which is no URL"
    if parts.scheme == "https" or (parts.scheme == "http" and host in THIS_MACHINE):
        return ""
    return "which is not https"


def _level(text: str) -> str:
    level = text.upper()
    if level not in logging.getLevelNamesMapping():
        raise ValueError(f"'{text}' is none of DEBUG, INFO, WARNING, ERROR, CRITICAL")
    return level
