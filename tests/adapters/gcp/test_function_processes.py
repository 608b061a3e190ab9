"""The list of attacks against real functions: processes, sockets, tokens of a local issuer."""

from __future__ import annotations

import base64
import gzip
import hmac
import http.client
import json
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.gcp.processes import SECRET, environment_of_function, serving_certificates
from arco_emulators.identity import Issuer
from arco_flow.adapters.gcp.bundle import free_ports
from arco_flow.domain.ids import callback_task_id
from arco_flow.domain.tokens import AttemptClaims, sign_attempt_token
from arco_flow.http.deliveries import MAX_DELIVERY_BYTES

ROOT = Path(__file__).parents[3]
TASKS, ANA = "tasks@shop.iam.gserviceaccount.com", "ana@shop.example"
READER, RIVAL = "reader@shop.example", "rival@other.example"
RUNS = "/v1/workspaces/prod/runs"
TASK_ID = callback_task_id("run_1", "shop.a")
TASK = f"/v1/tasks/{TASK_ID}/started"
NAMES = ("api", "dispatch", "worker_callback", "worker")
CALLBACKS = "https://callbacks.example"


class Functions:
    """Functions that no store, no queue and no bucket stands behind."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.issuer = Issuer.open(folder / "issuer")
        self.attacker = Issuer.open(folder / "attacker")
        certificates = stack.enter_context(serving_certificates(self.issuer.certs()))
        self.ports = dict(zip(NAMES, free_ports(len(NAMES)), strict=True))
        for name in self.ports:
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            stack.enter_context(_running(self._environment(name, certificates), log))
        for name in self.ports:
            self._wait_for(name)
        self.idle = stack.enter_context(socket.create_connection(("127.0.0.1", self.ports["api"])))
        self.idle.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        self.idle_since = time.monotonic()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def _environment(self, name: str, certificates: str) -> dict[str, str]:
        principals = {
            ANA: {"tenant": "shop", "workspace": "prod"},
            READER: {"tenant": "shop", "workspace": "prod", "permissions": ["read"]},
            RIVAL: {"tenant": "rival", "workspace": "other"},
        }
        return environment_of_function(
            name,
            self.ports[name],
            tasks_account=TASKS,
            callbacks=CALLBACKS,
            certificates=certificates,
            ARCO_FLOW_PRINCIPALS=json.dumps(principals),
        )

    def _wait_for(self, name: str) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if self.ask(name, "GET", "/health/live", token="")[0] == 200:
                    return
            except OSError:
                threading.Event().wait(0.05)
        raise AssertionError(f"{name} does not answer")

    def ask(
        self,
        name: str,
        method: str = "POST",
        path: str = "/",
        *,
        token: str | None = None,
        body: bytes | None = b"{}",
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON of an answer; token None = a good one."""
        given = self.good(name) if token is None else token
        sent = {"content-type": "application/json", **(headers or {})}
        if given:
            sent["authorization"] = f"Bearer {given}"
        with closing(
            http.client.HTTPConnection("127.0.0.1", self.ports[name], timeout=20)
        ) as connection:
            connection.request(method, path, None if method == "GET" else body, sent)
            answer = connection.getresponse()
            raw = answer.read()
            return answer.status, json.loads(raw) if raw[:1] == b"{" else {}

    def good(self, name: str) -> str:
        return self.issuer.token(ANA if name == "api" else TASKS, self.url(name))

    def mint(self, name: str, **claims: Any) -> str:
        email = claims.pop("email", ANA if name == "api" else TASKS)
        lifetime = claims.pop("lifetime", 3600)
        return self.issuer.mint(email, self.url(name), lifetime_seconds=lifetime, claims=claims)


@contextmanager
def _running(environment: dict[str, str], log: Any) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "functions" / "serve.py")],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait(20)


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Functions]:
    with ExitStack() as stack:
        yield Functions(tmp_path_factory.mktemp("functions"), stack)


def part(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def _unsigned(f: Functions, name: str) -> str:
    _, claims, _ = f.good(name).split(".")
    return f"{part({'alg': 'none', 'kid': f.issuer.key_id})}.{claims}."


def _attackers(f: Functions, name: str) -> str:
    signed = f.attacker.mint(ANA if name == "api" else TASKS, f.url(name))
    _, claims, signature = signed.split(".")
    return f"{part({'alg': 'RS256', 'kid': f.issuer.key_id})}.{claims}.{signature}"


def _our_public_key_as_a_secret(f: Functions, name: str) -> str:
    _, claims, _ = f.good(name).split(".")
    text = f"{part({'alg': 'HS256', 'kid': f.issuer.key_id})}.{claims}"
    [certificate] = f.issuer.certs().values()
    signature = hmac.digest(certificate.encode(), text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


REFUSED: Mapping[str, Callable[[Functions, str], str]] = {
    "no token": lambda _f, _n: "",
    "no token at all but a word": lambda _f, _n: "nonsense",
    "expired": lambda f, n: f.mint(n, lifetime=-120),
    "of another audience": lambda f, n: f.mint(n, aud="https://timer-ingest.example"),
    "of another function": lambda f, n: f.good("dispatch" if n == "api" else "api"),
    "of another issuer": lambda f, n: f.mint(n, iss="https://attacker.example"),
    "of an address that is not verified": lambda f, n: f.mint(n, email_verified=False),
    "forged: another key under our kid": _attackers,
    "forged: a key of the attacker's": lambda f, n: f.attacker.mint(TASKS, f.url(n)),
    "forged: signature cut": lambda f, n: f.good(n)[:-4],
    "forged: alg none": _unsigned,
    "forged: HS256 under our public key": _our_public_key_as_a_secret,
    "of 100 KiB": lambda _f, _n: "a" * 102_400,
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("name", ["api", "dispatch"])
def test_a_bad_token_is_401(functions: Functions, name: str, what: str) -> None:
    token = REFUSED[what](functions, name)
    path = RUNS if name == "api" else "/"
    if len(token) > 65_536:
        assert refused_by_the_server(functions, name, token)
        return
    status, answer = functions.ask(name, path=path, token=token)
    assert status == 401
    assert answer["error"]["message"] == "a valid credential is needed"


def refused_by_the_server(functions: Functions, name: str, token: str) -> bool:
    """A head of over 64 KiB does not reach us: 400 by the server, or the end of the connection."""
    try:
        return functions.ask(name, token=token)[0] in (400, 401, 431)
    except (ConnectionError, http.client.HTTPException):
        return True


ATTACKS: Mapping[str, tuple[str, dict[str, Any], int]] = {
    "a delivery of another service account": ("dispatch", {"email": "x@y.example"}, 403),
    "a delivery to a path that is none": ("dispatch", {"path": "/health"}, 404),
    "a delivery by GET": ("dispatch", {"method": "GET"}, 405),
    "a delivery by an overriding header": (
        "dispatch",
        {"method": "PUT", "headers": {"x-http-method-override": "POST"}},
        405,
    ),
    "a delivery by the headers of a queue": (
        "dispatch",
        {"token": "", "headers": {"x-cloudtasks-queuename": "wakes"}},
        401,
    ),
    "a delivery of another account by the headers of a queue": (
        "dispatch",
        {"email": "x@y.example", "headers": {"x-cloudtasks-queuename": "wakes"}},
        403,
    ),
    "a delivery of a user": ("dispatch", {"email": ANA}, 403),
    "a token in the URL": ("dispatch", {"token": "", "path": "/?access_token=x"}, 401),
    "an attempt that is stopped by another account": (
        "worker",
        {"path": "/stop_attempt", "email": ANA},
        403,
    ),
    "a delivery that is too large": (
        "dispatch",
        {"body": bytes(MAX_DELIVERY_BYTES + 1)},
        413,
    ),
    "a user who is nobody's principal": ("api", {"path": RUNS, "email": "x@y.example"}, 403),
    "a reader who writes": ("api", {"path": RUNS, "email": READER}, 403),
    "the workspace of another tenant": ("api", {"path": RUNS, "email": RIVAL}, 404),
    "a workspace that is nowhere": ("api", {"path": "/v1/workspaces/nowhere/runs"}, 404),
    "the address of a user in headers of a proxy": (
        "api",
        {
            "path": RUNS,
            "token": "",
            "headers": {
                "x-goog-authenticated-user-email": f"accounts.google.com:{ANA}",
                "x-forwarded-user": ANA,
                "x-serverless-authorization": "Bearer x",
            },
        },
        401,
    ),
    "another path in headers of a proxy": (
        "api",
        {
            "method": "GET",
            "path": "/v1/workspaces/other/runs",
            "headers": {"x-original-url": RUNS, "x-rewrite-url": RUNS, "x-forwarded-prefix": "/v1"},
        },
        404,
    ),
    "the API on the function of workers": ("worker_callback", {"path": RUNS}, 404),
    "an attempt token that is none": ("api", {"path": TASK, "token": "x.y.z"}, 401),
    "an identity token as an attempt token": ("api", {"path": TASK}, 401),
    "another spelling of a path": ("api", {"path": "/v1/workspaces/prod/%72uns"}, 404),
    "a path that climbs": ("api", {"path": "/health/../v1/workspaces/prod/runs"}, 404),
    "a body that is nested without end": ("api", {"path": RUNS, "body": b"[" * 100_000}, 400),
    "a body that is too large": ("api", {"path": RUNS, "body": b"[" * 300_000}, 413),
    "a compressed body": (
        "api",
        {
            "path": RUNS,
            "body": gzip.compress(bytes(1 << 24)),
            "headers": {"content-encoding": "gzip"},
        },
        415,
    ),
    "a body that is a form": (
        "api",
        {"path": RUNS, "headers": {"content-type": "application/x-www-form-urlencoded"}},
        415,
    ),
    "a URL without end": ("api", {"path": f"{RUNS}?filter={'x' * 9_000}", "method": "GET"}, 414),
    "a header without end": ("api", {"path": RUNS, "headers": {"x-a": "x" * 9_000}}, 431),
    "more headers than anybody needs": (
        "api",
        {"path": RUNS, "headers": {f"x-{number}": "1" for number in range(80)}},
        431,
    ),
}


@pytest.mark.parametrize("what", ATTACKS)
def test_an_attack_has_its_status(functions: Functions, what: str) -> None:
    name, request, status = ATTACKS[what]
    if "email" in request:
        token = functions.mint(name, email=request["email"])
        request = {k: v for k, v in request.items() if k != "email"} | {"token": token}
    assert functions.ask(name, **request)[0] == status


@pytest.mark.parametrize("name", ["api", "dispatch"])
def test_a_request_that_two_servers_could_read_in_two_ways_is_refused(
    functions: Functions, name: str
) -> None:
    for lines in (
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Content-Length: -2",
        "Content-Length : 2",
        "X: a\r\n b: c\r\nContent-Length: +2",
        "Transfer-Encoding: gzip",
    ):
        path = RUNS if name == "api" else "/"
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n{lines}\r\n\r\n{{}}"
        with socket.create_connection(("127.0.0.1", functions.ports[name]), timeout=20) as raw:
            raw.sendall(head.encode())
            raw.shutdown(socket.SHUT_WR)
            told = b"".join(iter(lambda: raw.recv(65536), b""))
        # An end without an answer is a refusal, too.
        assert told[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 501", b"HTTP/1.1 401"), lines
        assert told.count(b"HTTP/1.1") <= 1, "not two requests"


@pytest.mark.parametrize(("name", "path"), [("api", RUNS), ("api", TASK), ("dispatch", "/")])
def test_who_is_not_let_in_is_answered_before_the_body_has_come(
    functions: Functions, name: str, path: str
) -> None:
    lines = "Host: x\r\nAuthorization: Bearer x.y.z\r\nContent-Length: 1000"
    with socket.create_connection(("127.0.0.1", functions.ports[name]), timeout=20) as raw:
        raw.sendall(f"POST {path} HTTP/1.1\r\n{lines}\r\n\r\n".encode())
        assert raw.recv(65536)[:12] == b"HTTP/1.1 401"


def test_health_tells_that_it_lives_and_no_more(functions: Functions) -> None:
    for name in functions.ports:
        assert functions.ask(name, "GET", "/health/live", token="") == (200, {"status": "live"})


def test_a_connection_stays_open_between_two_requests(functions: Functions) -> None:
    assert b"200 OK" in functions.idle.recv(65536)
    # Google's front ends keep it for ten minutes. What closes sooner by mistake is uvicorn, after
    # five seconds; other tests have used most of them.
    remaining = functions.idle_since + 6 - time.monotonic()
    assert not select.select([functions.idle], [], [], max(0.0, remaining))[0], "not closed"
    functions.idle.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200 OK" in functions.idle.recv(65536)


# -- tokens that are sent twice, and those of attempts --------------------------------------------


@pytest.mark.parametrize("name", ["api", "dispatch"])
def test_of_two_tokens_none_counts(functions: Functions, name: str) -> None:
    good = functions.good(name)
    path = RUNS if name == "api" else "/"
    for lines in (
        f"Authorization: Bearer {good}\r\nAuthorization: Bearer {good}",
        f"Authorization: Bearer {good}\r\nauthorization: Bearer x.y.z",
        f"Authorization: Bearer x.y.z\r\nAuthorization: Bearer {good}",
        f"Authorization: Bearer x.y.z, Bearer {good}",
        f"Authorization: Basic eDp5\r\nAuthorization: Bearer {good}",
    ):
        with socket.create_connection(("127.0.0.1", functions.ports[name]), timeout=20) as raw:
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n{lines}\r\n\r\n"
            raw.sendall(head.encode())
            assert raw.recv(65536)[:12] == b"HTTP/1.1 401", lines


def attempt_token(*, secret: bytes = SECRET, task_id: str = TASK_ID, age_s: int = 0) -> str:
    """A token of an attempt, good for an hour from when it was signed."""
    now_ms = time.time_ns() // 1_000_000 - age_s * 1000
    claims = AttemptClaims("shop", "prod", task_id, "run_1", 1, "att_1", now_ms + 3_600_000)
    return sign_attempt_token(secret, claims, now_ms)


def _unsigned_attempt() -> str:
    _, claims, _ = attempt_token().split(".")
    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{claims}."


OTHER_TASK = callback_task_id("run_1", "shop.b")
REPORT = {"attempt": 1, "attemptId": "att_1", "workerId": "w"}
NESTED = json.dumps({**REPORT, "outcome": "SUCCEEDED", "output": 0}).replace("0}", "[" * 9_000)
REPORTS: Mapping[str, tuple[Callable[[], str], str, bytes, int]] = {
    "of another plane": (lambda: attempt_token(secret=b"x" * 32), "started", b"{}", 401),
    "expired": (lambda: attempt_token(age_s=3601), "started", b"{}", 401),
    "signed in ten minutes": (lambda: attempt_token(age_s=-600), "started", b"{}", 401),
    "unsigned": (_unsigned_attempt, "started", b"{}", 401),
    "of another task": (lambda: attempt_token(task_id=OTHER_TASK), "started", b"{}", 403),
    "of another attempt": (
        attempt_token,
        "started",
        json.dumps({**REPORT, "attempt": 2}).encode(),
        409,
    ),
    "nested without end": (attempt_token, "completed", NESTED.encode(), 400),
    "too large": (attempt_token, "completed", bytes(2 << 20), 413),
    "whose store is away": (attempt_token, "started", json.dumps(REPORT).encode(), 503),
}


@pytest.mark.parametrize("what", REPORTS)
def test_a_report_of_an_attempt_has_its_status(functions: Functions, what: str) -> None:
    token, verb, body, status = REPORTS[what]
    path = f"/v1/tasks/{TASK_ID}/{verb}"
    told, answer = functions.ask("worker_callback", path=path, token=token(), body=body)
    assert told == status
    assert isinstance(answer["error"], str), "in the words of the protocol"


def test_an_envelope_that_reports_to_another_host_is_not_followed(functions: Functions) -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        envelope = {
            "tenantId": "shop", "workspaceId": "prod", "taskKey": "shop.a", "runId": "run_1",
            "attempt": 1, "attemptId": "att_1", "dispatchId": "d", "taskToken": attempt_token(),
            "tokenExpiresAt": "2999-01-01T00:00:00Z", "payload": {},
            "callbackBaseUrl": f"http://127.0.0.1:{elsewhere.getsockname()[1]}",
        }  # fmt: skip
        status, _ = functions.ask("worker", body=json.dumps(envelope).encode())
        assert status == 503, "it is put aside, and there is no bus that keeps it"
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()
