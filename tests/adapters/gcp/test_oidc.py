"""Identity tokens: what is forged, old, early or meant for another is refused; keys rotate."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.auth import crypt, jwt

from arco_emulators.identity import GOOGLE, KEY_FILE, Issuer
from arco_flow.adapters.gcp.oidc import (
    GOOGLE_CERTS_URL,
    LONGEST_FRESH_SECONDS,
    MAX_TOKEN_CHARS,
    REFRESH_SECONDS,
    RETRY_SECONDS,
    TAKEN_SIGNATURE,
    Certificates,
    OidcVerifier,
    fetch_certificates,
)
from arco_flow.domain.errors import Unauthenticated, Unavailable
from handler_server import QuietHandler, serving_handler

EMAIL = "tasks@shop.iam.gserviceaccount.com"
AUDIENCE = "https://dispatch.example"
HOUR = 3600.0


@cache
def pem(name: str) -> bytes:
    """A key and its certificate, the same for the same name: they take long to make."""
    with tempfile.TemporaryDirectory() as folder:
        Issuer.open(Path(folder))
        return (Path(folder) / KEY_FILE).read_bytes()


@cache
def issuer_of(name: str) -> Issuer:
    return Issuer(pem(name))


@cache
def signer_of(name: str) -> crypt.RSASigner:
    """Signs with the key of this name, under the kid of the first."""
    return crypt.RSASigner.from_string(pem(name), issuer_of("first").key_id)


class Provider:
    """What stands where the certificates are fetched, with a clock of its own."""

    def __init__(self, *issuers: Issuer, fresh_seconds: float = HOUR) -> None:
        self.issuers = list(issuers)
        self.fresh_seconds = fresh_seconds
        self.is_down = False
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()
        self.may_answer.set()
        self.fetched: list[str] = []
        self.now = 1_000.0
        self.verifier = OidcVerifier(fetch=self.fetch, now=lambda: self.now)

    async def fetch(self, url: str) -> Certificates:
        self.fetched.append(url)
        self.asked.set()
        await asyncio.sleep(0)
        await self.may_answer.wait()
        if self.is_down:
            raise Unavailable("the provider is down")
        keys = {key: text for issuer in self.issuers for key, text in issuer.certs().items()}
        return Certificates(keys, self.fresh_seconds)

    def email_of(self, token: str, audience: str = AUDIENCE) -> str:
        return run(self.verifier.email_of(token, audience))

    def refuses(self, token: str, why: str = "is refused") -> None:
        with pytest.raises(Unauthenticated, match=why) as caught:
            self.email_of(token)
        assert caught.value.reason == "TOKEN_REFUSED"
        assert not token or token not in str(caught.value)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


@pytest.fixture
def issuer() -> Issuer:
    return issuer_of("first")


@pytest.fixture
def provider(issuer: Issuer) -> Provider:
    return Provider(issuer)


def part(document: object) -> str:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    plain = {"iss": GOOGLE, "aud": AUDIENCE, "email": EMAIL, "email_verified": True}
    return {**plain, "iat": now, "exp": now + 3600, **changes}


def signed(header: object, payload: object) -> str:
    """A token with a good signature over any header and any claims, given as JSON or as bytes."""
    text = f"{part(header)}.{part(payload)}"
    return f"{text}.{part(signer_of('first').sign(text.encode()))}"


def header_of(issuer: Issuer, **more: Any) -> dict[str, Any]:
    return {"alg": "RS256", "kid": issuer.key_id, "typ": "JWT", **more}


# -- good tokens --------------------------------------------------------------------------------


def test_a_good_token_tells_the_verified_address(provider: Provider, issuer: Issuer) -> None:
    assert provider.email_of(issuer.mint(EMAIL, AUDIENCE)) == EMAIL
    assert provider.fetched == [GOOGLE_CERTS_URL]


def test_both_names_of_the_issuer_are_its_own(provider: Provider, issuer: Issuer) -> None:
    token = issuer.mint(EMAIL, AUDIENCE, claims={"iss": "accounts.google.com"})
    assert provider.email_of(token) == EMAIL


@pytest.mark.parametrize(
    "changes", [{"iat": 50, "exp": 3600}, {"nbf": 50}, {"iat": -3600, "exp": -50}]
)
def test_clocks_may_differ_by_a_minute(
    provider: Provider, issuer: Issuer, changes: dict[str, int]
) -> None:
    now = int(time.time())
    shifted = {name: now + seconds for name, seconds in changes.items()}
    assert provider.email_of(issuer.mint(EMAIL, AUDIENCE, claims=shifted)) == EMAIL


def test_a_header_may_say_more_than_it_must(provider: Provider, issuer: Issuer) -> None:
    assert provider.email_of(signed(header_of(issuer, cty="x"), claims())) == EMAIL


# -- forged tokens --------------------------------------------------------------------------------


def _hs256(issuer: Issuer, secret: bytes, kid: str) -> str:
    text = f"{part({'alg': 'HS256', 'kid': kid, 'typ': 'JWT'})}.{part(claims())}"
    return f"{text}.{part(hmac.digest(secret, text.encode(), hashlib.sha256))}"


def _es256(issuer: Issuer) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    text = f"{part({'alg': 'ES256', 'kid': issuer.key_id})}.{part(claims())}"
    return f"{text}.{part(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))}"


def _other_key(issuer: Issuer, **header: Any) -> str:
    """Signed by a key of the attacker's under the kid of ours."""
    signer = signer_of("attacker")
    return str(jwt.encode(signer, claims(), header=dict(header), key_id=issuer.key_id), "ascii")


def _certificate(issuer: Issuer) -> bytes:
    return issuer.certs()[issuer.key_id].encode()


def _public_key(issuer: Issuer) -> bytes:
    key = serialization.load_pem_private_key(pem("first"), password=None).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form)


def _unsigned(issuer: Issuer, alg: object, signature: str = "") -> str:
    return f"{part({'alg': alg, 'kid': issuer.key_id})}.{part(claims())}.{signature}"


def _good(issuer: Issuer) -> list[str]:
    return issuer.mint(EMAIL, AUDIENCE).split(".")


ATTACKER = issuer_of("attacker")
FORGERIES: Mapping[str, Callable[[Issuer], str]] = {
    "nothing": lambda _: "",
    "a word": lambda _: "nonsense",
    "two parts": lambda i: ".".join(_good(i)[:2]),
    "four parts": lambda i: ".".join([*_good(i), "x"]),
    "dots alone": lambda _: "..",
    "no algorithm": lambda i: _unsigned(i, "none"),
    "no algorithm, in capitals": lambda i: _unsigned(i, "NONE"),
    "no algorithm with a signature": lambda i: _unsigned(i, "none", _good(i)[2]),
    "algorithm left out": lambda i: signed({"kid": i.key_id}, claims()),
    "algorithm as a list": lambda i: signed(header_of(i, alg=["RS256"]), claims()),
    "algorithm in small letters": lambda i: signed(header_of(i, alg="rs256"), claims()),
    "HS256 with the certificate": lambda i: _hs256(i, _certificate(i), i.key_id),
    "HS256 with the public key": lambda i: _hs256(i, _public_key(i), i.key_id),
    "HS256 with nothing": lambda i: _hs256(i, b"", i.key_id),
    "RS512 over the same key": lambda i: signed(header_of(i, alg="RS512"), claims()),
    "PS256 over the same key": lambda i: signed(header_of(i, alg="PS256"), claims()),
    "ES256": _es256,
    "another key under our kid": _other_key,
    "its own key in jwk": lambda i: _other_key(i, jwk=ATTACKER.jwks()["keys"][0]),
    "its own keys by jku": lambda i: _other_key(i, jku="https://attacker.example/jwks"),
    "its own keys by x5u": lambda i: _other_key(i, x5u="https://attacker.example/cert"),
    "its own certificate in x5c": lambda i: _other_key(i, x5c=[part(pem("attacker"))]),
    "kid left out": lambda i: signed({"alg": "RS256"}, claims()),
    "kid empty": lambda i: signed(header_of(i, kid=""), claims()),
    "kid a list": lambda i: signed(header_of(i, kid=[i.key_id]), claims()),
    "kid null": lambda i: signed(header_of(i, kid=None), claims()),
    "kid a path": lambda i: signed(header_of(i, kid="../../../dev/null"), claims()),
    "kid SQL": lambda i: signed(header_of(i, kid="' or '1'='1"), claims()),
    "kid a URL": lambda i: signed(header_of(i, kid="https://attacker.example/k"), claims()),
    "kid with NUL": lambda i: signed(header_of(i, kid=f"{i.key_id}\0"), claims()),
    "signature empty": lambda i: ".".join([*_good(i)[:2], ""]),
    "signature taken by Cloud Run": lambda i: ".".join([*_good(i)[:2], TAKEN_SIGNATURE]),
    "signature truncated": lambda i: issuer_token(i)[:-8],
    "signature of zeros": lambda i: ".".join([*_good(i)[:2], part(bytes(256))]),
    "signature of another token": lambda i: ".".join(
        [*_good(i)[:2], i.mint("x@y.example", AUDIENCE).split(".")[2]]
    ),
    "signature with garbage in it": lambda i: issuer_token(i) + "!!!!",
    "claims exchanged": lambda i: ".".join(
        [_good(i)[0], part(claims(email="owner@shop.example")), _good(i)[2]]
    ),
    "header duplicated": lambda i: signed(
        b'{"alg":"none","alg":"RS256","kid":"%s"}' % i.key_id.encode(), claims()
    ),
    "claims duplicated": lambda i: signed(
        header_of(i), json.dumps(claims())[:-1].encode() + b',"email":"owner@shop.example"}'
    ),
    "claims of an infinite life": lambda i: signed(
        header_of(i), json.dumps(claims(exp=float("inf"))).encode()
    ),
    "claims that never expire": lambda i: signed(
        header_of(i), json.dumps(claims(exp=float("nan"))).encode()
    ),
    "claims in UTF-16": lambda i: signed(header_of(i), json.dumps(claims()).encode("utf-16")),
    "claims a list": lambda i: signed(header_of(i), [claims()]),
    "header a list": lambda i: signed(["RS256"], claims()),
    "header null": lambda i: signed(None, claims()),
    "header no JSON": lambda i: signed(b"{alg: RS256}", claims()),
    "header nested without end": lambda i: signed(b"[" * 4000, claims()),
    "header no base64": lambda i: "é{}." + ".".join(_good(i)[1:]),
    "100 KiB": lambda i: signed(header_of(i, x="x" * 102_400), claims()),
    "just too long": lambda i: "a" * (MAX_TOKEN_CHARS + 1),
}


def issuer_token(issuer: Issuer) -> str:
    return issuer.mint(EMAIL, AUDIENCE)


@pytest.mark.parametrize("what", FORGERIES)
def test_a_forged_token_is_refused_and_nothing_is_fetched_for_it(
    provider: Provider, issuer: Issuer, what: str
) -> None:
    provider.email_of(issuer_token(issuer))
    provider.refuses(FORGERIES[what](issuer))
    assert provider.fetched == [GOOGLE_CERTS_URL]


def test_a_token_whose_signature_the_platform_has_taken_is_refused_with_the_mend(
    provider: Provider, issuer: Issuer
) -> None:
    """Cloud Run does so where it checks who may invoke; no function could verify anybody then."""
    with pytest.raises(Unauthenticated, match="deploy this function with --no-invoker-iam-check"):
        provider.email_of(FORGERIES["signature taken by Cloud Run"](issuer))


# -- claims ---------------------------------------------------------------------------------------

MINUTE = 60
CLAIMS: Mapping[str, tuple[dict[str, Any], str]] = {
    "another issuer": ({"iss": "https://attacker.example"}, "issuer"),
    "an issuer that begins alike": ({"iss": f"{GOOGLE}.attacker.example"}, "issuer"),
    "no issuer": ({"iss": None}, "issuer"),
    "issuers in a list": ({"iss": [GOOGLE]}, "issuer"),
    "the audience of another function": ({"aud": "https://timer.example"}, "audience"),
    "an audience with a slash more": ({"aud": f"{AUDIENCE}/"}, "audience"),
    "an audience in a list": ({"aud": [AUDIENCE]}, "audience"),
    "ours among several audiences": ({"aud": ["https://x.example", AUDIENCE]}, "audience"),
    "no audience": ({"aud": None}, "audience"),
    "an address that is not verified": ({"email_verified": False}, "verified"),
    "an address that is verified as text": ({"email_verified": "true"}, "verified"),
    "an address that is verified as a number": ({"email_verified": 1}, "verified"),
    "nothing said of verification": ({"email_verified": None}, "verified"),
    "no address": ({"email": None}, "verified"),
    "addresses in a list": ({"email": [EMAIL]}, "verified"),
    "expired": ({"iat": -120 * MINUTE, "exp": -2 * MINUTE}, "verify"),
    "issued in ten minutes": ({"iat": 10 * MINUTE, "exp": 70 * MINUTE}, "verify"),
    "not valid before in ten minutes": ({"nbf": 10 * MINUTE}, "yet"),
}


@pytest.mark.parametrize("what", CLAIMS)
def test_a_signed_token_with_a_wrong_claim_is_refused(
    provider: Provider, issuer: Issuer, what: str
) -> None:
    changes, why = CLAIMS[what]
    now = int(time.time())
    times = {name: now + changes[name] for name in ("iat", "exp", "nbf") if name in changes}
    provider.refuses(issuer.mint(EMAIL, AUDIENCE, claims={**changes, **times}), why)


@pytest.mark.parametrize("name", ["iss", "aud", "exp", "iat", "email", "email_verified"])
def test_a_claim_that_is_left_out_is_wrong(provider: Provider, issuer: Issuer, name: str) -> None:
    kept = {key: value for key, value in claims().items() if key != name}
    provider.refuses(signed(header_of(issuer), kept))


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", [True, 0.5, "1", [1], {}, None])
def test_a_time_is_a_whole_number(
    provider: Provider, issuer: Issuer, name: str, value: Any
) -> None:
    provider.refuses(signed(header_of(issuer), claims(**{name: value})))


# -- certificates ---------------------------------------------------------------------------------


def test_certificates_are_kept_as_long_as_their_provider_says(
    provider: Provider, issuer: Issuer
) -> None:
    token = issuer_token(issuer)
    provider.email_of(token)
    provider.now += HOUR - 1
    provider.email_of(token)
    assert len(provider.fetched) == 1
    provider.now += 1
    provider.email_of(token)
    assert len(provider.fetched) == 2


@pytest.mark.parametrize(
    ("allowed", "kept"),
    [(0.0, REFRESH_SECONDS), (-5.0, REFRESH_SECONDS), (1e12, LONGEST_FRESH_SECONDS)],
)
def test_certificates_are_kept_neither_shorter_than_a_minute_nor_longer_than_a_day(
    issuer: Issuer, allowed: float, kept: float
) -> None:
    provider = Provider(issuer, fresh_seconds=allowed)
    token = issuer_token(issuer)
    provider.email_of(token)
    provider.now += kept - 1
    provider.email_of(token)
    assert len(provider.fetched) == 1
    provider.now += 1
    provider.email_of(token)
    assert len(provider.fetched) == 2


def test_a_new_key_is_fetched_and_a_key_that_was_withdrawn_is_refused(issuer: Issuer) -> None:
    provider, second = Provider(issuer), issuer_of("second")
    old, new = issuer_token(issuer), issuer_token(second)
    assert provider.email_of(old) == EMAIL
    provider.now += REFRESH_SECONDS
    provider.issuers.append(second)
    assert provider.email_of(new) == provider.email_of(old) == EMAIL, "both while they overlap"
    provider.issuers.remove(issuer)
    provider.now += HOUR
    assert provider.email_of(new) == EMAIL
    provider.refuses(old)


def test_tokens_of_unknown_keys_have_certificates_fetched_once_a_minute(
    provider: Provider, issuer: Issuer
) -> None:
    provider.email_of(issuer_token(issuer))
    unknown = issuer_token(issuer_of("second"))
    for _ in range(10):
        provider.refuses(unknown)
        provider.now += REFRESH_SECONDS / 10
    assert len(provider.fetched) == 1
    for _ in range(10):
        provider.refuses(unknown)
    assert len(provider.fetched) == 2


def test_many_first_requests_at_once_fetch_once(provider: Provider, issuer: Issuer) -> None:
    token = issuer_token(issuer)

    async def all_at_once() -> list[str]:
        calls = (provider.verifier.email_of(token, AUDIENCE) for _ in range(50))
        return await asyncio.gather(*calls)

    assert set(run(all_at_once())) == {EMAIL}
    assert len(provider.fetched) == 1


def test_a_known_key_does_not_wait_while_an_unknown_one_is_looked_for(issuer: Issuer) -> None:
    provider = Provider(issuer)
    good, unknown = issuer_token(issuer), issuer_token(issuer_of("second"))
    answers: list[str] = []

    async def scenario() -> None:
        await provider.verifier.email_of(good, AUDIENCE)
        provider.now += REFRESH_SECONDS
        provider.asked.clear()
        provider.may_answer.clear()
        waiting = asyncio.ensure_future(provider.verifier.email_of(unknown, AUDIENCE))
        await provider.asked.wait()
        async with asyncio.timeout(5):
            answers.append(await provider.verifier.email_of(good, AUDIENCE))
        provider.may_answer.set()
        with pytest.raises(Unauthenticated):
            await waiting

    run(scenario())
    assert answers == [EMAIL]


def test_while_the_provider_is_down_known_keys_are_good_and_others_undecided(
    provider: Provider, issuer: Issuer
) -> None:
    token, unknown = issuer_token(issuer), issuer_token(issuer_of("second"))
    provider.email_of(token)
    provider.is_down = True
    provider.now += 2 * HOUR
    for _ in range(10):
        assert provider.email_of(token) == EMAIL
        with pytest.raises(Unavailable, match="down"):
            provider.email_of(unknown)
    assert len(provider.fetched) == 2, "once a minute, whoever asks"
    provider.is_down = False
    provider.now += REFRESH_SECONDS
    assert provider.email_of(token) == EMAIL
    provider.refuses(unknown)
    assert len(provider.fetched) == 3, "old certificates are asked for again soon"


def test_without_any_certificate_the_provider_is_asked_again_soon(
    provider: Provider, issuer: Issuer
) -> None:
    provider.is_down = True
    token = issuer_token(issuer)
    for _ in range(3):
        with pytest.raises(Unavailable):
            provider.email_of(token)
    assert len(provider.fetched) == 1
    provider.is_down = False
    provider.now += RETRY_SECONDS
    assert provider.email_of(token) == EMAIL


# -- the fetch ------------------------------------------------------------------------------------


@contextmanager
def serving(status: int, body: bytes, headers: Mapping[str, str]) -> Iterator[tuple[str, list]]:
    asked: list[str] = []

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving_handler(Handler) as url:
        yield f"{url}/certs", asked


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Cache-Control": "public, max-age=19841, must-revalidate"}, 19841),
        ({"Cache-Control": "max-age=19841", "Age": "19000"}, 841),
        ({"Cache-Control": "max-age=19841", "Age": "-1"}, 19841),
        ({"Cache-Control": "max-age=" + "9" * 400}, 999_999_999),
        ({"Cache-Control": "no-store"}, REFRESH_SECONDS),
        ({}, REFRESH_SECONDS),
    ],
)
def test_certificates_come_with_the_time_that_they_are_good_for(
    headers: dict[str, str], seconds: float
) -> None:
    with serving(200, b'{"a": "PEM"}', headers) as (url, asked):
        found = run(fetch_certificates(url))
    assert (found.keys, found.fresh_seconds, asked) == ({"a": "PEM"}, seconds, ["/certs"])


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b'{"a": "PEM"}'),
        (404, b"nothing here"),
        (302, b""),
        (200, b""),
        (200, b"{}"),
        (200, b"[]"),
        (200, b"null"),
        (200, b"<html>"),
        (200, b"\xff\xfe\xfd"),
        (200, b"[" * 100_000),
        (200, b'{"a": "' + b"x" * (1 << 20) + b'"}'),
    ],
)
def test_an_answer_that_holds_no_certificates_is_none(status: int, body: bytes) -> None:
    elsewhere = {"Location": "/elsewhere"}
    with serving(status, body, elsewhere) as (url, asked), pytest.raises(Unavailable, match="read"):
        run(fetch_certificates(url))
    assert asked == ["/certs"], "redirects are not followed"


def test_a_provider_that_is_not_there_is_unavailable() -> None:
    with serving(200, b"{}", {}) as (url, _):
        pass
    with pytest.raises(Unavailable, match="can not be read"):
        run(fetch_certificates(url))
