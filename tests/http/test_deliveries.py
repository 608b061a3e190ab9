"""What the platform delivers: proved, worked on once, put aside when it can never succeed."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from http_plane import error_of

from arco_emulators.identity import Issuer
from arco_flow.adapters.gcp.oidc import Certificates, OidcVerifier
from arco_flow.domain import errors
from arco_flow.http.deliveries import (
    KEPT_ATTRIBUTES,
    KEPT_BODY_BYTES,
    KEPT_MESSAGE_BYTES,
    MAX_DELIVERY_BYTES,
    Caller,
    DeadLetter,
    DeliveryEndpoint,
)
from arco_flow.http.messages import Request, Response

EMAIL = "shop-tasks@shop.iam.gserviceaccount.com"
AUDIENCE = "https://dispatch.example"
BODY = b"acme:test:run:run_1"


@cache
def issuer() -> Issuer:
    with TemporaryDirectory() as folder:
        return Issuer.open(Path(folder))


class Function:
    """An endpoint over a verifier of real tokens. work, bury: what they raise, None = nothing."""

    def __init__(
        self, *, is_push: bool = False, emails: frozenset[str] = frozenset({EMAIL})
    ) -> None:
        self.raises: Exception | None = None
        self.burying_raises: Exception | None = None
        self.worked: list[bytes] = []
        self.stopped: list[bytes] = []
        self.buried: list[DeadLetter] = []
        self.provider_is_down = False
        self.endpoint = DeliveryEndpoint(
            "dispatch",
            self._work,
            Caller(AUDIENCE, emails),
            OidcVerifier(fetch=self._certificates),
            self._bury,
            is_push=is_push,
            also={"/stop": self._stop},
        )

    async def _stop(self, body: bytes) -> None:
        self.stopped.append(body)

    async def _certificates(self, _url: str) -> Certificates:
        if self.provider_is_down:
            raise errors.Unavailable("the provider is down")
        return Certificates(issuer().certs(), 3600)

    async def _work(self, body: bytes) -> None:
        self.worked.append(body)
        if self.raises is not None:
            raise self.raises

    async def _bury(self, letter: DeadLetter) -> None:
        if self.burying_raises is not None:
            raise self.burying_raises
        self.buried.append(letter)

    def deliver(self, body: bytes = BODY, *, token: str | None = None, **changes: Any) -> Response:
        given = issuer().token(EMAIL, AUDIENCE) if token is None else token
        headers = {"authorization": f"Bearer {given}", **changes.pop("headers", {})}
        request = Request(**{"method": "POST", "path": "/", **changes}, headers=headers, body=body)
        return self.answer(request)

    def answer(self, request: Request) -> Response:
        return asyncio.run(self.endpoint.handle(request))


@pytest.fixture
def function() -> Function:
    return Function()


def push(data: bytes | str = BODY, **message: Any) -> bytes:
    text = data if isinstance(data, str) else base64.b64encode(data).decode()
    told = {"data": text, "messageId": "1", "publishTime": "2026-01-01T00:00:00Z", **message}
    return json.dumps({"message": told, "subscription": "projects/p/subscriptions/s"}).encode()


def told(answer: Response) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.body)
    return found


# -- what is done -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", ""])
def test_a_delivery_is_worked_on_and_answered_200(function: Function, path: str) -> None:
    answer = function.deliver(path=path)
    assert (answer.status, told(answer)) == (200, {"status": "done"})
    assert function.worked == [BODY]


def test_another_path_has_its_own_work_and_the_same_guard(function: Function) -> None:
    assert function.deliver(path="/stop").status == 200
    assert (function.worked, function.stopped) == ([], [BODY])
    assert function.deliver(path="/stop", token="x").status == 401
    assert function.deliver(path="/stop", token=_mint(email="x@y.example")).status == 403
    assert function.deliver(path="/stop", method="GET").status == 405
    assert function.stopped == [BODY]


def test_a_push_is_taken_out_of_its_envelope() -> None:
    function = Function(is_push=True)
    assert function.deliver(push(b"\x00\xffany bytes")).status == 200
    assert function.deliver(push("")).status == 200
    assert function.deliver(b'{"message": {"attributes": {"a": "b"}}}').status == 200
    assert function.worked == [b"\x00\xffany bytes", b"", b""]


def test_the_longest_message_of_a_bus_fits_with_its_envelope() -> None:
    function = Function(is_push=True)
    attributes = {f"{number:0256}": "v" * 1024 for number in range(100)}
    longest = bytes(10_000_000 - 100 * (256 + 1024))
    assert function.deliver(push(longest, attributes=attributes)).status == 200
    assert [len(body) for body in function.worked] == [len(longest)]


def test_health_needs_no_token_and_does_no_work(function: Function) -> None:
    for method in ("GET", "HEAD"):
        answer = function.answer(Request(method, "/health/live"))
        assert (answer.status, told(answer)) == (200, {"status": "live"})
    assert function.answer(Request("POST", "/health/live", body=BODY)).status == 404
    assert not function.worked


# -- who may deliver -----------------------------------------------------------------------------


def _mint(**changes: Any) -> str:
    claims = {name: value for name, value in changes.items() if name not in ("email", "lifetime")}
    return issuer().mint(
        changes.get("email", EMAIL),
        AUDIENCE,
        lifetime_seconds=changes.get("lifetime", 3600),
        claims=claims,
    )


CREDENTIALS: dict[str, Callable[[], dict[str, str]]] = {
    "none": dict,
    "an empty one": lambda: {"authorization": ""},
    "no token behind the scheme": lambda: {"authorization": "Bearer "},
    "another scheme": lambda: {"authorization": "Basic eDp5"},
    "a word": lambda: {"authorization": "Bearer nonsense"},
    "two of them": lambda: {"authorization": f"Bearer {_mint()}, Bearer {_mint()}"},
    "one that has expired": lambda: {"authorization": f"Bearer {_mint(lifetime=-120)}"},
    "one of another audience": lambda: {
        "authorization": f"Bearer {_mint(aud='https://timer_ingest.example')}"
    },
    "one of another issuer": lambda: {
        "authorization": f"Bearer {_mint(iss='https://attacker.example')}"
    },
    "one whose address is not verified": lambda: {
        "authorization": f"Bearer {_mint(email_verified=False)}"
    },
    "one with a forged signature": lambda: {"authorization": f"Bearer {_mint()[:-6]}AAAAAA"},
    "what the platform sends along": lambda: {
        "x-cloudtasks-queuename": "wakes",
        "x-cloudtasks-taskname": "w_1",
        "x-cloudscheduler": "true",
        "x-goog-authenticated-user-email": f"accounts.google.com:{EMAIL}",
        "x-forwarded-for": "169.254.1.1",
        "x-serverless-authorization": f"Bearer {_mint()}",
        "from": "noreply@google.com",
    },
}


@pytest.mark.parametrize("what", CREDENTIALS)
def test_without_a_good_token_there_is_401_and_no_detail(function: Function, what: str) -> None:
    answer = function.answer(Request("POST", "/", headers=CREDENTIALS[what](), body=BODY))
    assert answer.status == 401
    assert error_of(answer)["message"] == "a valid credential is needed"
    assert dict(answer.headers)["www-authenticate"].startswith("Bearer")
    assert (function.worked, function.buried) == ([], [])


@pytest.mark.parametrize(
    "email", ["attacker@other.iam.gserviceaccount.com", EMAIL.upper(), f"x{EMAIL}", "shop-tasks"]
)
def test_a_good_token_of_another_account_is_403(function: Function, email: str) -> None:
    answer = function.deliver(token=_mint(email=email))
    assert (answer.status, error_of(answer)["status"]) == (403, "PERMISSION_DENIED")
    assert (function.worked, function.buried) == ([], [])


def test_a_function_that_nobody_may_call_lets_nobody_in() -> None:
    assert Function(emails=frozenset()).deliver().status == 403


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "post"])
def test_another_method_is_405(function: Function, method: str) -> None:
    override = {"x-http-method-override": "POST", "x-http-method": "POST"}
    answer = function.deliver(method=method, headers=override)
    assert answer.status == 405
    assert dict(answer.headers)["allow"] == "POST"


@pytest.mark.parametrize(
    "path",
    ["//", "/dispatch", "/health/live/", "/x/../", "/%2e", "/health/ready", "/;", "*", "/stop/"],
)
def test_another_path_is_404(function: Function, path: str) -> None:
    answer = function.deliver(path=path)
    assert answer.status == 404
    told = json.loads(answer.body)["error"]["message"]
    assert told.endswith("fix: the REST API is the function 'api': set ARCO_FLOW_URL to its URL")


def test_a_path_in_a_header_is_no_path(function: Function) -> None:
    shifted = {"x-original-url": "/health/live", "x-rewrite-url": "/", "x-forwarded-prefix": "/x"}
    assert function.answer(Request("POST", "/", headers=shifted, body=BODY)).status == 401


def test_a_token_that_can_not_be_verified_now_is_503(function: Function) -> None:
    function.provider_is_down = True
    answer = function.deliver()
    assert answer.status == 503
    assert dict(answer.headers)["retry-after"] == "1"
    assert not function.worked


def test_what_is_longer_than_any_delivery_is_413(function: Function) -> None:
    assert function.deliver(bytes(MAX_DELIVERY_BYTES + 1)).status == 413
    assert function.deliver(bytes(MAX_DELIVERY_BYTES + 1), token="x").status == 401
    assert (function.worked, function.buried) == ([], [])


def test_a_compressed_delivery_is_not_inflated(function: Function) -> None:
    bomb = gzip.compress(bytes(32 * 1024 * 1024))
    assert function.deliver(bomb, headers={"content-encoding": "gzip"}).status == 200
    assert function.worked == [bomb]


# -- what can never succeed --------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        errors.InvalidInput,
        errors.DefinitionError,
        errors.NotFound,
        errors.Conflict,
        errors.Gone,
        errors.TooLarge,
        errors.Rejected,
    ],
)
def test_what_can_never_succeed_is_put_aside_with_its_reason_and_answered_200(
    function: Function, kind: type[errors.Rejected], caplog: pytest.LogCaptureFixture
) -> None:
    function.raises = kind("this can not be\never", fix="mend it", reason="POISON")
    with caplog.at_level(logging.WARNING, "arco_flow.http"):
        answer = function.deliver()
    assert (answer.status, told(answer)) == (200, {"status": "put aside", "reason": "POISON"})
    assert function.buried == [DeadLetter("dispatch", BODY, "POISON", "this can not be\never")]
    assert caplog.messages[0].endswith(": put aside, POISON"), "the rest is in the dead letter"


def test_a_dead_letter_keeps_the_attributes_of_its_message() -> None:
    function = Function(is_push=True)
    function.raises = errors.InvalidInput("no")
    function.deliver(push(attributes={"tenant": "acme", "googclient_schemaencoding": "JSON"}))
    assert [(letter.body, letter.attributes) for letter in function.buried] == [
        (BODY, {"tenant": "acme"})
    ]


ENVELOPES: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{",
    "no object": b"[]",
    "no message": b'{"subscription": "s"}',
    "a message that is none": b'{"message": "text"}',
    "data that is no text": b'{"message": {"data": 7}}',
    "data that is no base64": push("%%%"),
    "base64 that is cut": push("YWJ"),
    "data that is not ASCII": push("ä"),
    "half a surrogate pair": b'{"message": {"data": "\\ud800"}}',
    "attributes that are no texts": push(attributes={"a": 1}),
    "no UTF-8": b'{"message": {"data": "\xff"}}',
    "nesting without end": b'{"message": ' + b"[" * 100_000,
    "nesting in what is not read": b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "NaN": b'{"message": {"data": NaN}}',
    "what a queue would send": BODY,
}


@pytest.mark.parametrize("what", ENVELOPES)
def test_a_push_whose_envelope_can_not_be_read_is_put_aside_as_it_came(what: str) -> None:
    function = Function(is_push=True)
    answer = function.deliver(ENVELOPES[what])
    assert (answer.status, told(answer)["status"]) == (200, "put aside")
    assert [letter.body for letter in function.buried] == [ENVELOPES[what]]
    assert function.buried[0].message.startswith("this is no push envelope")
    assert not function.worked


def test_a_dead_letter_fits_into_a_message_of_a_bus() -> None:
    function = Function(is_push=True)
    function.raises = errors.InvalidInput("ä" * 5_000)
    many = {f"a{number:03}": "v" for number in range(100)}
    function.deliver(push(bytes(KEPT_BODY_BYTES + 5), attributes=many))
    (letter,) = function.buried
    assert len(letter.body) == KEPT_BODY_BYTES
    assert letter.attributes["body_bytes"] == str(KEPT_BODY_BYTES + 5)
    assert len(letter.attributes) == KEPT_ATTRIBUTES
    assert letter.message == "ä" * (KEPT_MESSAGE_BYTES // 2)


# -- what comes again ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble",
    [
        errors.Unavailable("the store is away"),
        errors.OutcomeUnknown("it may have been written"),
        errors.TooLarge("no room for it"),
        errors.InvalidInput("the topic refuses it"),
    ],
)
def test_what_can_not_be_put_aside_now_comes_again(function: Function, trouble: Exception) -> None:
    function.raises = errors.InvalidInput("poison")
    function.burying_raises = trouble
    answer = function.deliver()
    assert answer.status == 503
    assert dict(answer.headers)["retry-after"] == "1"


@pytest.mark.parametrize("kind", [errors.Unavailable, errors.Contended, errors.OutcomeUnknown])
def test_what_may_succeed_later_is_503_with_a_pause(
    function: Function, kind: type[errors.ArcoError]
) -> None:
    function.raises = kind("not now")
    answer = function.deliver()
    assert (answer.status, error_of(answer)["status"]) == (503, "UNAVAILABLE")
    assert dict(answer.headers)["retry-after"] == "1"
    assert not function.buried


@pytest.mark.parametrize("status", [401, 403])
def test_a_right_that_the_function_itself_lacks_buries_nothing(
    function: Function, status: int
) -> None:
    function.raises = {401: errors.Unauthenticated, 403: errors.Forbidden}[status]("no")
    assert function.deliver().status == status
    assert not function.buried


@pytest.mark.parametrize(
    "defect", [RuntimeError("secret of the inside"), KeyError("x"), errors.ArcoError("inside")]
)
def test_a_defect_of_ours_is_500_without_details(function: Function, defect: Exception) -> None:
    function.raises = defect
    answer = function.deliver()
    assert answer.status == 500
    assert b"inside" not in answer.body
    assert error_of(answer)["details"][0]["metadata"] == {}
    assert not function.buried


def test_a_defect_while_burying_is_500_too(function: Function) -> None:
    function.raises = errors.InvalidInput("poison")
    function.burying_raises = RuntimeError("inside")
    assert function.deliver().status == 500
