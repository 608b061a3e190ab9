"""A function's settings: whole or not at all, and all that is wrong is told at once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

import pytest

from arco_flow.adapters.gcp.oidc import GOOGLE_CERTS_URL
from arco_flow.adapters.gcp.settings import (
    ENGINE_VARIABLES,
    FunctionSettings,
    Principal,
    RouteTarget,
    read_settings,
)
from arco_flow.domain.errors import InvalidInput
from arco_flow.engine.context import Settings

NEEDED = {
    "ARCO_FLOW_FUNCTION": "dispatch",
    "ARCO_FLOW_PROJECT": "shop",
    "ARCO_FLOW_LOCATION": "europe-west1",
    "ARCO_FLOW_BUCKET": "shop-flow",
    "ARCO_FLOW_AUDIENCE": "https://dispatch.example",
}
ACCOUNTS = {"tasks": "shop-tasks@shop.example", "scheduler": "shop-scheduler@shop.example"}
TARGET = {"url": "https://x.example", "audience": "https://x.example", "account": "a@b.example"}


def read(**environment: str) -> FunctionSettings:
    return read_settings({**NEEDED, **environment})


def problems(environment: Mapping[str, str]) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        read_settings(environment)
    error = caught.value
    found = error.details["problems"]
    assert isinstance(found, list)
    lines = error.message.splitlines()
    assert lines[1:] == [f"  - {problem}" for problem in found], "each on a line of its own"
    assert "terraform" in (error.fix or "")
    return found


def test_what_is_needed_is_enough() -> None:
    found = read()
    assert (found.function, found.project, found.bucket) == ("dispatch", "shop", "shop-flow")
    assert (found.urls, found.accounts, found.principals, found.engine) == ({}, {}, {}, {})
    assert found.callers == frozenset()
    assert (found.certs_url, found.database) == (GOOGLE_CERTS_URL, "(default)")
    assert (found.log_level, found.tasks_endpoint) == ("INFO", "")
    assert (found.requests_per_second, found.request_burst) == (50, 200)


def test_all_that_can_be_told_is_read() -> None:
    found = read(
        ARCO_FLOW_AUDIENCE="http://127.0.0.1:8080",
        ARCO_FLOW_FUNCTION_URLS='{"worker": "https://worker.example"}',
        ARCO_FLOW_ACCOUNTS=json.dumps(ACCOUNTS),
        ARCO_FLOW_CALLERS=" tasks,scheduler ",
        ARCO_FLOW_ROUTES=json.dumps({"worker": {**TARGET, "deadlineSeconds": 1800}}),
        ARCO_FLOW_PRINCIPALS=json.dumps(
            {
                "ana@shop.example": {"tenant": "acme", "workspace": "prod"},
                "bo@shop.example": {
                    "tenant": "acme",
                    "workspace": "prod",
                    "permissions": ["read"],
                },
            }
        ),
        ARCO_FLOW_OIDC_CERTS_URL=" http://localhost:9000/certs ",
        ARCO_FLOW_LOG_LEVEL="debug",
        ARCO_FLOW_REQUESTS_PER_SECOND="0",
        ARCO_FLOW_REQUEST_BURST="1",
        ARCO_FLOW_WORKERS="4",
        ARCO_FLOW_TIMEOUT_SECONDS="900",
        ARCO_FLOW_WAKE_MS="100",
        ARCO_FLOW_SKEW_MS="0",
    )
    assert found.url_of("worker") == "https://worker.example"
    assert found.accounts == ACCOUNTS
    assert found.callers == frozenset(ACCOUNTS.values())
    assert found.routes == {
        "worker": RouteTarget("https://x.example", "https://x.example", "a@b.example", 1800)
    }
    assert found.principals == {
        "ana@shop.example": Principal("acme", "prod", ("read", "write")),
        "bo@shop.example": Principal("acme", "prod", ("read",)),
    }
    assert (found.certs_url, found.log_level) == ("http://localhost:9000/certs", "DEBUG")
    assert found.engine == {"wake_ms": 100, "skew_ms": 0}
    assert (found.requests_per_second, found.request_burst, found.workers) == (0, 1, 4)
    assert found.timeout_seconds == 900


def test_all_that_is_wrong_is_told_in_one_message() -> None:
    found = problems(
        {
            "ARCO_FLOW_PROJECT": "   ",
            "ARCO_FLOW_BUCKET": "b",
            "ARCO_FLOW_AUDIENCE": "dispatch.example",
            "ARCO_FLOW_FUNCTION_URLS": "{",
            "ARCO_FLOW_PRINCIPALS": '{"a@b.example": {"tenant": "../x", "workspace": "w"}}',
            "ARCO_FLOW_LOG_LEVEL": "loud",
            "ARCO_FLOW_WAKE_MS": "0",
            "ARCO_FLOW_QUIET_MS": "soon",
        }
    )
    assert found == [
        "ARCO_FLOW_FUNCTION is not set",
        "ARCO_FLOW_PROJECT is not set",
        "ARCO_FLOW_LOCATION is not set",
        "ARCO_FLOW_AUDIENCE is 'dispatch.example', which is no URL",
        "ARCO_FLOW_FUNCTION_URLS must be JSON of names and URLs: Input data was truncated",
        "ARCO_FLOW_PRINCIPALS must be JSON of e-mails and what they may do: tenant '../x' has '.'"
        " at character 1; lower-case letters, digits, '-' and '_' are allowed",
        "ARCO_FLOW_LOG_LEVEL must be a level of logging: 'loud' is none of DEBUG, INFO, WARNING,"
        " ERROR, CRITICAL",
        "ARCO_FLOW_WAKE_MS must be a whole number of 1 or more: 0 is not from 1 to 315360000000",
        "ARCO_FLOW_QUIET_MS must be a whole number of 0 or more: invalid literal for int() with"
        " base 10: 'soon'",
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ARCO_FLOW_FUNCTION_URLS", '["https://x.example"]'),
        ("ARCO_FLOW_FUNCTION_URLS", '{"worker": 7}'),
        ("ARCO_FLOW_FUNCTION_URLS", '{"worker": "http://worker.example"}'),
        ("ARCO_FLOW_FUNCTION_URLS", '{"worker": ""}'),
        ("ARCO_FLOW_ACCOUNTS", '{"tasks": null}'),
        ("ARCO_FLOW_ROUTES", '{"worker": {"url": "https://x.example"}}'),
        ("ARCO_FLOW_ROUTES", json.dumps({"worker": {**TARGET, "url": "http://x.example"}})),
        ("ARCO_FLOW_ROUTES", json.dumps({"worker": {**TARGET, "audience": ""}})),
        ("ARCO_FLOW_ROUTES", json.dumps({"worker": {**TARGET, "deadline": 7}})),
        ("ARCO_FLOW_ROUTES", json.dumps({"worker": {**TARGET, "deadlineSeconds": 14}})),
        ("ARCO_FLOW_ROUTES", json.dumps({"worker": {**TARGET, "deadlineSeconds": 1801}})),
        ("ARCO_FLOW_ROUTES", json.dumps({"worker": {**TARGET, "account": ""}})),
        ("ARCO_FLOW_PRINCIPALS", '{"a@b.example": {"tenant": "acme"}}'),
        (
            "ARCO_FLOW_PRINCIPALS",
            '{"a@b.example": {"tenant": "a", "workspace": "w", "permissions": ["admin"]}}',
        ),
        ("ARCO_FLOW_PRINCIPALS", '{"a@b.example": {"tenant": "a", "workspace": "W/x"}}'),
        ("ARCO_FLOW_PRINCIPALS", '{"a@b.example": {"tenant": "a", "workspace": "w", "role": 1}}'),
        ("ARCO_FLOW_REQUESTS_PER_SECOND", "-1"),
        ("ARCO_FLOW_REQUESTS_PER_SECOND", "many"),
        ("ARCO_FLOW_REQUEST_BURST", "0"),
        ("ARCO_FLOW_WORKERS", "0"),
        ("ARCO_FLOW_WAKE_MS", "-1"),
        ("ARCO_FLOW_WAKE_MS", "1.5"),
        ("ARCO_FLOW_MAX_IN_FLIGHT", "0"),
        ("ARCO_FLOW_TOKEN_TTL_MS", "0"),
        ("ARCO_FLOW_TOKEN_TTL_MS", "9" * 30),
        ("ARCO_FLOW_TOKEN_TTL_MS", "9" * 5_000),
    ],
)
def test_a_value_that_would_fail_later_fails_at_the_start(name: str, text: str) -> None:
    (problem,) = problems({**NEEDED, name: text})
    assert problem.startswith(f"{name} must be ")


@pytest.mark.parametrize(
    ("callers", "problem"),
    [
        ("task", "'task' is none; did you mean 'tasks'?"),
        ("tasks,,scheduler", "'' is none"),
        ("tasks;scheduler", "'tasks;scheduler' is none"),
        ("shop-tasks@shop.example", "'shop-tasks@shop.example' is none"),
        ("nobody", "'nobody' is none"),
    ],
)
def test_a_caller_is_an_identity_that_has_an_account(callers: str, problem: str) -> None:
    accounts = json.dumps({**ACCOUNTS, "nobody": ""})
    environment = {**NEEDED, "ARCO_FLOW_ACCOUNTS": accounts, "ARCO_FLOW_CALLERS": callers}
    (found,) = problems(environment)
    assert found.startswith("ARCO_FLOW_CALLERS must be identities of ARCO_FLOW_ACCOUNTS")
    assert problem in found


@pytest.mark.parametrize("name", ["ARCO_FLOW_AUDIENCE", "ARCO_FLOW_OIDC_CERTS_URL"])
@pytest.mark.parametrize(
    "url",
    [
        "http://certs.example/x",
        "http://127.0.0.1.attacker.example/",
        "http://localhost@attacker.example/",
        "https://user@attacker.example/",
        "ftp://certs.example/",
        "file:///etc/passwd",
        "https://",
        "https://[::1",
        "https:// certs.example",
        "//certs.example",
    ],
)
def test_a_url_is_https_or_of_this_machine(name: str, url: str) -> None:
    (problem,) = problems({**NEEDED, name: url})
    assert problem.startswith(f"{name} is '{url}', which is ")


@pytest.mark.parametrize("url", ["http://localhost:1", "http://[::1]:8080/certs", "https://x.ex/y"])
def test_a_url_of_this_machine_needs_no_tls(url: str) -> None:
    assert read(ARCO_FLOW_OIDC_CERTS_URL=url).certs_url == url


def test_the_url_of_a_function_that_is_not_told_is_asked_for() -> None:
    with pytest.raises(InvalidInput, match="'worker_callback' is not known") as caught:
        read().url_of("worker_callback")
    assert "ARCO_FLOW_FUNCTION_URLS" in (caught.value.fix or "")


def test_every_variable_of_the_engine_is_a_field_of_its_settings() -> None:
    fields = {field.name for field in dataclasses.fields(Settings)}
    assert set(ENGINE_VARIABLES.values()) == fields - {"callback_base_url"}
    every = read(**dict.fromkeys(ENGINE_VARIABLES, "7")).engine
    assert Settings(**every) == Settings(**dict.fromkeys(ENGINE_VARIABLES.values(), 7))
