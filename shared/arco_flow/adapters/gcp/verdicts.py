"""What a look at a deployment finds, and what one has to know to look: see `diagnosis`."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from arco_flow.adapters.gcp.functions_table import FunctionsTable
from arco_flow.adapters.gcp.oidc import GOOGLE_CERTS_URL
from arco_flow.adapters.gcp.settings import FunctionSettings
from arco_flow.domain.errors import InvalidInput, Unavailable

TOKENS_VARIABLE: Final = "ARCO_FLOW_DOCTOR_TOKENS"
"""JSON: function -> identity token of the caller, where Google can not be asked for one."""
CALL_SECONDS: Final = 5.0
"""Of one call to a service or a function."""


@dataclass(frozen=True, slots=True)
class Problem:
    """what: the thing and what is wrong with it. mend: what to do about it."""

    what: str
    mend: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """told: one line for a person. notes: what could not be checked from here, and why."""

    told: str
    problems: Sequence[Problem] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict of one check."""

    check: str
    verdict: Verdict

    @property
    def state(self) -> Literal["ok", "problem", "not checked"]:
        """A check that has found nothing wrong, but not everything out, is not `ok`."""
        if self.verdict.problems:
            return "problem"
        return "not checked" if self.verdict.notes else "ok"


class Tokens:
    """Identity tokens of who runs the checks, by function. Raises Unavailable without one."""

    def __init__(self, environment: Mapping[str, str], certs_url: str) -> None:
        self._given: dict[str, str] = {}
        self._asks_google = certs_url == GOOGLE_CERTS_URL
        text = environment.get(TOKENS_VARIABLE, "").strip()
        if text:
            try:
                self._given = msgspec.json.decode(text, type=dict[str, str])
            except msgspec.DecodeError as error:
                raise InvalidInput(
                    f"{TOKENS_VARIABLE} is no JSON of names and tokens: {error}",
                    fix='set it to {"api": "TOKEN", …}, or unset it',
                ) from error

    def of(self, function: str, audience: str) -> str:
        """The token for a function; blocks while Google is asked."""
        if function in self._given:
            return self._given[function]
        if not self._asks_google:
            raise Unavailable(
                f"there is no identity token for '{function}'",
                fix=f"give one in {TOKENS_VARIABLE}",
            )
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request
        from google.oauth2 import id_token

        try:
            return str(id_token.fetch_id_token(Request(), audience))
        except GoogleAuthError as error:
            raise Unavailable(
                f"Google gives no identity token for '{function}'",
                fix="set GOOGLE_APPLICATION_CREDENTIALS to those of a service account, or"
                f" give tokens in {TOKENS_VARIABLE}",
            ) from error


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment to look at.

    environment: of a function of it. now_ms: this machine's clock.
    """

    settings: FunctionSettings
    table: FunctionsTable
    environment: Mapping[str, str]
    tokens: Tokens
    now_ms: Callable[[], int] = field(default=lambda: time.time_ns() // 1_000_000)

    @property
    def parent(self) -> str:
        """Resource name that queues and jobs are below."""
        return f"projects/{self.settings.project}/locations/{self.settings.location}"

    def emulator(self, variable: str) -> str:
        """Address of an emulator; "" = the service itself."""
        return self.environment.get(variable, "").strip()


Check = Callable[[Deployment], Awaitable[Verdict]]


def email_in(token: str) -> str:
    """The e-mail address that a token names, unverified; "" when there is none."""
    try:
        part = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return str(claims.get("email", ""))
    except (IndexError, ValueError, AttributeError):
        return ""


def counted(number: int, thing: str) -> str:
    """`1 queue`, `4 queues`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
