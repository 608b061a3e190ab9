"""Settings of a function, from its environment: read once, at the start, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec

from arco_flow.adapters.gcp.oidc import GOOGLE_CERTS_URL
from arco_flow.domain.errors import InvalidInput

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


class Principal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an e-mail address stands for. permissions: read, write."""

    tenant: str
    workspace: str
    permissions: tuple[str, ...] = ("read", "write")


class RouteTarget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Where the tasks of a route go: see `cloud_tasks.Target`."""

    url: str
    audience: str
    account: str
    deadline_seconds: int = 600


@dataclass(frozen=True, slots=True)
class FunctionSettings:
    """Everything that a function is told by its deployment.

    function: its name in functions.yaml. project, location, bucket: where its things are.
    audience: what tokens for it must be made for: its own URL. urls: function -> URL. accounts:
    identity -> e-mail of its service account. principals: e-mail -> what it may do, for `api`.
    routes: route -> where its tasks go. tasks_endpoint, scheduler_endpoint: host:port of an
    emulator, "" = Google's.
    code_target, code_root: what a worker runs, "" = what the deployment says.
    engine: fields of the engine's settings that were set.
    """

    function: str
    project: str
    location: str
    bucket: str
    audience: str
    urls: Mapping[str, str]
    accounts: Mapping[str, str]
    routes: Mapping[str, RouteTarget] = field(default_factory=dict)
    principals: Mapping[str, Principal] = field(default_factory=dict)
    certs_url: str = GOOGLE_CERTS_URL
    database: str = "(default)"
    tasks_endpoint: str = ""
    scheduler_endpoint: str = ""
    code_target: str = ""
    code_root: str = ""
    log_level: str = "INFO"
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
            self.problems.append(f"{name} must be {what}: {error}")
            return default

    def url(self, name: str, default: str | None = None) -> str:
        value = self.text(name, default)
        if value and not value.startswith(("http://", "https://")):
            self.problems.append(f"{name} is '{value}', which is no URL")
        return value


def read_settings(environment: Mapping[str, str]) -> FunctionSettings:
    """Settings out of the environment. Raises InvalidInput that lists all that is wrong."""
    reader = _Reader(environment)
    names = msgspec.json.Decoder(dict[str, str]).decode
    routes = msgspec.json.Decoder(dict[str, RouteTarget]).decode
    principals = msgspec.json.Decoder(dict[str, Principal]).decode
    found = FunctionSettings(
        function=reader.text("ARCO_FLOW_FUNCTION"),
        project=reader.text("ARCO_FLOW_PROJECT"),
        location=reader.text("ARCO_FLOW_LOCATION"),
        bucket=reader.text("ARCO_FLOW_BUCKET"),
        audience=reader.url("ARCO_FLOW_AUDIENCE"),
        urls=reader.parsed("ARCO_FLOW_FUNCTION_URLS", names, {}, "JSON of names and URLs"),
        accounts=reader.parsed("ARCO_FLOW_ACCOUNTS", names, {}, "JSON of names and e-mails"),
        routes=reader.parsed("ARCO_FLOW_ROUTES", routes, {}, "JSON of routes and targets"),
        principals=reader.parsed(
            "ARCO_FLOW_PRINCIPALS", principals, {}, "JSON of e-mails and what they may do"
        ),
        certs_url=reader.url("ARCO_FLOW_OIDC_CERTS_URL", GOOGLE_CERTS_URL),
        database=reader.text("ARCO_FLOW_DATABASE", "(default)"),
        tasks_endpoint=reader.text("ARCO_FLOW_TASKS_ENDPOINT", ""),
        scheduler_endpoint=reader.text("ARCO_FLOW_SCHEDULER_ENDPOINT", ""),
        code_target=reader.text("ARCO_FLOW_CODE_TARGET", ""),
        code_root=reader.text("ARCO_FLOW_CODE_ROOT", ""),
        log_level=reader.text("ARCO_FLOW_LOG_LEVEL", "INFO"),
        engine={
            name: reader.parsed(variable, _whole, 0, "a whole number of milliseconds")
            for variable, name in ENGINE_VARIABLES.items()
            if environment.get(variable, "").strip()
        },
    )
    if reader.problems:
        raise InvalidInput(
            "the environment of this function is not what it needs:\n"
            + "\n".join(f"  - {problem}" for problem in reader.problems),
            fix="terraform sets these; for a plane on emulators, `arco-flow dev --emulated` does",
            details={"problems": reader.problems},
        )
    return found


def _whole(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(f"{number} is below 0")
    return number
