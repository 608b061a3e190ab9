"""Attempt tokens: what lets a worker report on one attempt of one task, and on nothing else.

A JSON Web Token signed with HMAC-SHA256 (RFC 7519, RFC 7518 §3.2), written with hmac and base64
alone. There is one algorithm and one header: a token whose header differs by a byte is refused
before anything in it is read, so `none`, another algorithm and embedded or named keys (`jwk`,
`jku`, `x5u`, `kid`) have no path to take. The signature is compared as text in constant time,
so a second spelling of the same bytes is no token either.
"""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass
from typing import Final

import msgspec

from arco_flow.domain.errors import InvalidInput, Unauthenticated

ISSUER: Final = "arco-flow"
AUDIENCE: Final = "arco-flow/worker-callback"
MAX_TOKEN_CHARS: Final = 7 * 1024
"""Longer ones are refused unread; a header line is at most 8 KiB."""
MIN_SECRET_BYTES: Final = 32
"""RFC 7518 §3.2: a key as long as the hash, or the signature can be guessed off line."""
LEEWAY_MS: Final = 60_000
"""How far the signer's clock may run ahead of ours, for nbf and iat; never for exp."""

_HEADER: Final = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class AttemptClaims:
    """What a token speaks for: exactly one attempt.

    task_id: the opaque id of the callback path. attempt: from 1. expires_ms: UTC epoch
    milliseconds from which the token is dead; a token carries whole seconds, rounded down.
    """

    tenant: str
    workspace: str
    task_id: str
    run_id: str
    attempt: int
    attempt_id: str
    expires_ms: int


class _Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The claims on the wire, under the names and in the order that we write them."""

    taskId: str  # noqa: N815
    tenantId: str  # noqa: N815
    workspaceId: str  # noqa: N815
    runId: str  # noqa: N815
    attempt: int
    attemptId: str  # noqa: N815
    exp: int
    nbf: int
    iat: int
    iss: str
    aud: str


_decoder = msgspec.json.Decoder(_Payload)


def sign_attempt_token(secret: bytes, claims: AttemptClaims, now_ms: int) -> str:
    """A token for these claims, valid from now_ms on. Raises InvalidInput on a short secret."""
    _require_secret(secret)
    now = now_ms // 1000
    payload = _Payload(
        taskId=claims.task_id,
        tenantId=claims.tenant,
        workspaceId=claims.workspace,
        runId=claims.run_id,
        attempt=claims.attempt,
        attemptId=claims.attempt_id,
        exp=claims.expires_ms // 1000,
        nbf=now,
        iat=now,
        iss=ISSUER,
        aud=AUDIENCE,
    )
    signed = f"{_HEADER}.{_base64url(msgspec.json.encode(payload))}"
    return f"{signed}.{_signature(secret, signed)}"


def verify_attempt_token(secret: bytes, token: str, now_ms: int) -> AttemptClaims:
    """The claims of a token that we signed and that is valid at now_ms.

    Raises Unauthenticated with reason TOKEN_MISSING, TOKEN_TOO_LARGE, TOKEN_MALFORMED,
    TOKEN_ALGORITHM, TOKEN_SIGNATURE, TOKEN_ISSUER, TOKEN_AUDIENCE, TOKEN_EXPIRED or
    TOKEN_NOT_YET_VALID, for our logs; InvalidInput on a short secret.
    """
    _require_secret(secret)
    payload = _open(secret, token)
    if payload.iss != ISSUER:
        raise _refused("TOKEN_ISSUER", "was issued by another issuer")
    if payload.aud != AUDIENCE:
        raise _refused("TOKEN_AUDIENCE", "is meant for another audience")
    if now_ms >= payload.exp * 1000:
        raise _refused("TOKEN_EXPIRED", "has expired")
    if max(payload.nbf, payload.iat) * 1000 > now_ms + LEEWAY_MS:
        raise _refused("TOKEN_NOT_YET_VALID", "is not valid yet")
    return AttemptClaims(
        tenant=payload.tenantId,
        workspace=payload.workspaceId,
        task_id=payload.taskId,
        run_id=payload.runId,
        attempt=payload.attempt,
        attempt_id=payload.attemptId,
        expires_ms=payload.exp * 1000,
    )


def _open(secret: bytes, token: str) -> _Payload:
    """The payload of a token with our header and our signature."""
    if not token:
        raise _refused("TOKEN_MISSING", "is missing")
    if len(token) > MAX_TOKEN_CHARS:
        raise _refused("TOKEN_TOO_LARGE", f"is longer than {MAX_TOKEN_CHARS} characters")
    header, _, rest = token.partition(".")
    body, dot, signature = rest.partition(".")
    if not dot or not token.isascii() or "." in signature:
        raise _refused("TOKEN_MALFORMED", "has not three parts")
    if header != _HEADER:
        raise _refused("TOKEN_ALGORITHM", "has another header than HS256 JWT")
    if not hmac.compare_digest(signature, _signature(secret, f"{header}.{body}")):
        raise _refused("TOKEN_SIGNATURE", "has a signature that does not verify")
    return _decode(body)


def _decode(body: str) -> _Payload:
    try:
        raw = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        payload = _decoder.decode(raw)
    except (ValueError, msgspec.DecodeError) as error:
        raise _refused("TOKEN_MALFORMED", "has claims that can not be read") from error
    # One claim set has one spelling, so that a repeated claim can not be read in two ways.
    if msgspec.json.encode(payload) != raw:
        raise _refused("TOKEN_MALFORMED", "has claims in another form than ours")
    return payload


def _signature(secret: bytes, signed: str) -> str:
    return _base64url(hmac.digest(secret, signed.encode(), "sha256"))


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _require_secret(secret: bytes) -> None:
    if len(secret) < MIN_SECRET_BYTES:
        raise InvalidInput(
            f"the token secret has {len(secret)} bytes; at least {MIN_SECRET_BYTES} are needed",
            fix="generate one: python -c 'import secrets; print(secrets.token_hex(32))'",
            reason="WEAK_TOKEN_SECRET",
        )


def _refused(reason: str, problem: str) -> Unauthenticated:
    return Unauthenticated(f"the task token {problem}", reason=reason)
