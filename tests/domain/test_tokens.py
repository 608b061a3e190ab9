"""Attempt tokens: one of ours is read back, and nothing else is."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arco_flow.domain.errors import InvalidInput, Unauthenticated
from arco_flow.domain.identifiers import MAX_ASSET_KEY_CHARS, MAX_SLUG_CHARS
from arco_flow.domain.ids import callback_task_id, short_task
from arco_flow.domain.name_partitions import MAX_KEY_BYTES
from arco_flow.domain.tokens import (
    LEEWAY_MS,
    MAX_TOKEN_CHARS,
    AttemptClaims,
    sign_attempt_token,
    verify_attempt_token,
)
from arco_flow.http.app import MAX_HEADER_CHARS, MAX_TARGET_CHARS

SECRET = b"a secret of thirty-two bytes ...."
NOW = 1_750_000_000_000
CLAIMS = AttemptClaims(
    tenant="acme",
    workspace="test",
    task_id="ct1_cnVuAHRhc2s",
    run_id="run_abc",
    attempt=2,
    attempt_id="att_123",
    expires_ms=NOW + 60_000,
)
HEADER = {"alg": "HS256", "typ": "JWT"}
PAYLOAD = {
    "taskId": CLAIMS.task_id,
    "tenantId": "acme",
    "workspaceId": "test",
    "runId": "run_abc",
    "attempt": 2,
    "attemptId": "att_123",
    "exp": NOW // 1000 + 60,
    "nbf": NOW // 1000,
    "iat": NOW // 1000,
    "iss": "arco-flow",
    "aud": "arco-flow/worker-callback",
}


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def forge(header: object, payload: bytes, secret: bytes = SECRET, digest: str = "sha256") -> str:
    signed = f"{b64(compact(header))}.{b64(payload)}"
    return f"{signed}.{b64(hmac.digest(secret, signed.encode(), digest))}"


def reason(token: str, now_ms: int = NOW) -> str:
    with pytest.raises(Unauthenticated) as caught:
        verify_attempt_token(SECRET, token, now_ms)
    return caught.value.reason


def test_a_token_is_read_back_as_it_was_signed() -> None:
    token = sign_attempt_token(SECRET, CLAIMS, NOW)
    assert verify_attempt_token(SECRET, token, NOW) == CLAIMS
    assert token == forge(HEADER, compact(PAYLOAD)), "a plain HS256 JWT, by an independent writer"


@given(
    st.builds(
        AttemptClaims,
        tenant=st.text(max_size=8),
        workspace=st.text(max_size=8),
        task_id=st.text(max_size=20),
        run_id=st.text(max_size=20),
        attempt=st.integers(0, 2**31),
        attempt_id=st.text(max_size=20),
        expires_ms=st.integers(NOW // 1000 + 1, NOW // 1000 + 86400).map(lambda s: s * 1000),
    )
)
def test_any_claims_survive_the_way(claims: AttemptClaims) -> None:
    assert verify_attempt_token(SECRET, sign_attempt_token(SECRET, claims, NOW), NOW) == claims


def test_a_token_of_the_longest_task_is_read_back() -> None:
    task = short_task("n." + "a" * (MAX_ASSET_KEY_CHARS - 2), "k" * MAX_KEY_BYTES)
    run_id = "run_" + "a" * 96
    claims = AttemptClaims(
        tenant="t" * MAX_SLUG_CHARS,
        workspace="w" * MAX_SLUG_CHARS,
        task_id=callback_task_id(run_id, task),
        run_id=run_id,
        attempt=2**31,
        attempt_id="att_" + "a" * 24,
        expires_ms=NOW + 60_000,
    )
    token = sign_attempt_token(SECRET, claims, NOW)
    assert verify_attempt_token(SECRET, token, NOW) == claims
    assert len(f"Authorization: Bearer {token}") <= MAX_HEADER_CHARS
    assert len(f"/v1/tasks/{claims.task_id}/completed") <= MAX_TARGET_CHARS


def test_a_token_dies_at_its_second_without_leeway() -> None:
    token = sign_attempt_token(SECRET, CLAIMS, NOW)
    verify_attempt_token(SECRET, token, CLAIMS.expires_ms - 1)
    assert reason(token, CLAIMS.expires_ms) == "TOKEN_EXPIRED"


def test_a_signer_whose_clock_is_a_minute_ahead_is_believed_and_no_more() -> None:
    token = sign_attempt_token(SECRET, replace(CLAIMS, expires_ms=NOW + 10**7), NOW + LEEWAY_MS)
    verify_attempt_token(SECRET, token, NOW)
    assert reason(token, NOW - 1000) == "TOKEN_NOT_YET_VALID"


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "typ": "JWT"},
        {"alg": "None", "typ": "JWT"},
        {"alg": "RS256", "typ": "JWT"},
        {"alg": "ES256", "typ": "JWT"},
        {"alg": "HS384", "typ": "JWT"},
        {"alg": "hs256", "typ": "JWT"},
        {"alg": ["HS256"], "typ": "JWT"},
        {"typ": "JWT"},
        {"typ": "JWT", "alg": "HS256"},
        {**HEADER, "kid": "../../dev/null"},
        {**HEADER, "kid": "' OR 1=1 --"},
        {**HEADER, "jwk": {"kty": "oct", "k": b64(SECRET)}},
        {**HEADER, "jku": "https://keys.example/jwks.json"},
        {**HEADER, "x5u": "https://keys.example/cert.pem"},
        {**HEADER, "crit": ["exp"]},
        {},
        "HS256",
    ],
)
def test_no_other_header_is_read_even_when_the_signature_is_right(header: object) -> None:
    assert reason(forge(header, compact(PAYLOAD))) == "TOKEN_ALGORITHM"


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({**PAYLOAD, "iss": "somebody"}, "TOKEN_ISSUER"),
        ({**PAYLOAD, "aud": "arco-flow/api"}, "TOKEN_AUDIENCE"),
        ({**PAYLOAD, "aud": ["arco-flow/worker-callback"]}, "TOKEN_MALFORMED"),
        ({**PAYLOAD, "exp": NOW // 1000}, "TOKEN_EXPIRED"),
        ({**PAYLOAD, "exp": str(NOW)}, "TOKEN_MALFORMED"),
        ({**PAYLOAD, "exp": 1.8e9}, "TOKEN_MALFORMED"),
        ({**PAYLOAD, "exp": True}, "TOKEN_MALFORMED"),
        ({**PAYLOAD, "exp": None}, "TOKEN_MALFORMED"),
        ({**PAYLOAD, "nbf": NOW // 1000 + 61}, "TOKEN_NOT_YET_VALID"),
        ({**PAYLOAD, "iat": NOW // 1000 + 600}, "TOKEN_NOT_YET_VALID"),
        ({**PAYLOAD, "attempt": "2"}, "TOKEN_MALFORMED"),
        ({**PAYLOAD, "role": "admin"}, "TOKEN_MALFORMED"),
        ({k: v for k, v in PAYLOAD.items() if k != "exp"}, "TOKEN_MALFORMED"),
        ([PAYLOAD], "TOKEN_MALFORMED"),
    ],
)
def test_claims_are_checked_one_by_one(payload: object, expected: str) -> None:
    assert reason(forge(HEADER, compact(payload))) == expected


def test_a_claim_that_occurs_twice_is_refused() -> None:
    raw = compact(PAYLOAD)
    assert reason(forge(HEADER, raw[:-1] + b',"attempt":2}')) == "TOKEN_MALFORMED"


def test_signatures_that_do_not_verify() -> None:
    token = sign_attempt_token(SECRET, CLAIMS, NOW)
    head, body, signature = token.split(".")
    other = b64(compact({**PAYLOAD, "attempt": 3}))
    public_key = b"-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n"
    for forged in (
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-1]}",
        f"{head}.{body}.{signature[:20]}",
        f"{head}.{body}.{signature}=",
        f"{head}.{other}.{signature}",
        f"{head}.{body}.{b64(hashlib.sha256((head + '.' + body).encode()).digest())}",
        forge(HEADER, compact(PAYLOAD), b"another secret of 32 bytes ......"),
        forge(HEADER, compact(PAYLOAD), public_key),
        forge(HEADER, compact(PAYLOAD), digest="sha512"),
    ):
        assert reason(forged) == "TOKEN_SIGNATURE"


def test_a_second_spelling_of_the_same_signature_is_no_token() -> None:
    token = sign_attempt_token(SECRET, CLAIMS, NOW)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]
    assert base64.urlsafe_b64decode(twin.split(".")[2] + "=") == base64.urlsafe_b64decode(
        token.split(".")[2] + "="
    )
    assert reason(twin) == "TOKEN_SIGNATURE"


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("", "TOKEN_MISSING"),
        ("x", "TOKEN_MALFORMED"),
        ("a.b", "TOKEN_MALFORMED"),
        ("a.b.c.d", "TOKEN_MALFORMED"),
        ("é.b.c", "TOKEN_MALFORMED"),
        ("..", "TOKEN_ALGORITHM"),
        ("x" * (MAX_TOKEN_CHARS + 1), "TOKEN_TOO_LARGE"),
        (f"{'A' * 100_000}.e30.x", "TOKEN_TOO_LARGE"),
    ],
)
def test_what_is_no_token_at_all(token: str, expected: str) -> None:
    assert reason(token) == expected


@pytest.mark.parametrize("secret", [b"", b"short", b"x" * 31])
def test_a_secret_that_can_be_guessed_is_refused(secret: bytes) -> None:
    with pytest.raises(InvalidInput, match="at least 32"):
        sign_attempt_token(secret, CLAIMS, NOW)
    with pytest.raises(InvalidInput, match="at least 32"):
        verify_attempt_token(secret, "a.b.c", NOW)


@given(st.text(max_size=60))
def test_no_text_makes_the_verifier_fail_in_another_way(text: str) -> None:
    for token in (text, f"{text}.{text}.{text}"):
        with pytest.raises(Unauthenticated):
            verify_attempt_token(SECRET, token, NOW)
