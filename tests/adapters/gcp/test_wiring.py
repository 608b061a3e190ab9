"""A function that is deployed wrongly fails at its start, or loses nothing until it is mended."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
from pathlib import Path

import pytest
from google.api_core.exceptions import PermissionDenied
from google.cloud import secretmanager

from adapters.gcp.served import certificates, issuer
from arco_flow.adapters.gcp import wiring
from arco_flow.adapters.gcp.api_wiring import _Api
from arco_flow.adapters.gcp.functions_table import load_functions_table
from arco_flow.adapters.gcp.oidc import OidcVerifier
from arco_flow.adapters.gcp.pacing import Pace
from arco_flow.adapters.gcp.settings import FunctionSettings
from arco_flow.adapters.gcp.wiring import STORAGE_PACE, CloudPlane
from arco_flow.adapters.gcp.worker_wiring import _Workers
from arco_flow.domain.errors import InvalidInput
from arco_flow.http.deliveries import DeadLetter, DeliveryEndpoint
from arco_flow.http.messages import Request, Response

AUDIENCE = "https://dispatch.example"


def plane(*callers: str) -> CloudPlane:
    return CloudPlane(
        FunctionSettings(
            function="dispatch",
            project="shop",
            location="here",
            bucket="shop",
            audience=AUDIENCE,
            urls={},
            accounts={},
            callers=frozenset(callers),
        )
    )


def test_the_callers_of_the_settings_may_deliver() -> None:
    caller = plane("a@shop.example", "b@shop.example").callers()
    assert caller.audience == AUDIENCE
    assert caller.emails == {"a@shop.example", "b@shop.example"}


def test_a_function_that_nobody_may_deliver_to_does_not_start() -> None:
    with pytest.raises(InvalidInput, match="nobody may deliver to the function 'dispatch'") as told:
        plane().callers()
    assert "ARCO_FLOW_CALLERS" in (told.value.fix or "")


SECRET = base64.b64encode(bytes(32)).decode()
WRONG = {
    "a secret that is too short": ("c2hvcnQ=", {"worker_callback": "https://callbacks.example"}),
    "no URL that workers report to": (SECRET, {}),
}


@pytest.fixture(params=WRONG)
def deployed_wrongly(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> CloudPlane:
    secret, urls = WRONG[request.param]
    monkeypatch.setenv("ARCO_FLOW_TENANT_SECRET", SECRET)
    monkeypatch.setenv("ARCO_FLOW_TOKEN_SECRET", secret)
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:1")
    found = plane("tasks@shop.example")
    return CloudPlane(dataclasses.replace(found.settings, tasks_endpoint="127.0.0.1:1", urls=urls))


def test_a_function_whose_engine_can_not_be_made_puts_nothing_aside(
    deployed_wrongly: CloudPlane,
) -> None:
    buried: list[DeadLetter] = []

    async def bury(letter: DeadLetter) -> None:
        buried.append(letter)

    async def work(_body: bytes) -> object:
        return await deployed_wrongly.engine()

    verifier = OidcVerifier(fetch=certificates)
    endpoint = DeliveryEndpoint("dispatch", work, deployed_wrongly.callers(), verifier, bury)
    token = issuer().token("tasks@shop.example", AUDIENCE)
    headers = {"authorization": f"Bearer {token}"}
    answer = asyncio.run(endpoint.handle(Request("POST", "/", "", headers, b"a wake")))
    assert answer.status == 500, "delivered again, until the deployment is mended"
    assert buried == []


def test_an_api_whose_engine_can_not_be_made_does_not_blame_its_caller(
    deployed_wrongly: CloudPlane,
) -> None:
    answer = asyncio.run(_asked(_Api(deployed_wrongly, "api")))
    assert answer.status == 500
    assert b"ARCO_FLOW" not in answer.body, "who is not known is told nothing of the deployment"


async def _asked(api: _Api) -> Response:
    async def no_body(_limit: int) -> bytes:
        return b""

    return await wiring._answered(api.handle, Request("GET", "/v1/openapi.json"), no_body)


def test_a_secret_that_can_not_be_read_now_is_named_in_the_log_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Google's client fails from here. Nobody knows who asks as long as there is no engine."""

    class Client:
        def access_secret_version(self, *, name: str, timeout: float) -> object:
            with pytest.raises(RuntimeError, match="no running event loop"):
                asyncio.get_running_loop()
            raise PermissionDenied(f"no access to {name} within {timeout}")

    monkeypatch.setattr(secretmanager, "SecretManagerServiceClient", Client)
    monkeypatch.setenv("ARCO_FLOW_TENANT_SECRET", SECRET)
    monkeypatch.setenv("ARCO_FLOW_TOKEN_SECRET", "projects/shop/secrets/token/versions/1")
    answer = asyncio.run(_asked(_Api(plane(), "api")))
    assert answer.status == 503
    assert b"projects/shop" not in answer.body
    assert "the secret projects/shop/secrets/token/versions/1 can not be read" in caplog.text


def test_a_worker_that_is_not_told_where_to_report_does_not_start() -> None:
    with pytest.raises(InvalidInput, match="URL of the function 'worker_callback' is not known"):
        _Workers(plane())


def test_a_call_that_hangs_is_given_up_before_the_request_that_it_is_for_is_cut() -> None:
    table = load_functions_table(Path(__file__).parents[3] / "functions" / "functions.yaml")
    of_the_plane = [row for row in table.functions.values() if "firestore" in row.uses]
    for pace in (Pace(), STORAGE_PACE):
        waits_ms = sum(pace.first_ms * 3**attempt for attempt in range(pace.attempts - 1))
        longest_s = pace.attempts * pace.timeout_s + waits_ms / 1000
        assert longest_s < min(row.timeout_seconds for row in of_the_plane)
