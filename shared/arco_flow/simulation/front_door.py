"""Worker reports by HTTP: through routing, credentials, limits and the table of outcomes."""

from __future__ import annotations

import logging
from typing import Final

import msgspec

from arco_flow.domain.envelope import CallbackResponse
from arco_flow.domain.errors import (
    ArcoError,
    Conflict,
    Forbidden,
    Gone,
    InvalidInput,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from arco_flow.domain.ids import Scope
from arco_flow.engine.context import Engine
from arco_flow.http.app import App
from arco_flow.http.auth import BearerTokens, Identity
from arco_flow.http.messages import Request, Response

# Thousands of refusals are what is wanted here: they are no news for a terminal.
logging.getLogger("arco_flow").addHandler(logging.NullHandler())

_ERRORS: Final[dict[int, type[ArcoError]]] = {
    400: InvalidInput,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    503: Unavailable,
}


class FrontDoor:
    """One application per process of the plane, as long as the process lives."""

    def __init__(self) -> None:
        # The engine is kept beside its application, so that no other one gets its address.
        self._apps: dict[int, tuple[Engine, App]] = {}
        self._authenticator = BearerTokens({"secret": Identity(Scope("acme", "main"), "user:me")})

    async def report(
        self, engine: Engine, task_id: str, verb: str, token: str, raw: bytes
    ) -> CallbackResponse:
        """`record_callback` as a worker meets it. Raises what the status stands for.

        Any other status is a defect of the plane: RuntimeError.
        """
        known = self._apps.get(id(engine))
        if known is None:
            known = self._apps[id(engine)] = engine, App(engine, self._authenticator)
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        answer = await known[1].handle(
            Request("POST", f"/v1/tasks/{task_id}/{verb}", headers=headers, body=raw)
        )
        if answer.status == 200:
            return msgspec.json.decode(answer.body, type=CallbackResponse)
        raise _error_of(answer)


def _error_of(answer: Response) -> Exception:
    kind = _ERRORS.get(answer.status)
    payload = msgspec.json.decode(answer.body)
    if kind is None:
        return RuntimeError(f"a worker was answered {answer.status}: {payload}")
    reason = str(payload["error"]).upper()
    return kind(str(payload["message"]), reason=reason, details=payload)
