"""The API does what its description says, asked by requests that are made from it.

The requests are the same each time; `tests/http/described.py` asks with fresh ones.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from described import Described, ask
from http_plane import Plane

from arco_flow.domain.manifest import Manifest
from arco_flow.http.openapi_texts import BODY_EXAMPLES
from arco_flow.http.routes import ROUTES


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of refusals are no news."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_the_examples_of_the_description_are_accepted() -> None:
    described = Described()
    verdict = ask(described, "examples")
    assert not verdict.failures, verdict.text()
    assert described.answers[200] > len(ROUTES)


def test_every_argument_and_field_at_its_bounds_is_answered_as_described() -> None:
    described = Described()
    verdict = ask(described, "coverage")
    assert not verdict.failures, verdict.text()
    assert {200, 400, 401, 404, 405, 415} <= set(described.answers)
    assert described.answers.total() > 800


def test_whatever_fits_or_misses_the_description_is_answered_as_described() -> None:
    described = Described()
    verdict = ask(described, "fuzzing", examples=4)
    assert not verdict.failures, verdict.text()
    assert {200, 400} <= set(described.answers)


def test_what_answers_lead_to_is_answered_as_described() -> None:
    described = Described()
    verdict = ask(described, "stateful", examples=6)
    assert not verdict.failures, verdict.text()
    assert {200, 404} <= set(described.answers)


def test_a_run_is_made_read_and_ended_by_following_the_links_of_the_description() -> None:
    plane = Plane()
    described = json.loads(plane.ask("GET", "/v1/openapi.json", token="").body)
    operations = {
        operation["operationId"]: (method.upper(), path, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }
    plane.post("/deployments", BODY_EXAMPLES[Manifest])
    _, _, create = operations["create_run"]
    example = create["requestBody"]["content"]["application/json"]["example"]
    accepted = plane.post("/runs", example)
    plane.work()

    def follow(name: str) -> Any:
        method, path, _ = operations[name]
        link = create["responses"]["200"]["links"][name]["parameters"]
        assert link == {"workspace": "$request.path.workspace", "run": "$response.body#/runId"}
        target = path.replace("{workspace}", "test").replace("{run}", accepted["runId"])
        answer = plane.ask(method, target)
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    assert follow("get_run")["state"] == "RUNNING"
    assert follow("get_plan")["taskCount"] == accepted["taskCount"] == 1
    assert follow("list_events")["events"][0]["event"]["type"] == "RunRequested"
    assert not follow("list_log_lines")["complete"]
    assert follow("cancel_run")["state"] in ("CANCELLING", "CANCELLED")
