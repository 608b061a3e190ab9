"""Google-signed identity tokens: of Cloud Tasks, Pub/Sub, Scheduler, and of people.

A token that Google has signed proves little by itself: anybody can have one made for our URL from
a project of their own. So the issuer, the exact audience and a verified e-mail address are checked
here, and who compares that address with a list is the caller (`http.deliveries`).
"""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from arco_flow.domain.errors import Unauthenticated, Unavailable

GOOGLE_CERTS_URL: Final = "https://www.googleapis.com/oauth2/v1/certs"
GOOGLE_ISSUERS: Final = frozenset({"https://accounts.google.com", "accounts.google.com"})
LEEWAY_SECONDS: Final = 60
"""How far the signer's clock may be off, for iat and exp."""
MAX_TOKEN_CHARS: Final = 7 * 1024
"""Longer ones are refused unread; a header line is at most 8 KiB."""
REFRESH_SECONDS: Final = 60.0
"""Certificates are fetched at most so often, however many tokens name an unknown key."""
_FETCH_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Certificates:
    """Public keys by key id, PEM. fresh_seconds: how long they may be kept."""

    keys: Mapping[str, str]
    fresh_seconds: float


Fetch = Callable[[str], Awaitable[Certificates]]


async def fetch_certificates(url: str) -> Certificates:
    """GET `{key id: PEM}` and its max-age. Raises Unavailable."""
    try:
        return await asyncio.to_thread(_get, url)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unavailable(f"the certificates at {url} can not be read: {error}") from error


class OidcVerifier:
    """`TokenVerifier` of one identity provider; keeps its certificates as long as it says.

    now: seconds, monotonic; issuers, certs_url: of the provider, Google's unless told otherwise.
    """

    def __init__(
        self,
        *,
        certs_url: str = GOOGLE_CERTS_URL,
        issuers: frozenset[str] = GOOGLE_ISSUERS,
        fetch: Fetch = fetch_certificates,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._certs_url = certs_url
        self._issuers = issuers
        self._fetch = fetch
        self._now = now
        self._known = Certificates({}, 0)
        self._fetched_at = float("-inf")
        self._fetching = asyncio.Lock()

    async def email_of(self, token: str, audience: str) -> str:
        """See TokenVerifier."""
        key_id = _key_id(token)
        await self._refresh(key_id)
        claims = _verified(token, self._known.keys)
        if claims.get("iss") not in self._issuers:
            raise _refused("the issuer is another one")
        if claims.get("aud") != audience:
            raise _refused("the audience is another one")
        email = claims.get("email")
        if not isinstance(email, str) or claims.get("email_verified") is not True:
            raise _refused("there is no verified e-mail address in it")
        return email

    async def _refresh(self, key_id: str) -> None:
        """Fetch certificates that are old, or that do not hold this key, but not all the time."""
        async with self._fetching:
            age = self._now() - self._fetched_at
            stale = age >= self._known.fresh_seconds
            if not stale and (key_id in self._known.keys or age < REFRESH_SECONDS):
                return
            try:
                self._known = await self._fetch(self._certs_url)
            except Unavailable:
                if key_id not in self._known.keys:
                    raise
            self._fetched_at = self._now()


def _key_id(token: str) -> str:
    """The key that a token names. Raises Unauthenticated on what is no token signed with RS256.

    The algorithm is ours to choose, not the token's: `none`, a shared secret and keys that come
    along in the header have no path to take.
    """
    from google.auth import exceptions, jwt

    if len(token) > MAX_TOKEN_CHARS:
        raise _refused("it is too long")
    try:
        header = jwt.decode_header(token)
    except (exceptions.GoogleAuthError, ValueError, RecursionError) as error:
        raise _refused("it is malformed") from error
    key_id = header.get("kid")
    if header.get("alg") != "RS256" or not isinstance(key_id, str):
        raise _refused("it is not signed as it must be")
    return key_id


def _verified(token: str, keys: Mapping[str, str]) -> Mapping[str, Any]:
    from google.auth import exceptions, jwt

    try:
        claims: Mapping[str, Any] = jwt.decode(
            token, certs=keys, clock_skew_in_seconds=LEEWAY_SECONDS
        )
    except (exceptions.GoogleAuthError, ValueError, TypeError, RecursionError) as error:
        raise _refused("it does not verify") from error
    not_before = claims.get("nbf", 0)
    if not isinstance(not_before, int) or not_before > time.time() + LEEWAY_SECONDS:
        raise _refused("it is not valid yet")
    return claims


def _refused(why: str) -> Unauthenticated:
    return Unauthenticated(f"the identity token is refused: {why}", reason="TOKEN_REFUSED")


def _get(url: str) -> Certificates:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=_FETCH_SECONDS)
    try:
        connection.request("GET", parts.path or "/")
        answer = connection.getresponse()
        body = answer.read(1 << 20)
        if answer.status != 200:
            raise ValueError(f"status {answer.status}")
        age = re.search(r"max-age=(\d+)", answer.headers.get("cache-control", ""))
        keys = {str(name): str(pem) for name, pem in json.loads(body).items()}
        return Certificates(keys, float(age.group(1)) if age else REFRESH_SECONDS)
    finally:
        connection.close()
