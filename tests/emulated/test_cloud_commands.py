"""Commands reach a plane elsewhere by its URL and an identity token, past its expiry, too."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from urllib.parse import urlencode

import pytest
from click.testing import CliRunner

from arco_flow.cli.failures import PlaneRefused
from arco_flow.cli.main import cli
from e2e.harness import write_module
from emulated.plane import emulated_plane

CODE = """
    from arco_flow import asset

    @asset
    def one() -> int:
        print("made one")
        return 1
    """
FETCH = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    with emulated_plane(tmp_path_factory.mktemp("cloud")) as under_test:
        yield under_test


class Operator:
    """Commands with the environment of who works with a plane in the cloud."""

    def __init__(self, plane, folder: Path) -> None:
        self.plane = plane.plane
        self.folder = folder
        write_module(folder, "shop", CODE)

    def command(self, *arguments: str, token: str = "", token_command: str = ""):
        environment = {
            "ARCO_FLOW_URL": self.plane.url,
            "ARCO_FLOW_WORKSPACE": self.plane.scope.workspace,
            "ARCO_FLOW_TOKEN": token,
            "ARCO_FLOW_TOKEN_COMMAND": token_command,
        }
        before = os.getcwd()
        os.chdir(self.folder)
        try:
            return CliRunner(env=environment).invoke(cli, arguments)
        finally:
            os.chdir(before)

    def token(self, lifetime_seconds: int) -> str:
        issuer = self.plane.plane.emulators.issuer
        return issuer.mint(self.plane.email, self.plane.url, lifetime_seconds=lifetime_seconds)

    @property
    def token_command(self) -> str:
        """What asks the issuer for a token, as `gcloud auth print-identity-token` does."""
        asked = urlencode({"email": self.plane.email, "audience": self.plane.url})
        issuer = self.plane.plane.emulators.address("identity").address
        return f"'{sys.executable}' -c '{FETCH}' '{issuer}/token?{asked}'"


@pytest.fixture
def operator(plane, tmp_path):
    return Operator(plane, tmp_path)


def test_code_is_deployed_run_and_looked_at_by_url_and_token(operator):
    token = operator.token(3600)
    deployed = operator.command("deploy", "shop.py", "--json", token=token)
    assert json.loads(deployed.stdout)["assetCount"] == 1
    ran = operator.command("run", "*", "--wait", "--json", token=token)
    run = json.loads(ran.stdout)
    assert (ran.exit_code, run["state"]) == (0, "SUCCEEDED")
    assert "made one" in operator.command("logs", run["runId"], token=token).stdout
    assert run["runId"] in operator.command("status", run["runId"], token=token).stdout


def test_an_expired_token_is_renewed_by_the_command_of_the_environment(operator):
    expired = operator.token(-120)
    refused = operator.command("runs", token=expired).exception
    assert isinstance(refused, PlaneRefused)
    assert "the token has expired" in str(refused)
    assert "ARCO_FLOW_TOKEN_COMMAND" in str(refused)
    command = operator.token_command
    assert operator.command("runs", token=expired, token_command=command).exit_code == 0
    assert operator.command("runs", token_command=command).exit_code == 0
