"""Secrets of the plane: from the environment, where Secret Manager puts them, or from itself."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field

from arco_flow.domain.errors import InvalidInput, Unavailable

MIN_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class PlaneSecrets:
    """tenant: derives run ids; never changes. token: signs attempt tokens."""

    tenant: bytes = field(repr=False)
    token: bytes = field(repr=False)


def read_secrets(environment: Mapping[str, str]) -> PlaneSecrets:
    """ARCO_FLOW_TENANT_SECRET and ARCO_FLOW_TOKEN_SECRET: base64, or a Secret Manager version as
    `projects/P/secrets/S/versions/V`. Raises InvalidInput, Unavailable."""
    return PlaneSecrets(
        _secret(environment, "ARCO_FLOW_TENANT_SECRET"),
        _secret(environment, "ARCO_FLOW_TOKEN_SECRET"),
    )


def _secret(environment: Mapping[str, str], name: str) -> bytes:
    text = environment.get(name, "").strip()
    if text.startswith("projects/"):
        text = _from_secret_manager(text)
    try:
        secret = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) < MIN_SECRET_BYTES:
        raise InvalidInput(
            f"{name} must hold at least {MIN_SECRET_BYTES} bytes in base64",
            fix="make one with `openssl rand -base64 32` and keep it in Secret Manager",
        )
    return secret


def _from_secret_manager(version: str) -> str:
    from google.api_core.exceptions import GoogleAPIError
    from google.cloud import secretmanager

    try:
        client = secretmanager.SecretManagerServiceClient()
        return client.access_secret_version(name=version).payload.data.decode()
    except GoogleAPIError as error:
        raise Unavailable(f"the secret {version} can not be read: {error}") from error
