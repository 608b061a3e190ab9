"""Google-signed identity tokens: of Cloud Tasks, Pub/Sub, Scheduler, and of people.

A token that Google has signed proves little by itself: anybody can have one made for our URL from
a project of their own. So the issuer, the exact audience and a verified e-mail address are checked
here, and who compares that address with a list is the caller (`http.deliveries`).
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from arco_flow.domain.errors import Unauthenticated, Unavailable

GOOGLE_CERTS_URL: Final = "https://www.googleapis.com/oauth2/v1/certs"
GOOGLE_ISSUERS: Final = frozenset({"https://accounts.google.com", "accounts.google.com"})
LEEWAY_SECONDS: Final = 60
"""How far the signer's clock may be off, for iat, exp and nbf."""
MAX_TOKEN_CHARS: Final = 7 * 1024
"""Longer ones are refused unread; a header line is at most 8 KiB."""
REFRESH_SECONDS: Final = 60.0
"""Certificates are fetched at most so often, however many tokens name an unknown key."""
RETRY_SECONDS: Final = 5.0
"""Pause after a fetch that failed, as long as there is no certificate at all."""
LONGEST_FRESH_SECONDS: Final = 24 * 3600.0
"""Certificates are asked for again after that, whatever their provider allows."""
TAKEN_SIGNATURE: Final = "SIGNATURE_REMOVED_BY_GOOGLE"
"""What Cloud Run puts in the place of the signature where it checks `roles/run.invoker` itself."""
_FETCH_SECONDS: Final = 5.0
_BODY_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Certificates:
    """Public keys by key id, PEM. fresh_seconds: how long they may be kept."""

    keys: Mapping[str, str]
    fresh_seconds: float


Fetch = Callable[[str], Awaitable[Certificates]]


async def fetch_certificates(url: str) -> Certificates:
    """GET `{key id: PEM}` and for how long it is good. Raises Unavailable."""
    try:
        return await asyncio.to_thread(_get, url)
    except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
        raise Unavailable(f"the certificates at {url} can not be read: {error}") from error


class OidcVerifier:
    """`TokenVerifier` of one identity provider; keeps its certificates as long as it says.

    While the provider does not answer, the keys that are known stay good, and a token of another
    key is neither accepted nor refused. now: seconds, monotonic; issuers, certs_url: of the
    provider, Google's unless told otherwise.
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
        self._keys: Mapping[str, str] = {}
        self._fresh_until = float("-inf")
        self._next_try = float("-inf")
        self._problem = ""
        self._fetching = asyncio.Lock()

    async def email_of(self, token: str, audience: str) -> str:
        """See TokenVerifier."""
        key_id = _key_id(token)
        await self._refresh(key_id)
        claims = _verified(token, self._keys)
        issuer, email = claims.get("iss"), claims.get("email")
        if not isinstance(issuer, str) or issuer not in self._issuers:
            raise _refused("the issuer is another one")
        if claims.get("aud") != audience:
            raise _refused("the audience is another one")
        if not isinstance(email, str) or claims.get("email_verified") is not True:
            raise _refused("there is no verified e-mail address in it")
        return email

    async def _refresh(self, key_id: str) -> None:
        """Fetch certificates that are old or lack this key, but not all the time.

        Raises Unavailable when the last fetch failed and the key is not known.
        """
        if self._is_good(key_id):
            return
        async with self._fetching:
            if self._is_good(key_id):
                return
            if self._now() >= self._next_try:
                await self._fetch_now()
            if self._problem and key_id not in self._keys:
                raise Unavailable(self._problem)

    def _is_good(self, key_id: str) -> bool:
        return key_id in self._keys and self._now() < self._fresh_until

    async def _fetch_now(self) -> None:
        try:
            found = await self._fetch(self._certs_url)
        except Unavailable as error:
            self._problem = error.message
            pause = REFRESH_SECONDS if self._keys else RETRY_SECONDS
        else:
            self._keys, self._problem, pause = found.keys, "", REFRESH_SECONDS
            fresh = min(max(found.fresh_seconds, REFRESH_SECONDS), LONGEST_FRESH_SECONDS)
            self._fresh_until = self._now() + fresh
        self._next_try = self._now() + pause


def _key_id(token: str) -> str:
    """The key that a token names. Raises Unauthenticated on what is no token signed with RS256.

    The algorithm is ours to choose, not the token's: `none`, a shared secret and keys that come
    along in the header have no path to take.
    """
    if len(token) > MAX_TOKEN_CHARS:
        raise _refused("it is too long")
    parts = token.split(".")
    if len(parts) != 3:
        raise _refused("it is malformed")
    if parts[2] == TAKEN_SIGNATURE:
        raise _refused(
            "Cloud Run has taken its signature away, because it asks for roles/run.invoker itself;"
            " deploy this function with --no-invoker-iam-check"
        )
    header, _claims, _signature = _document(parts[0]), _document(parts[1]), _bytes(parts[2])
    key_id = header.get("kid")
    if header.get("alg") != "RS256" or not isinstance(key_id, str) or not key_id:
        raise _refused("it is not signed as it must be")
    return key_id


def _document(part: str) -> dict[str, Any]:
    """Header or claims. What two readers could take differently is refused."""
    try:
        text = _bytes(part).decode()
        document = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise _refused("it is malformed") from error
    if not isinstance(document, dict):
        raise _refused("it is malformed")
    return document


def _bytes(part: str) -> bytes:
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise _refused("it is malformed") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _verified(token: str, keys: Mapping[str, str]) -> Mapping[str, Any]:
    """The claims of a token with a good signature whose time is now. Raises Unauthenticated."""
    from google.auth import exceptions, jwt

    try:
        claims: Mapping[str, Any] = jwt.decode(
            token, certs=keys, clock_skew_in_seconds=LEEWAY_SECONDS
        )
    except (exceptions.GoogleAuthError, ValueError, TypeError, RecursionError) as error:
        raise _refused("it does not verify") from error
    times = [claims.get("iat"), claims.get("exp"), claims.get("nbf", 0)]
    if not all(type(at) is int for at in times):
        raise _refused("a time in it is no whole number")
    if claims.get("nbf", 0) > time.time() + LEEWAY_SECONDS:
        raise _refused("it is not valid yet")
    return claims


def _refused(why: str) -> Unauthenticated:
    return Unauthenticated(f"the identity token is refused: {why}", reason="TOKEN_REFUSED")


def _get(url: str) -> Certificates:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    with closing(kind(parts.netloc, timeout=_FETCH_SECONDS)) as connection:
        connection.request("GET", parts.path or "/")
        with connection.getresponse() as answer:
            body = answer.read(_BODY_BYTES)
            if answer.status != 200:
                raise ValueError(f"status {answer.status}")
            told = answer.headers
            fresh = _fresh_seconds(told.get("cache-control", ""), told.get("age", ""))
            return Certificates(_keys_of(body), fresh)


def _keys_of(body: bytes) -> dict[str, str]:
    document = json.loads(body)
    if not isinstance(document, dict) or not document:
        raise ValueError("the answer holds no keys")
    return {str(name): str(pem) for name, pem in document.items()}


def _fresh_seconds(cache_control: str, age: str) -> float:
    """What is left of the max-age, in seconds: a cache on the way has used up `Age` of it."""
    longest = re.search(r"max-age=(\d{1,9})", cache_control)
    used = int(age) if re.fullmatch(r"[0-9]{1,9}", age) else 0
    return float(int(longest[1]) - used) if longest else REFRESH_SECONDS
