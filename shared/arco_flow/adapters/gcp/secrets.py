"""Secrets of the plane: from the environment, where Secret Manager puts them, or from itself."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from arco_flow.domain.errors import InvalidInput, Unavailable

MIN_SECRET_BYTES = 32
_CALL_SECONDS = 10.0
_NAMES = ("ARCO_FLOW_TENANT_SECRET", "ARCO_FLOW_TOKEN_SECRET")


@dataclass(frozen=True, slots=True)
class PlaneSecrets:
    """tenant: derives run ids; never changes. token: signs attempt tokens."""

    tenant: bytes = field(repr=False)
    token: bytes = field(repr=False)


def read_secrets(environment: Mapping[str, str]) -> PlaneSecrets:
    """ARCO_FLOW_TENANT_SECRET and ARCO_FLOW_TOKEN_SECRET: base64, or a Secret Manager version as
    `projects/P/secrets/S/versions/V`. Raises InvalidInput that names all that are wrong,
    Unavailable."""
    found = {name: _secret(environment.get(name, "")) for name in _NAMES}
    wrong = [name for name, secret in found.items() if len(secret) < MIN_SECRET_BYTES]
    if wrong:
        raise InvalidInput(
            f"{' and '.join(wrong)} must hold at least {MIN_SECRET_BYTES} bytes in base64",
            fix="make one with `openssl rand -base64 32` and keep it in Secret Manager",
        )
    return PlaneSecrets(*found.values())


def _secret(text: str) -> bytes:
    """The bytes of a secret; none for what is no base64. No message of ours repeats it."""
    text = text.strip()
    if text.startswith("projects/"):
        text = _from_secret_manager(text)
    try:
        # What a command has written into Secret Manager ends in a line break.
        return base64.b64decode(text.strip(), validate=True)
    except ValueError:
        return b""


def _from_secret_manager(version: str) -> str:
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import secretmanager

    try:
        client = secretmanager.SecretManagerServiceClient()
        found = client.access_secret_version(name=version, timeout=_CALL_SECONDS)
        data: bytes = found.payload.data
    except (GoogleAPIError, GoogleAuthError) as error:
        raise Unavailable(f"the secret {version} can not be read: {error}") from error
    return data.decode(errors="replace")
