"""Identity tokens as Google signs them, from a key of this machine.

The emulators sign what they send with an `Issuer`; what receives it verifies against the
certificates that the issuer's application serves in place of Google's.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from google.auth import crypt, jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

GOOGLE = "https://accounts.google.com"
LIFETIME_SECONDS = 3600
KEY_FILE = "issuer.pem"


class Issuer:
    """One signing key and its issuer name; processes that open one folder share the key."""

    def __init__(self, pem: bytes, *, issuer: str = GOOGLE) -> None:
        """`pem` holds the private key (PKCS 8) and after it its certificate."""
        self.issuer = issuer
        self._certificate = pem[pem.index(b"-----BEGIN CERTIFICATE-----") :].decode("ascii")
        key = serialization.load_pem_private_key(pem, password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError(f"{KEY_FILE} holds a {type(key).__name__}, and RS256 needs an RSA key")
        self._numbers = key.public_key().public_numbers()
        self.key_id = hashlib.sha256(_der(key.public_key())).hexdigest()[:40]
        self._signer = crypt.RSASigner(key, self.key_id)
        self._held: dict[tuple[str, str], tuple[str, float]] = {}

    @classmethod
    def open(cls, folder: Path, *, issuer: str = GOOGLE) -> Issuer:
        """The issuer whose key lies in the folder; both are made when they are absent."""
        path = folder / KEY_FILE
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _write_once(path, _new_pem())
        return cls(path.read_bytes(), issuer=issuer)

    def mint(
        self,
        email: str,
        audience: str,
        *,
        lifetime_seconds: int = LIFETIME_SECONDS,
        claims: Mapping[str, Any] | None = None,
    ) -> str:
        """A new token of the account for the audience, from now on.

        `claims` are set last, so that a test can ask for a token that is wrong in one of them; a
        negative lifetime makes one that is expired.
        """
        now = int(time.time())
        subject = _subject(email)
        payload = {
            "iss": self.issuer,
            "aud": audience,
            "azp": subject,
            "sub": subject,
            "email": email,
            "email_verified": True,
            "iat": now + min(0, lifetime_seconds),
            "exp": now + lifetime_seconds,
            **(claims or {}),
        }
        return str(jwt.encode(self._signer, payload), "ascii")

    def token(self, email: str, audience: str) -> str:
        """A token that is valid for half of its lifetime or longer; handed out again till then."""
        now = time.time()
        token, until = self._held.get((email, audience), ("", 0.0))
        if until < now:
            token = self.mint(email, audience)
            self._held[email, audience] = (token, now + LIFETIME_SECONDS / 2)
        return token

    def access_token(self, email: str) -> str:
        """An opaque OAuth access token that names its account and opens nothing."""
        return f"ya29.emulated.{_subject(email)}"

    def certs(self) -> dict[str, str]:
        """Key id to certificate (PEM), as https://www.googleapis.com/oauth2/v1/certs answers."""
        return {self.key_id: self._certificate}

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The public key as a JSON Web Key Set, as .../oauth2/v3/certs answers."""
        key = {
            "kty": "RSA",
            "alg": "RS256",
            "use": "sig",
            "kid": self.key_id,
            "n": _base64(self._numbers.n),
            "e": _base64(self._numbers.e),
        }
        return {"keys": [key]}


def application(issuer: Issuer) -> Starlette:
    """What serves the keys, and tokens for tests and for the command line."""

    async def token(request: Request) -> Response:
        query = request.query_params
        email, audience = query.get("email", ""), query.get("audience", "")
        lifetime = query.get("lifetime_seconds", str(LIFETIME_SECONDS))
        if not email or not audience or not lifetime.removeprefix("-").isdecimal():
            problem = "give email=, audience= and, if wanted, lifetime_seconds= (whole seconds)"
            return PlainTextResponse(f"{problem}\n", status_code=400)
        return PlainTextResponse(issuer.mint(email, audience, lifetime_seconds=int(lifetime)))

    async def configuration(request: Request) -> Response:
        return JSONResponse(_configuration(issuer, str(request.base_url).rstrip("/")))

    return Starlette(
        routes=[
            Route("/certs", _answer(issuer.certs)),
            Route("/jwks", _answer(issuer.jwks)),
            Route("/.well-known/openid-configuration", configuration),
            Route("/token", token, methods=["GET", "POST"]),
            Route("/health", _answer(lambda: {"status": "ok"})),
        ]
    )


def _answer(content: Callable[[], object]) -> Callable[[Request], Response]:
    def answer(_: Request) -> Response:
        return JSONResponse(content())

    return answer


def _configuration(issuer: Issuer, base_url: str) -> dict[str, object]:
    return {
        "issuer": issuer.issuer,
        "jwks_uri": f"{base_url}/jwks",
        "token_endpoint": f"{base_url}/token",
        "id_token_signing_alg_values_supported": ["RS256"],
        "subject_types_supported": ["public"],
        "response_types_supported": ["id_token"],
    }


def _subject(email: str) -> str:
    """The 21 digits by which Google names an account; the same for the same e-mail."""
    return str(10**20 + int(hashlib.sha256(email.encode()).hexdigest(), 16) % (9 * 10**20))


def _base64(number: int) -> str:
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _der(key: rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _new_pem() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "arco-flow-emulators")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def _write_once(path: Path, content: bytes) -> None:
    """Write the file unless another process was first: it appears whole, or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        file.write(content)
    try:
        os.link(file.name, path)
    except FileExistsError:
        pass
    finally:
        Path(file.name).unlink()
