"""What each function of the bundle is told: by the table, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from arco_flow.adapters.gcp.bundle import EMULATORS, Bundle, BundleSettings
from arco_flow.adapters.gcp.functions_table import load_functions_table
from arco_flow.adapters.gcp.provision import Place

FUNCTIONS = Path(__file__).parents[3] / "functions"
TABLE = load_functions_table(FUNCTIONS / "functions.yaml")
SECRETS = {"ARCO_FLOW_TENANT_SECRET", "ARCO_FLOW_TOKEN_SECRET"}


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    place = Place("demo", "here", "bucket", {})
    emulators = {name: f"127.0.0.1:{port}" for port, name in enumerate(EMULATORS, 1)}
    environment = {**emulators, "SSL_CERT_DIR": "/certs"}
    return Bundle(
        BundleSettings(tmp_path, FUNCTIONS, place, "http://127.0.0.1:9/certs", environment, {}),
        TABLE,
    )


@pytest.mark.parametrize("function", TABLE.functions)
def test_who_does_not_use_firestore_is_given_no_secret_of_the_plane(
    bundle: Bundle, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCO_FLOW_TOKEN_SECRET", "of the shell that started it")
    told = bundle.environment_of(function)
    uses_firestore = "firestore" in TABLE.function(function).uses
    assert SECRETS & set(told) == (SECRETS if uses_firestore else set())
    known = set(bundle._secrets.values())
    assert bool(known & set(told.values())) == uses_firestore, "under no other name either"


@pytest.mark.parametrize("function", TABLE.functions)
def test_a_function_is_led_to_the_services_that_the_table_grants_it(
    bundle: Bundle, function: str
) -> None:
    told = bundle.wiring_of(function)
    services = {EMULATORS[name] for name in EMULATORS if name in told}
    assert services == set(TABLE.function(function).uses) & set(EMULATORS.values())
    assert told["SSL_CERT_DIR"] == "/certs", "what leads to no service is for all"


@pytest.mark.parametrize("function", TABLE.functions)
def test_a_function_is_told_when_the_platform_cuts_its_requests(
    bundle: Bundle, function: str
) -> None:
    told = bundle.wiring_of(function)["ARCO_FLOW_TIMEOUT_SECONDS"]
    assert told == str(TABLE.function(function).timeout_seconds)


def test_user_code_runs_where_there_is_neither_secret_nor_state(bundle: Bundle) -> None:
    told = bundle.environment_of("worker")
    assert not SECRETS & set(told)
    assert "FIRESTORE_EMULATOR_HOST" not in told
    assert "ARCO_FLOW_TASKS_ENDPOINT" not in told
    assert told["ARCO_FLOW_PRINCIPALS"] == ""
