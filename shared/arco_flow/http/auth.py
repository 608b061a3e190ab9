"""Who calls: the identity that everything is scoped by, and the embedded plane's bearer token.

Tenant and workspace come from the verified identity alone. What a path or a body says of them
is compared with it, never trusted.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from arco_flow.domain.errors import InvalidInput, Unauthenticated
from arco_flow.domain.ids import Scope
from arco_flow.http.messages import Request


class Permission(StrEnum):
    """What an identity may do in its workspace."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified caller. actor: who it is, in events and in the ledger."""

    scope: Scope
    actor: str
    permissions: frozenset[Permission] = frozenset(Permission)


class Authenticator(Protocol):
    """Turns a request's credential into an identity."""

    async def authenticate(self, request: Request) -> Identity:
        """The caller. Raises Unauthenticated, or Unavailable when it can not be verified now."""
        ...


class BearerTokens:
    """Fixed bearer tokens, each standing for one identity: what the embedded plane uses."""

    def __init__(self, identities: Mapping[str, Identity]) -> None:
        if not identities or not all(identities):
            raise InvalidInput("a bearer token must not be empty", reason="EMPTY_BEARER_TOKEN")
        # Digests have one length, so that a comparison tells nothing of the token's own.
        self._known = [(_digest(token), identity) for token, identity in identities.items()]

    async def authenticate(self, request: Request) -> Identity:
        """The identity of the request's token, found in constant time."""
        given = _digest(bearer_token(request))
        found: Identity | None = None
        for digest, identity in self._known:
            if hmac.compare_digest(digest, given):
                found = identity
        if found is None:
            raise Unauthenticated("the bearer token is not known", reason="TOKEN_UNKNOWN")
        return found


def bearer_token(request: Request) -> str:
    """The token of `Authorization: Bearer …` (RFC 6750). Raises Unauthenticated without one.

    A token in the URL is no credential: URLs end in logs.
    """
    scheme, _, token = request.header("authorization").partition(" ")
    if scheme.lower() != "bearer" or not token or not token.isascii() or not token.isprintable():
        raise Unauthenticated("no bearer token", reason="TOKEN_MISSING")
    if " " in token or "," in token:
        raise Unauthenticated("the bearer token is malformed", reason="TOKEN_MALFORMED")
    return token


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
