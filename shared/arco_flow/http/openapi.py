"""The description of the API, generated from the route table: no route can be missing."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final

import msgspec

from arco_flow.domain.envelope import CallbackErrorPayload
from arco_flow.http.messages import Response
from arco_flow.http.routing import Call, Policy, QueryParam, Route

API_VERSION: Final = "1"

_SCHEMAS: Final = {
    "string": {"type": "string"},
    "integer": {"type": "integer", "minimum": 0},
    "boolean": {"type": "boolean"},
    "duration": {"type": "string", "examples": ["500ms", "30s", "1m"]},
}
_SECURITY: Final[dict[Policy, list[dict[str, list[str]]]]] = {
    Policy.PUBLIC: [],
    Policy.READ: [{"bearer": []}],
    Policy.WRITE: [{"bearer": []}],
    Policy.ATTEMPT: [{"attemptToken": []}],
}


class ErrorStatus(msgspec.Struct, frozen=True):
    """google.rpc.Status; details always hold one ErrorInfo."""

    code: int
    status: str
    message: str
    details: list[dict[str, Any]]


class ErrorBody(msgspec.Struct, frozen=True):
    """Body of every refused request of the API."""

    error: ErrorStatus


async def get_openapi(call: Call) -> Response:
    """This description (OpenAPI 3.1)."""
    return Response(200, _document_bytes(call.routes))


def openapi_document(routes: tuple[Route, ...]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these routes."""
    kinds: set[type[msgspec.Struct]] = {ErrorBody, CallbackErrorPayload}
    for route in routes:
        kinds.update(route.responses, () if route.request is None else (route.request,))
    ordered = sorted(kinds, key=lambda kind: kind.__name__)
    schemas, components = msgspec.json.schema_components(
        ordered, ref_template="#/components/schemas/{name}"
    )
    refs = dict(zip(ordered, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, refs)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Arco Flow", "version": API_VERSION},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": _security_schemes()},
    }


@cache
def _document_bytes(routes: tuple[Route, ...]) -> bytes:
    return msgspec.json.encode(openapi_document(routes))


def _operation(route: Route, refs: dict[type[msgspec.Struct], dict[str, Any]]) -> dict[str, Any]:
    error = refs[CallbackErrorPayload if route.policy is Policy.ATTEMPT else ErrorBody]
    answers = [refs[kind] for kind in route.responses] or [{"type": "object"}]
    operation: dict[str, Any] = {
        "operationId": route.operation_id,
        "summary": route.summary,
        "parameters": [_path_parameter(name) for name in re.findall(r"{(\w+)}", route.path)]
        + [_query_parameter(param) for param in route.query],
        "responses": {
            "200": {"description": "done", "content": _json_content(answers)},
            "default": {"description": "refused or failed", "content": _json_content([error])},
        },
        "security": _SECURITY[route.policy],
    }
    if route.request is not None:
        operation["requestBody"] = {
            "required": True,
            "content": _json_content([refs[route.request]]),
        }
    return operation


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query_parameter(param: QueryParam) -> dict[str, Any]:
    described = {"name": param.name, "in": "query", "description": param.description}
    if param.kind != "map":
        return {**described, "schema": _SCHEMAS[param.kind]}
    free_form = {"type": "object", "additionalProperties": {"type": "string"}}
    return {**described, "schema": free_form, "style": "form", "explode": True}


def _json_content(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    schema = schemas[0] if len(schemas) == 1 else {"oneOf": schemas}
    return {"application/json": {"schema": schema}}


def _security_schemes() -> dict[str, Any]:
    attempt = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    return {"bearer": {"type": "http", "scheme": "bearer"}, "attemptToken": attempt}
