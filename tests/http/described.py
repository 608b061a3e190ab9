"""The API asked by its own description: schemathesis makes the requests and judges the answers.

Its checks are joined by one of ours. Names in paths are mostly those of things that exist, so that
requests come as far as the use cases. By hand, with fresh seeds, for as many seconds as are given:

    python tests/http/described.py 600
"""

from __future__ import annotations

import json
import logging
import secrets
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, TypeVar
from zlib import crc32

import msgspec
import schemathesis
from http_plane import WRITER, Plane
from schemathesis.checks import CheckContext
from schemathesis.config import (
    CheckConfig,
    ChecksConfig,
    GenerationConfig,
    HealthCheck,
    PhasesConfig,
    SchemathesisConfig,
)
from schemathesis.engine import from_schema
from schemathesis.engine.events import NonFatalError, ScenarioFinished

from arco_flow.adapters.gcp.wiring import web_handler
from arco_flow.domain.envelope import CallbackErrorPayload, DispatchEnvelope
from arco_flow.domain.manifest import Manifest
from arco_flow.http.app import App
from arco_flow.http.asgi import AsgiApp, Message, Receive, Send
from arco_flow.http.error_bodies import ErrorBody, ErrorInfo
from arco_flow.http.openapi_texts import BODY_EXAMPLES, PATH_PARAMS

T = TypeVar("T", bound=msgspec.Struct)

OTHER_NAMES = 8
"""One in so many names in paths is left as it was made up."""


class Described:
    """A plane with what the examples of the description name, and a run with an attempt.

    is_function: asked through the handler of the function `api` instead of plain ASGI. answers:
    how often each status was given.
    """

    def __init__(self, *, is_function: bool = False) -> None:
        self.plane = Plane()
        self.plane.post("/deployments", BODY_EXAMPLES[Manifest])
        self.plane.post("/dynamicPartitions/regions:add", {"partitions": ["eu"]})
        self.run: str = self.plane.post("/runs", {"selection": "shop.orders"})["runId"]
        self.plane.work()
        self.envelope: DispatchEnvelope = self.plane.envelopes[0]
        self.names = {
            "workspace": "test",
            "run": self.run,
            "task": "shop.orders",
            "asset": "shop.orders",
            "definition": "regions",
            "taskId": self.envelope.task_id,
        }
        # Nobody waits: a request that may be held back for a minute is answered at once.
        app = App(self.plane.engine, self.plane.authenticator, max_waits=0)
        self._serve = _function(app) if is_function else AsgiApp(app)
        self.answers: Counter[int] = Counter()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """ASGI 3."""

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.answers[message["status"]] += 1
            await send(message)

        await self._serve(scope, receive, counted)

    def name_what_exists(self, case: schemathesis.Case) -> None:
        """The request, about things of this plane: mostly in its path, always in a report."""
        for name, made_up in (case.path_parameters or {}).items():
            is_example = made_up == PATH_PARAMS[name].example
            if is_example or crc32(repr(made_up).encode()) % OTHER_NAMES:
                case.path_parameters[name] = self.names[name]
        if is_report(case) and isinstance(case.body, dict):
            claim = {"attempt": self.envelope.attempt, "attemptId": self.envelope.attempt_id}
            for name, value in claim.items():
                if type(case.body.get(name)) is type(value):
                    case.body[name] = value

    def credential(self, case: schemathesis.Case) -> str:
        """The token that the request needs."""
        return self.envelope.task_token if is_report(case) else WRITER


def _function(app: App) -> Any:
    from starlette.requests import Request as WebRequest

    handler = web_handler(app.handle)

    async def serve(scope: Message, receive: Receive, send: Send) -> None:
        answer = await handler(WebRequest(scope, receive))
        await answer(scope, receive, send)

    return serve


def is_report(case: schemathesis.Case) -> bool:
    return case.path.startswith("/v1/tasks/")


@dataclass
class Verdict:
    """failures: what was found, once per operation and check, with the request that shows it."""

    requests: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    failures: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def text(self) -> str:
        return "\n\n".join(
            "\n".join((*map(str, where), told)) for where, told in self.failures.items()
        )


@schemathesis.hook
def before_call(_context: Any, case: schemathesis.Case, _kwargs: dict[str, Any]) -> None:
    """Of every request, in every phase."""
    case.operation.app.name_what_exists(case)


@schemathesis.check
def refusal_is_told(_ctx: CheckContext, response: Any, case: schemathesis.Case) -> None:
    """A refusal is a documented one, in the form of its route, and says how it is mended."""
    status = response.status_code
    if status < 400:
        return
    assert response.headers.get("cache-control") == ["no-store"]
    if status == 405:
        assert response.headers.get("allow")
    else:
        known = case.operation.definition.raw["responses"]
        assert str(status) in known, f"{status} is not described"
        if is_report(case):
            report = _read(response, CallbackErrorPayload)
            assert report.error == report.error.lower()
            return
    error = _read(response, ErrorBody).error
    info = error.details[0]
    assert isinstance(info, ErrorInfo)
    assert error.code == status
    assert info.reason == info.reason.upper()
    if status not in (401, 403):
        assert info.metadata.get("fix"), "the refusal does not say how it is mended"
        assert error.message.endswith(info.metadata["fix"])


def _read(response: Any, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(response.content, type=kind)
    except msgspec.MsgspecError as error:
        raise AssertionError(f"this is no {kind.__name__}: {error}") from error


def ask(
    described: Described, *phases: str, seed: int = 1, examples: int = 10, is_fresh: bool = False
) -> Verdict:
    """What schemathesis finds. phases: of examples, coverage, fuzzing, stateful. examples: requests
    per operation when fuzzing. is_fresh: other requests with each seed, else the same always."""
    # How fast requests are made up is not judged: machines are busy.
    config = SchemathesisConfig(seed=seed, suppress_health_check=[HealthCheck.all])
    project = config.projects.default
    project.continue_on_failure = True
    project.generation = GenerationConfig(
        max_examples=examples, deterministic=not is_fresh, database="none"
    )
    # Descriptions can not say all that makes a request good: a selection is a language.
    accepts = CheckConfig(expected_statuses=["2xx", "400", "404", "409", "410"])
    project.checks = ChecksConfig(positive_data_acceptance=accepts)
    project.phases = PhasesConfig.from_dict(
        {
            name: {"enabled": name in phases}
            for name in ("examples", "coverage", "fuzzing", "stateful")
        }
    )
    schema = schemathesis.openapi.from_asgi("/v1/openapi.json", described, config=config)
    _prepare(schema, described)
    verdict = Verdict(answers=described.answers)
    for event in from_schema(schema).execute():
        if isinstance(event, ScenarioFinished):
            _judge(event, verdict)
        elif isinstance(event, NonFatalError):
            verdict.failures[(str(event.label), "error", type(event.value).__name__)] = str(
                event.value
            )
    return verdict


def _prepare(schema: Any, described: Described) -> None:
    @schema.auth()
    class Credentials:
        def get(self, case: schemathesis.Case, _context: Any) -> str:
            return described.credential(case)

        def set(self, case: schemathesis.Case, token: str, _context: Any) -> None:
            case.headers["Authorization"] = f"Bearer {token}"


def _judge(event: ScenarioFinished, verdict: Verdict) -> None:
    recorder = event.recorder
    verdict.requests += len(recorder.interactions)
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is None:
                continue
            case = recorder.cases[case_id].value
            answer = recorder.interactions[case_id].response
            told = "" if answer is None else f"{answer.status_code} {answer.content[:800]!r}"
            failure = check.failure_info.failure
            where = (case.operation.label, check.name, failure.title)
            verdict.failures.setdefault(
                where, f"{failure.message[:800]}\n{case.as_curl_command()[:1500]}\n{told}"
            )


def main(seconds: float) -> None:
    """Ask with fresh seeds, by turns through ASGI and through the function, and say what came."""
    logging.disable(logging.CRITICAL)
    end = time.monotonic() + seconds
    failures: dict[tuple[str, str, str], str] = {}
    requests, answers, rounds = 0, Counter[int](), 0
    while time.monotonic() < end:
        seed = secrets.randbits(32)
        described = Described(is_function=bool(rounds % 2))
        verdict = ask(
            described,
            "coverage", "fuzzing", "stateful",
            seed=seed, examples=100, is_fresh=True,
        )  # fmt: skip
        rounds += 1
        answers += described.answers
        for where, told in verdict.failures.items():
            if where not in failures:
                failures[where] = told
                print("\n".join((f"seed {seed}", *where, told, "")), flush=True)
        requests = answers.total()
        print(
            f"{rounds} rounds, {requests} requests, {len(failures)} kinds of failures", flush=True
        )
    print(
        json.dumps(
            {"rounds": rounds, "requests": requests, "answers": dict(sorted(answers.items()))}
        )
    )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60)
