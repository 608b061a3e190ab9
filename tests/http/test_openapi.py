"""The description of the API: whole, true to the route table, and good enough to work from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import schemathesis
from http_plane import Plane

from arco_flow.domain.envelope import CallbackErrorPayload
from arco_flow.http.error_bodies import ErrorBody
from arco_flow.http.openapi_document import openapi_document
from arco_flow.http.openapi_texts import BODY_EXAMPLES
from arco_flow.http.outcomes import OUTCOMES
from arco_flow.http.routes import CALLBACKS, ROUTES, SERVICE
from arco_flow.http.routing import Policy, Route

DOCUMENT = json.loads(msgspec.json.encode(openapi_document(ROUTES)))
COMPONENTS = DOCUMENT["components"]

every_route = pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation_id)


def operation(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][route.path][route.method.lower()]
    return found


def objects(value: object) -> Iterator[dict[str, Any]]:
    """Every object in a document."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value:  # type: ignore[attr-defined]
        if isinstance(inner, dict | list):
            yield from objects(inner)


def fits(schema: dict[str, Any], value: object) -> bool:
    whole = {**schema, "components": COMPONENTS}
    return bool(jsonschema_rs.validator_for(whole).is_valid(value))


def test_the_description_is_openapi() -> None:
    schemathesis.openapi.from_dict(DOCUMENT).validate()


def test_the_plane_serves_the_description_to_everybody() -> None:
    answer = Plane().ask("GET", "/v1/openapi.json", token="")
    assert json.loads(answer.body) == DOCUMENT


def test_a_function_that_serves_some_routes_describes_those() -> None:
    served = openapi_document((*CALLBACKS, *SERVICE))
    assert set(served["paths"]) == {route.path for route in (*CALLBACKS, *SERVICE)}
    assert [tag["name"] for tag in served["tags"]] == ["tasks", "service"]
    assert "RunSpec" not in served["components"]["schemas"]


@every_route
def test_a_route_is_described_with_all_that_it_reads(route: Route) -> None:
    told = operation(route)
    places = {(parameter["in"], parameter["name"]) for parameter in told["parameters"]}
    assert places == {
        *(("path", name) for name in re.findall(r"{(\w+)}", route.path)),
        *(("query", param.name) for param in route.query),
        *(("header", param.name) for param in route.headers),
    }
    assert all(parameter["description"] for parameter in told["parameters"])
    assert bool(told["security"]) == (route.policy is not Policy.PUBLIC)
    assert ("requestBody" in told) == (route.request is not None)
    assert told["summary"]
    assert told["description"]


@every_route
def test_what_a_route_says_to_people_is_not_what_it_says_to_programmers(route: Route) -> None:
    told = operation(route)
    assert not re.search(r"Raises|call\.|None\b|\b[a-z]+_[a-z]+\b", told["description"])
    assert not told["summary"].endswith(".")


@every_route
def test_a_refusal_is_described_in_the_form_of_its_route(route: Route) -> None:
    form = CallbackErrorPayload if route.policy is Policy.ATTEMPT else ErrorBody
    told = operation(route)["responses"]
    assert {"200", "400", "500", "503", "default"} <= set(told)
    for status, answer in told.items():
        if status in ("200", "default"):
            continue
        shown = COMPONENTS["responses"][answer["$ref"].rpartition("/")[2]]
        content = shown["content"]["application/json"]
        assert content["schema"] == {"$ref": f"#/components/schemas/{form.__name__}"}
        msgspec.convert(content["example"], form)
        assert form is CallbackErrorPayload or content["example"]["error"]["code"] == int(status)
        assert shown["description"].endswith(".")


def test_names_are_unique_and_every_tag_is_told() -> None:
    ids = [route.operation_id for route in ROUTES]
    assert len(set(ids)) == len(ids)
    used = {tag for route in ROUTES for tag in operation(route)["tags"]}
    assert used == {tag["name"] for tag in DOCUMENT["tags"]}
    assert all(tag["description"] for tag in DOCUMENT["tags"])


def test_statuses_that_ask_for_patience_or_a_credential_say_so_in_a_header() -> None:
    by_header = {
        name: set(COMPONENTS["responses"][name].get("headers", ()))
        for name in ("Unavailable", "TooManyRequests", "Unauthenticated", "Conflict")
    }
    assert by_header == {
        "Unavailable": {"Retry-After"},
        "TooManyRequests": {"Retry-After"},
        "Unauthenticated": {"WWW-Authenticate"},
        "Conflict": set(),
    }


def test_every_described_status_is_one_of_the_table() -> None:
    known = {str(outcome.status) for outcome in OUTCOMES.values()}
    for route in ROUTES:
        assert set(operation(route)["responses"]) <= known | {"200", "default"}


def test_every_reference_leads_somewhere_and_nothing_is_left_over() -> None:
    used = {found["$ref"] for found in objects(DOCUMENT) if "$ref" in found}
    here = {
        f"#/components/{group}/{name}"
        for group in ("schemas", "responses", "headers")
        for name in COMPONENTS[group]
    }
    assert used == here


def test_examples_fit_what_they_are_examples_of() -> None:
    shown = 0
    for found in objects(DOCUMENT):
        if "schema" in found and "example" in found:
            assert fits(found["schema"], found["example"]), found["example"]
            shown += 1
        for example in found.get("examples", []) if "type" in found else []:
            assert fits(found, example), example
            shown += 1
    assert shown > 40


def test_examples_of_bodies_are_read_and_hold_no_name_that_is_none() -> None:
    assert set(BODY_EXAMPLES) == {route.request for route in ROUTES if route.request}
    for kind, example in BODY_EXAMPLES.items():
        msgspec.convert(example, kind)
        assert set(example) <= {field.encode_name for field in msgspec.structs.fields(kind)}


def test_only_a_body_whose_fields_may_all_be_left_out_may_be_left_out() -> None:
    optional = [
        route.operation_id
        for route in ROUTES
        if route.request and not operation(route)["requestBody"]["required"]
    ]
    assert optional == ["cancel_run"]


def test_texts_of_schemas_name_fields_as_the_json_does() -> None:
    schemas = COMPONENTS["schemas"]
    assert "partitionRange: inclusive" in schemas["RunSpec"]["description"]
    for name, schema in schemas.items():
        assert schema["description"], name
        assert "\n    " not in schema["description"], "Markdown would take it for code"


def test_an_answer_has_all_of_its_fields_and_a_request_those_that_it_needs() -> None:
    schemas = COMPONENTS["schemas"]
    run = schemas["RunView"]
    assert run["required"] == list(run["properties"])
    assert schemas["RunSpec"]["required"] == ["selection"]
    assert schemas["CallbackErrorPayload"]["required"] == ["error", "message"]


def test_a_run_that_was_accepted_leads_to_what_can_be_asked_of_it() -> None:
    [create] = [route for route in ROUTES if route.operation_id == "create_run"]
    links = operation(create)["responses"]["200"]["links"]
    assert set(links) == {"get_run", "cancel_run", "get_plan", "list_events", "list_log_lines"}
    assert links["get_run"]["parameters"] == {
        "workspace": "$request.path.workspace",
        "run": "$response.body#/runId",
    }
