"""Tokens are asked for once, kept until shortly before they end, and without heavy imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from arco_flow.adapters.gcp.access_tokens import AccessTokens
from arco_flow.domain.errors import Unavailable

SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"


class Server:
    """Gives tokens out, numbered."""

    def __init__(self):
        self.requests = []
        self.status = 200
        self.lives_seconds = 3600
        self.troubles = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append((self.path, self.headers.get("Metadata-Flavor")))
                body = json.dumps(
                    {
                        "access_token": f"token-{len(outer.requests)}",
                        "expires_in": outer.lives_seconds,
                        "token_type": "Bearer",
                    }
                ).encode()
                trouble = outer.troubles.pop(0) if outer.troubles else outer.status
                if trouble == "hang up":
                    return
                if trouble == "no token":
                    trouble, body = 200, b"<html>"
                self.send_response(trouble)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server():
    running = Server()
    yield running
    running.close()


@pytest.fixture
def platform(server, monkeypatch):
    monkeypatch.setenv("K_SERVICE", "dispatch")
    monkeypatch.setenv("GCE_METADATA_HOST", server.address)
    return server


def test_on_the_platform_the_metadata_server_is_asked_once(platform):
    tokens = AccessTokens(SCOPE)
    assert platform.requests == []
    assert [tokens.get() for _ in range(3)] == ["token-1"] * 3
    path = "/computeMetadata/v1/instance/service-accounts/default/token"
    assert platform.requests == [(path, "Google")]


def test_a_token_that_ends_soon_is_renewed(platform):
    platform.lives_seconds = 200
    tokens = AccessTokens(SCOPE)
    assert [tokens.get(), tokens.get()] == ["token-1", "token-2"]


@pytest.mark.parametrize("clock", ["monotonic", "time"])
def test_a_token_has_ended_when_one_of_two_clocks_says_so(platform, monkeypatch, clock):
    """A monotonic clock may stand still while an instance does, and a clock may be set back."""
    passed, real = [0.0], getattr(time, clock)
    monkeypatch.setattr(time, clock, lambda: real() + passed[0])
    tokens = AccessTokens(SCOPE)
    assert tokens.get() == "token-1"
    passed[0] = 3000
    assert tokens.known() == "token-1"
    passed[0] = 3400
    assert (tokens.known(), tokens.get()) == ("", "token-2")


@pytest.mark.parametrize("trouble", [503, 429, "hang up", "no token"])
def test_a_metadata_server_that_stumbles_is_asked_again(platform, trouble):
    """Its hiccups would fail attempts of workers, whose code would run again for it."""
    platform.troubles = [trouble, trouble]
    assert AccessTokens(SCOPE).get() == "token-3"


def test_a_metadata_server_that_stumbles_without_end_is_an_outage(platform):
    platform.troubles = ["no token"] * 9
    with pytest.raises(Unavailable, match="the metadata server does not answer"):
        AccessTokens(SCOPE).get()
    assert len(platform.requests) == 3


def test_without_a_token_nothing_was_applied(platform):
    platform.status = 404
    with pytest.raises(Unavailable, match="gives no token: 404"):
        AccessTokens(SCOPE).get()


def test_a_metadata_server_that_does_not_answer_is_an_outage(platform):
    platform.close()
    with pytest.raises(Unavailable, match="does not answer"):
        AccessTokens(SCOPE).get()


def test_on_the_platform_nothing_of_googles_is_imported(platform):
    code = (
        "import sys; from arco_flow.adapters.gcp.access_tokens import AccessTokens;"
        f"print(AccessTokens('{SCOPE}').get(), 'google.auth' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], env=os.environ, check=True, capture_output=True, text=True
    )
    assert told.stdout.split() == ["token-1", "False"]


@pytest.fixture
def account(server, monkeypatch, tmp_path):
    """Credentials of a service account in a file, as somebody outside of Google Cloud has them."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    account = {
        "type": "service_account",
        "client_email": "me@example.iam.gserviceaccount.com",
        "token_uri": f"http://{server.address}/token",
        "private_key": key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode(),
    }
    path = tmp_path / "account.json"
    path.write_text(json.dumps(account))
    monkeypatch.delenv("K_SERVICE", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    return path


def test_elsewhere_google_auth_finds_the_credentials(account):
    tokens = AccessTokens(SCOPE)
    assert [tokens.get(), tokens.get()] == ["token-1", "token-1"]


@pytest.mark.parametrize("project", ["", "payer"])
def test_the_project_that_pays_comes_with_the_credentials(account, monkeypatch, project):
    monkeypatch.setenv("GOOGLE_CLOUD_QUOTA_PROJECT", project)
    tokens = AccessTokens(SCOPE)
    assert tokens.quota_project == ""
    tokens.get()
    assert tokens.quota_project == project


def test_what_is_held_is_known_without_asking_until_it_ends_soon(platform):
    tokens = AccessTokens(SCOPE)
    assert (tokens.known(), platform.requests) == ("", [])
    tokens.get()
    assert tokens.known() == "token-1"
    platform.lives_seconds = 200
    short = AccessTokens(SCOPE)
    short.get()
    assert short.known() == ""


def test_bad_credentials_are_named(monkeypatch, tmp_path):
    path = tmp_path / "account.json"
    path.write_text("{}")
    monkeypatch.delenv("K_SERVICE", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    with pytest.raises(Unavailable, match="fix: give this process"):
        AccessTokens(SCOPE).get()
