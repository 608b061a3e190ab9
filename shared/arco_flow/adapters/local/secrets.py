"""The secrets of an embedded plane: made once per state folder, readable by its user only."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import msgspec

from arco_flow.adapters.local.failures import files_unavailable
from arco_flow.domain.errors import Unavailable
from arco_flow.domain.tokens import MIN_SECRET_BYTES


class LocalSecrets(msgspec.Struct, frozen=True):
    """tenant: derives run ids, must never change. attempts: signs attempt tokens. api: the
    bearer token of this user's commands. All as hexadecimal text."""

    tenant: str
    attempts: str
    api: str

    @property
    def tenant_secret(self) -> bytes:
        """Key of run ids."""
        return bytes.fromhex(self.tenant)

    @property
    def token_secret(self) -> bytes:
        """Key of attempt tokens."""
        return bytes.fromhex(self.attempts)


def load_secrets(folder: Path) -> LocalSecrets:
    """The secrets of a state folder, made on first use. Raises Unavailable when they are
    unreadable: new ones would give every run key another run."""
    path = folder / "secrets.json"
    try:
        found = msgspec.json.decode(path.read_bytes(), type=LocalSecrets)
        for secret in (found.tenant_secret, found.token_secret, bytes.fromhex(found.api)):
            if len(secret) < MIN_SECRET_BYTES:
                raise ValueError(f"a secret has {len(secret)} bytes, not {MIN_SECRET_BYTES}")
        return found
    except FileNotFoundError:
        made = LocalSecrets(*(secrets.token_hex(MIN_SECRET_BYTES) for _ in range(3)))
        _write_private(path, msgspec.json.encode(made))
        return made
    except (OSError, ValueError, msgspec.DecodeError) as error:
        raise Unavailable(
            f"the plane's secrets can not be read: {error}",
            where=str(path),
            fix="restore the file, or start over with an empty state folder",
        ) from error


def _write_private(path: Path, body: bytes) -> None:
    temporary = path.with_suffix(".new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
        os.replace(temporary, path)
    except OSError as error:
        raise files_unavailable(error, str(path)) from error
