"""What the tests start tells when it can not be trusted."""

from __future__ import annotations

import pytest

from arco_emulators import jars
from conformance.emulators import (
    REQUIRED,
    require_google_emulators,
    require_preconditions,
    storage_url,
)
from handler_server import QuietHandler, serving_handler


class _Careless(QuietHandler):
    """A storage that lets everybody win."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def careless():
    with serving_handler(_Careless) as url:
        yield url


def test_a_storage_that_ignores_preconditions_fails_the_suite(careless):
    with pytest.raises(pytest.fail.Exception, match="ignores preconditions"):
        require_preconditions(careless)


def test_the_storage_emulator_honours_preconditions():
    assert storage_url().startswith("http://127.0.0.1:"), "or it would have failed the test"


def test_absent_jars_skip_a_test_and_fail_it_when_they_are_required(monkeypatch, tmp_path):
    monkeypatch.setenv(jars.SDK_VARIABLE, str(tmp_path))
    monkeypatch.delenv(REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="firestore emulator is not on this machine"):
        require_google_emulators()
    monkeypatch.setenv(REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match="gcloud components install"):
        require_google_emulators()
