"""Tokens of a plane elsewhere: where a fresh one comes from, and what is told of a refused one."""

from __future__ import annotations

import base64
import json
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from run_views import a_run, a_task
from test_client import OK, Silent, plane

from arco_flow.cli import credentials
from arco_flow.cli.client import PlaneClient
from arco_flow.cli.credentials import token_of_command
from arco_flow.cli.failures import PlaneRefused
from arco_flow.cli.progress import follow_run
from arco_flow.cli.project import find_project
from arco_flow.cli.session import open_session
from arco_flow.domain.errors import InvalidInput, Unauthenticated

REASON = [{"reason": "UNAUTHENTICATED"}]
REFUSAL = {"error": {"message": "a valid credential is needed", "details": REASON}}
REFUSED = (401, json.dumps(REFUSAL).encode())


def identity_token(**claims: Any) -> str:
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{part}.c2ln"


def python(code: str) -> str:
    """A command that runs some Python."""
    return f"'{sys.executable}' -c '{code}'"


def tokens_of(asked: list[str]) -> list[str]:
    return [
        line.removeprefix("authorization: Bearer ")
        for request in asked
        for line in request.splitlines()
        if line.startswith("authorization: ")
    ]


def test_a_refused_token_is_renewed_once_and_the_request_repeated_whatever_it_asks() -> None:
    with plane(REFUSED, OK, OK) as (url, asked):
        client = PlaneClient(url, "old", "w", renew=lambda: "new")
        assert client.post("/runs", dict[str, Any], {"a": 1}) == {"runs": []}
        assert client.get("/runs", dict[str, Any]) == {"runs": []}
    assert tokens_of(asked) == ["old", "new", "new"]
    assert asked[0].splitlines()[0] == asked[1].splitlines()[0]


def test_a_fresh_token_that_is_refused_is_not_renewed_again() -> None:
    with plane(REFUSED, REFUSED) as (url, asked), pytest.raises(PlaneRefused) as caught:
        PlaneClient(url, "old", "w", renew=lambda: "new").get("/runs", dict[str, Any])
    assert (caught.value.status, tokens_of(asked)) == (401, ["old", "new"])


def test_a_run_is_followed_beyond_the_life_of_a_token() -> None:
    over = msgspec.structs.replace(a_run(a_task("a"), state="SUCCEEDED"), version=2)
    first, last = ((200, msgspec.json.encode(run)) for run in (a_run(a_task("a", "RUNNING")), over))
    with plane(first, REFUSED, last) as (url, asked):
        client = PlaneClient(url, "old", "w", renew=lambda: "new")
        assert follow_run(client, "run_1", Silent()).state == "SUCCEEDED"
    assert tokens_of(asked) == ["old", "old", "new"]


def test_an_expired_token_is_told_so_with_its_mend() -> None:
    token = identity_token(exp=time.time() - 90, aud="https://plane.example")
    with plane(REFUSED) as (url, _), pytest.raises(PlaneRefused) as caught:
        PlaneClient(url, token, "w").get("/runs", dict[str, Any])
    first, fix = str(caught.value).splitlines()
    assert first.startswith("the token has expired, at 20")
    assert first.endswith("; what runs goes on")
    assert "ARCO_FLOW_TOKEN_COMMAND" in fix
    assert caught.value.reason == "UNAUTHENTICATED"


def test_a_token_for_another_audience_is_told_so() -> None:
    token = identity_token(exp=time.time() + 90, aud="32555940559.apps.googleusercontent.com")
    with plane(REFUSED) as (url, _), pytest.raises(PlaneRefused) as caught:
        PlaneClient(url, token, "w").get("/runs", dict[str, Any])
    assert f"was made for 32555940559.apps.googleusercontent.com, not for {url}" in str(
        caught.value
    )


@pytest.mark.parametrize(
    "token",
    ["", "opaque", "a.b.c", "a.bm9uZQ.c", "a.W10.c", "..", identity_token(exp="soon", aud=[1])],
)
def test_what_is_wrong_with_other_tokens_is_not_guessed(token: str) -> None:
    with plane(REFUSED) as (url, _), pytest.raises(PlaneRefused) as caught:
        PlaneClient(url, token, "w").get("/runs", dict[str, Any])
    first, fix = str(caught.value).splitlines()
    assert first == "a valid credential is needed"
    assert "ARCO_FLOW_TOKEN" in fix


@pytest.mark.parametrize("expiry", [-1e300, -(10**30)])
def test_an_expiry_beyond_all_calendars_is_no_defect(expiry: float) -> None:
    with plane(REFUSED) as (url, _), pytest.raises(PlaneRefused, match="a time that is none"):
        PlaneClient(url, identity_token(exp=expiry), "w").get("/runs", dict[str, Any])


def test_a_command_is_run_without_a_shell_and_what_it_prints_is_the_token() -> None:
    assert token_of_command(python('print(" to.ken ")')) == "to.ken"
    words = python("import sys; print(sys.argv[1])")
    assert token_of_command(f'{words} "$HOME;`id`"') == "$HOME;`id`"


@pytest.mark.parametrize("text", ["", "  ", "'unclosed", "/no/such/program", "."])
def test_what_can_not_be_run_is_told_with_the_variable(text: str) -> None:
    with pytest.raises(InvalidInput, match="can not be run") as caught:
        token_of_command(text)
    assert caught.value.where == "ARCO_FLOW_TOKEN_COMMAND"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ('import sys; sys.exit("log in first")', "ended with 1: log in first"),
        ("import sys; sys.exit(3)", "ended with 3"),
        ("pass", "printed no token"),
        ("print(1); print(2)", "printed no token, or more than one line"),
        ('print("\\u00e9")', "printed no token"),
    ],
)
def test_a_command_that_gives_no_token_is_told_and_what_it_printed_is_not(
    code: str, told: str
) -> None:
    with pytest.raises(Unauthenticated, match=told):
        token_of_command(python(code))


def test_a_command_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "COMMAND_SECONDS", 0.2)
    with pytest.raises(Unauthenticated, match=r"has not ended after 0\.2 s"):
        token_of_command(python('__import__("threading").Event().wait()'))


@pytest.mark.parametrize(("given", "shown"), [("", ["fresh"]), ("old", ["old", "fresh"])])
def test_a_session_takes_the_token_of_the_environment_first_and_then_that_of_the_command(
    given: str, shown: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = [OK] if not given else [REFUSED, OK]
    with plane(*script) as (url, asked):
        monkeypatch.setenv("ARCO_FLOW_URL", url)
        monkeypatch.setenv("ARCO_FLOW_TOKEN", given)
        monkeypatch.setenv("ARCO_FLOW_TOKEN_COMMAND", python('print("fresh")'))
        with open_session(find_project(str(tmp_path), None, None)) as session:
            session.client.get("/runs", dict[str, Any])
    assert tokens_of(asked) == shown
