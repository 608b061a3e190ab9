"""The plane's secrets: long enough, from the environment or Secret Manager, and never shown."""

from __future__ import annotations

import base64
from types import SimpleNamespace

import pytest
from google.api_core.exceptions import NotFound, PermissionDenied
from google.auth.exceptions import DefaultCredentialsError
from google.cloud import secretmanager

from arco_flow.adapters.gcp.secrets import MIN_SECRET_BYTES, read_secrets
from arco_flow.domain.errors import InvalidInput, Unavailable

TENANT, TOKEN = b"t" * 32, b"\x00\xff" * 20
VERSION = "projects/shop/secrets/token/versions/3"


def encoded(secret: bytes) -> str:
    return base64.b64encode(secret).decode()


GOOD = {"ARCO_FLOW_TENANT_SECRET": encoded(TENANT), "ARCO_FLOW_TOKEN_SECRET": encoded(TOKEN)}


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Google's client, answering from here: data is bytes or what it raises."""
    told = SimpleNamespace(data=b"", asked=[])

    class Client:
        def access_secret_version(self, *, name: str, timeout: float) -> SimpleNamespace:
            assert timeout
            told.asked.append(name)
            if isinstance(told.data, Exception):
                raise told.data
            return SimpleNamespace(payload=SimpleNamespace(data=told.data))

    monkeypatch.setattr(secretmanager, "SecretManagerServiceClient", Client)
    return told


def test_secrets_are_read_from_the_environment() -> None:
    found = read_secrets({**GOOD, "ARCO_FLOW_TOKEN_SECRET": f" {encoded(TOKEN)}\n"})
    assert (found.tenant, found.token) == (TENANT, TOKEN)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        encoded(b"x" * (MIN_SECRET_BYTES - 1)),
        "no base64 at all, but a text of more than 32 characters",
        encoded(TOKEN)[:-1],
        encoded(TOKEN) + "é",
        base64.urlsafe_b64encode(b"\xff" * 32).decode(),
    ],
)
def test_a_short_or_unreadable_secret_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(InvalidInput, match="ARCO_FLOW_TOKEN_SECRET must hold at least") as caught:
        read_secrets({**GOOD, "ARCO_FLOW_TOKEN_SECRET": text})
    assert "openssl rand" in str(caught.value)
    assert not text.strip() or text not in str(caught.value)


def test_both_are_named_when_both_are_wrong() -> None:
    with pytest.raises(InvalidInput, match="ARCO_FLOW_TENANT_SECRET and ARCO_FLOW_TOKEN_SECRET"):
        read_secrets({})


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_version_of_secret_manager_is_read_as_a_command_has_written_it(
    manager: SimpleNamespace, end: bytes
) -> None:
    manager.data = encoded(TOKEN).encode() + end
    found = read_secrets({**GOOD, "ARCO_FLOW_TOKEN_SECRET": f" {VERSION} "})
    assert (found.token, manager.asked) == (TOKEN, [VERSION])


def test_a_version_that_holds_no_text_is_refused(manager: SimpleNamespace) -> None:
    manager.data = b"\xff" * 40
    with pytest.raises(InvalidInput, match="ARCO_FLOW_TOKEN_SECRET"):
        read_secrets({**GOOD, "ARCO_FLOW_TOKEN_SECRET": VERSION})


@pytest.mark.parametrize(
    "error", [PermissionDenied("no"), NotFound("no"), DefaultCredentialsError("no credentials")]
)
def test_a_version_that_can_not_be_read_now_is_named(
    manager: SimpleNamespace, error: Exception
) -> None:
    manager.data = error
    with pytest.raises(Unavailable, match=f"the secret {VERSION} can not be read"):
        read_secrets({**GOOD, "ARCO_FLOW_TOKEN_SECRET": VERSION})


def test_secrets_are_in_no_representation() -> None:
    found = read_secrets(GOOD)
    assert repr(found) == str(found) == "PlaneSecrets()"
