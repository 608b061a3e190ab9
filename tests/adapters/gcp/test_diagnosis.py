"""What doctor finds that no emulator shows: Google's front end, and what ends by itself."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
from google.pubsub_v1.types import ExpirationPolicy, Subscription

from arco_emulators.identity import Issuer
from arco_flow.adapters.gcp.diagnosis import deployment_of
from arco_flow.adapters.gcp.diagnosis_callers import (
    functions_live,
    refuse_strangers,
    refuse_without_token,
)
from arco_flow.adapters.gcp.diagnosis_wiring import lasting
from arco_flow.adapters.gcp.verdicts import TOKENS_VARIABLE, Deployment

FUNCTIONS = Path(__file__).parents[3] / "functions"
NAMES = sorted(main.parent.name for main in FUNCTIONS.glob("*/main.py"))
DELIVERED = {"dispatch", "run_bridge", "sweeper", "timer_ingest", "worker"}


class Asked(NamedTuple):
    path: str
    has_token: bool


class FrontEnd:
    """Answers as Google's front end does before all functions. answers: status of a request."""

    def __init__(self, folder: Path) -> None:
        self.answers: Callable[[Asked], int] = lambda asked: 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                asked = Asked(self.path, "authorization" in self.headers)
                self.send_response(outer.answers(asked))
                self.send_header("content-length", "0")
                self.end_headers()

            do_POST = do_GET

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        token = Issuer.open(folder).mint("who@looks.test", self.url)
        self.deployment: Deployment = deployment_of(
            {
                "ARCO_FLOW_PROJECT": "shop",
                "ARCO_FLOW_LOCATION": "here",
                "ARCO_FLOW_BUCKET": "bucket",
                "ARCO_FLOW_AUDIENCE": self.url,
                "ARCO_FLOW_FUNCTION_URLS": json.dumps(dict.fromkeys(NAMES, self.url)),
                TOKENS_VARIABLE: json.dumps(dict.fromkeys(NAMES, token)),
            },
            FUNCTIONS,
        )

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def front(tmp_path: Path) -> Iterator[FrontEnd]:
    found = FrontEnd(tmp_path)
    yield found
    found.close()


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("lets_us_in", [True, False])
def test_a_platform_that_checks_who_may_invoke_is_a_problem_of_every_function(
    front: FrontEnd, status: int, lets_us_in: bool
) -> None:
    """It takes the signature from every token, so that no delivery would ever be let in."""
    front.answers = lambda asked: 200 if asked.has_token and lets_us_in else status
    verdict = asyncio.run(functions_live(front.deployment))
    assert len(verdict.problems) == len(NAMES)
    assert f"roles/run.invoker before 'api' ({status})" in verdict.problems[0].what
    assert "--no-invoker-iam-check" in verdict.problems[0].mend


def test_functions_that_take_nothing_from_outside_can_not_be_looked_at_from_there(
    front: FrontEnd,
) -> None:
    front.answers = lambda asked: 404
    live, closed, strange = (
        asyncio.run(check(front.deployment))
        for check in (functions_live, refuse_without_token, refuse_strangers)
    )
    assert [problem.what for problem in live.problems] == [
        f"the function '{name}' answers 404 at {front.url}" for name in ("api", "worker_callback")
    ]
    assert len(live.notes) == len(closed.notes) == len(strange.notes) == len(DELIVERED)
    assert "right, if its ingress is internal" in live.notes[0]
    assert not strange.problems
    assert [problem.what for problem in closed.problems] == [
        "the function 'api' answers a call without a token with 404, not 401 or 403"
    ]


def test_a_subscription_that_ends_by_itself_is_a_problem() -> None:
    """That of the dead letters rests as long as all is well, which may be for months."""
    name = "projects/shop/subscriptions/dead-letters-inspect"
    month = ExpirationPolicy(ttl=timedelta(days=31))
    [problem] = lasting(Subscription(name=name, expiration_policy=month))
    assert problem.what.endswith("'dead-letters-inspect' is deleted when it rests for 31 days")
    assert problem.mend.endswith("update dead-letters-inspect --expiration-period=never")
    assert lasting(Subscription(name=name, expiration_policy=ExpirationPolicy())) == []
    assert lasting(Subscription(name=name)) == []
