from __future__ import annotations

import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from urllib.parse import urlencode

import jwt as pyjwt
import pytest
from google.auth.exceptions import GoogleAuthError, InvalidValue, MalformedError
from google.oauth2 import id_token

from arco_emulators import identity
from arco_emulators.identity import GOOGLE, Issuer
from arco_emulators.web import serving

EMAIL = "tasks@shop.iam.gserviceaccount.com"
AUDIENCE = "https://callback.example"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    return Issuer.open(tmp_path_factory.mktemp("identity"))


@pytest.fixture(scope="module")
def base_url(issuer, loop):
    return f"http://127.0.0.1:{loop.enter(serving(identity.application(issuer)))}"


@pytest.fixture
def transport(base_url):
    """Fetches the certificates of the issuer in place of Google's."""

    def request(url, **_):
        path = "/certs" if url.startswith("https://www.googleapis.com") else url[len(base_url) :]
        with urllib.request.urlopen(base_url + path) as answer:
            return SimpleNamespace(status=answer.status, data=answer.read())

    return request


def _get(url):
    with urllib.request.urlopen(url) as answer:
        return answer.read().decode()


def test_google_auth_accepts_a_token_as_one_of_google(issuer, transport):
    claims = id_token.verify_oauth2_token(issuer.mint(EMAIL, AUDIENCE), transport, AUDIENCE)
    assert claims["email"] == EMAIL
    assert claims["email_verified"] is True
    assert claims["iss"] == GOOGLE
    assert claims["exp"] - claims["iat"] == 3600
    assert claims["sub"] == claims["azp"]


@pytest.mark.parametrize("path", ["/certs", "/jwks"])
def test_google_auth_verifies_against_the_addresses_of_the_issuer(
    issuer, transport, base_url, path
):
    token = issuer.mint(EMAIL, AUDIENCE)
    claims = id_token.verify_token(token, transport, AUDIENCE, certs_url=base_url + path)
    assert claims["aud"] == AUDIENCE


def test_another_library_accepts_a_token_by_the_published_configuration(issuer, base_url):
    configuration = json.loads(_get(f"{base_url}/.well-known/openid-configuration"))
    key = pyjwt.PyJWKClient(configuration["jwks_uri"]).get_signing_key_from_jwt(
        token := issuer.mint(EMAIL, AUDIENCE)
    )
    claims = pyjwt.decode(
        token, key.key, algorithms=["RS256"], audience=AUDIENCE, issuer=configuration["issuer"]
    )
    assert claims["email"] == EMAIL


def test_a_token_for_another_audience_is_refused(issuer, transport):
    with pytest.raises(InvalidValue, match="wrong audience"):
        id_token.verify_oauth2_token(issuer.mint(EMAIL, "https://other"), transport, AUDIENCE)


def test_a_token_of_another_issuer_is_refused(issuer, transport):
    token = issuer.mint(EMAIL, AUDIENCE, claims={"iss": "https://evil.example"})
    with pytest.raises(GoogleAuthError, match="Wrong issuer"):
        id_token.verify_oauth2_token(token, transport, AUDIENCE)


def test_a_token_with_a_negative_lifetime_has_expired(issuer, transport):
    token = issuer.mint(EMAIL, AUDIENCE, lifetime_seconds=-60)
    with pytest.raises(InvalidValue, match="expired"):
        id_token.verify_oauth2_token(token, transport, AUDIENCE)


def test_a_token_signed_by_the_key_of_another_folder_is_refused(tmp_path, transport):
    forged = Issuer.open(tmp_path).mint(EMAIL, AUDIENCE)
    with pytest.raises(MalformedError, match="not found"):
        id_token.verify_oauth2_token(forged, transport, AUDIENCE)


def test_a_folder_keeps_its_key(tmp_path):
    first, second = Issuer.open(tmp_path / "state"), Issuer.open(tmp_path / "state")
    assert first.key_id == second.key_id
    assert first.certs() == second.certs()


def test_a_folder_opened_by_many_at_once_has_one_key_and_nothing_else(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: Issuer.open(tmp_path).key_id, range(4)))
    assert len(set(opened)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [identity.KEY_FILE]


def test_the_key_is_for_its_owner_alone(tmp_path):
    Issuer.open(tmp_path)
    assert (tmp_path / identity.KEY_FILE).stat().st_mode & 0o077 == 0


def test_the_issuer_can_have_another_name(tmp_path):
    token = Issuer.open(tmp_path, issuer="http://127.0.0.1:9").mint(EMAIL, AUDIENCE)
    claims = pyjwt.decode(token, options={"verify_signature": False})
    assert claims["iss"] == "http://127.0.0.1:9"


def test_a_token_is_handed_out_again_while_it_is_fresh(issuer):
    assert issuer.token(EMAIL, AUDIENCE) == issuer.token(EMAIL, AUDIENCE)
    assert issuer.token(EMAIL, AUDIENCE) != issuer.token(EMAIL, "https://other")


def test_the_token_address_gives_tokens_to_tests_and_the_command_line(base_url, transport):
    query = urlencode({"email": EMAIL, "audience": AUDIENCE})
    claims = id_token.verify_oauth2_token(_get(f"{base_url}/token?{query}"), transport, AUDIENCE)
    assert claims["email"] == EMAIL


@pytest.mark.parametrize(
    "query", ["", f"email={EMAIL}", f"email={EMAIL}&audience=a&lifetime_seconds=soon"]
)
def test_the_token_address_says_what_is_missing(base_url, query):
    with pytest.raises(urllib.error.HTTPError, match="400") as refused:
        urllib.request.urlopen(f"{base_url}/token?{query}")
    assert "give email=, audience=" in refused.value.read().decode()


def test_the_issuer_says_that_it_is_well(base_url):
    assert json.loads(_get(f"{base_url}/health")) == {"status": "ok"}
