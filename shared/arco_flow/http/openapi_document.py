"""The description of the API, made of the route table: no route can be missing.

Summaries, arguments and refusals are the routes', long texts the docstrings of their handlers,
schemas the types that answers and requests are made of.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from arco_flow.domain.envelope import CallbackErrorPayload
from arco_flow.domain.errors import (
    ArcoError,
    Forbidden,
    InvalidInput,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from arco_flow.http.error_bodies import ErrorBody
from arco_flow.http.openapi_schemas import schemas_of
from arco_flow.http.openapi_texts import (
    ABOUT,
    BODY_EXAMPLES,
    ERROR_EXAMPLES,
    HEADER_TEXTS,
    PATH_PARAMS,
    REPORT_EXAMPLES,
    SECURITY_SCHEMES,
    TAGS,
)
from arco_flow.http.outcomes import api_error, callback_error, outcome_of
from arco_flow.http.refusals import (
    HeadersTooLarge,
    PathTooLong,
    TooManyRequests,
    UnsupportedContent,
)
from arco_flow.http.routing import WORKSPACE_PREFIX, Param, Policy, Route

API_VERSION: Final = "1"

_ALWAYS: Final = (InvalidInput, Forbidden, PathTooLong, HeadersTooLarge, ArcoError, Unavailable)
_OF_POLICY: Final[Mapping[Policy, tuple[type[ArcoError], ...]]] = {
    Policy.PUBLIC: (),
    Policy.READ: (Unauthenticated, NotFound, TooManyRequests),
    Policy.WRITE: (Unauthenticated, NotFound, TooManyRequests),
    Policy.ATTEMPT: (Unauthenticated,),
}
_OF_BODY: Final = (TooLarge, UnsupportedContent)
_SECURITY: Final[Mapping[Policy, list[dict[str, list[str]]]]] = {
    Policy.PUBLIC: [],
    Policy.READ: [{"bearer": []}],
    Policy.WRITE: [{"bearer": []}],
    Policy.ATTEMPT: [{"attemptToken": []}],
}
_KINDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer", "minimum": 0},
    "boolean": {"type": "boolean", "default": False},
    "duration": {"type": "string"},
}
_DEFECT: Final = "The plane met an error of its own; its log has the details."

_Refs = Mapping[type[msgspec.Struct], dict[str, Any]]


def openapi_document(routes: tuple[Route, ...]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these routes."""
    kinds: set[type[msgspec.Struct]] = {ErrorBody, CallbackErrorPayload}
    for route in routes:
        kinds.update(route.responses, () if route.request is None else (route.request,))
    refs, components = schemas_of(kinds, {r.request for r in routes if r.request is not None})
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, routes, refs)
    tags = dict.fromkeys(_tag(route) for route in routes)
    return {
        "openapi": "3.1.0",
        "info": {**ABOUT, "version": API_VERSION},
        "servers": [{"url": "/", "description": "Whoever serves this description."}],
        "tags": [{"name": tag, "description": TAGS[tag]} for tag in tags],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": _refusals(routes, refs),
            "headers": HEADER_TEXTS,
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def _operation(route: Route, routes: Sequence[Route], refs: _Refs) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.operation_id,
        "summary": route.summary,
        "description": inspect.getdoc(route.handler),
        "tags": [_tag(route)],
        "parameters": [
            *(_parameter("path", PATH_PARAMS[name]) for name in _names_in(route.path)),
            *(_parameter("query", param) for param in route.query),
            *(_parameter("header", param) for param in route.headers),
        ],
        "responses": _responses(route, routes, refs),
        "security": _SECURITY[route.policy],
    }
    if route.request is not None:
        operation["requestBody"] = _request_body(route.request, refs)
    return operation


def _tag(route: Route) -> str:
    """The first word of the path, below the workspace where there is one."""
    word = route.path.removeprefix(WORKSPACE_PREFIX).removeprefix("/v1").split("/")[1]
    return word if word in TAGS else "service"


def _names_in(path: str) -> list[str]:
    return re.findall(r"{(\w+)}", path)


def _parameter(place: str, param: Param) -> dict[str, Any]:
    schema = dict(_KINDS[param.kind])
    if param.pattern:
        schema["pattern"] = f"^{param.pattern}$"
    if param.example:
        is_text = schema["type"] == "string"
        schema["examples"] = [param.example if is_text else msgspec.json.decode(param.example)]
    needed = {"required": True} if place == "path" else {}
    named = {"name": param.name, "in": place, **needed}
    return {**named, "description": param.description, "schema": schema}


def _request_body(kind: type[msgspec.Struct], refs: _Refs) -> dict[str, Any]:
    """A body may be absent where each of its fields may."""
    needed = any(field.required for field in msgspec.structs.fields(kind))
    return {"required": needed, "content": _json(refs[kind], BODY_EXAMPLES[kind])}


def _responses(route: Route, routes: Sequence[Route], refs: _Refs) -> dict[str, Any]:
    answers = [refs[kind] for kind in route.responses] or [{"type": "object"}]
    done: dict[str, Any] = {
        "description": "Done.",
        "content": _json(answers[0] if len(answers) == 1 else {"oneOf": answers}),
    }
    links = _links(route, routes)
    if links:
        done["links"] = links
    told = {}
    for kind in sorted(_refused_by(route), key=_status):
        told[str(_status(kind))] = {"$ref": f"#/components/responses/{_name(kind, route)}"}
    form = refs[CallbackErrorPayload if route.policy is Policy.ATTEMPT else ErrorBody]
    rest = {"description": "Refused or failed in another way.", "content": _json(form)}
    return {"200": done, **told, "default": rest}


def _links(route: Route, routes: Sequence[Route]) -> dict[str, Any]:
    """Where a name in the answer leads: `runId` to the routes below the run, by operation."""
    here = _names_in(route.path)
    told = {field.encode_name for kind in route.responses for field in msgspec.structs.fields(kind)}
    found = {}
    for other in routes:
        new = [name for name in _names_in(other.path) if name not in here]
        if len(new) == 1 and f"{new[0]}Id" in told:
            values = {name: f"$request.path.{name}" for name in here}
            values[new[0]] = f"$response.body#/{new[0]}Id"
            found[other.operation_id] = {"operationId": other.operation_id, "parameters": values}
    return found


def _refused_by(route: Route) -> set[type[ArcoError]]:
    of_body = _OF_BODY if route.method != "GET" else ()
    return {*_ALWAYS, *_OF_POLICY[route.policy], *of_body, *route.refusals}


def _refusals(routes: Iterable[Route], refs: _Refs) -> dict[str, Any]:
    """The answers to errors that routes refer to, by name."""
    found: dict[str, Any] = {}
    for route in routes:
        for kind in _refused_by(route):
            found[_name(kind, route)] = _refusal(kind, route.policy is Policy.ATTEMPT, refs)
    return dict(sorted(found.items()))


def _refusal(kind: type[ArcoError], of_report: bool, refs: _Refs) -> dict[str, Any]:
    answer = callback_error(REPORT_EXAMPLES[kind]) if of_report else api_error(ERROR_EXAMPLES[kind])
    form = refs[CallbackErrorPayload if of_report else ErrorBody]
    told: dict[str, Any] = {
        "description": _DEFECT if kind is ArcoError else _paragraph(kind),
        "content": _json(form, msgspec.json.decode(answer.body)),
    }
    sent = {name for name, _ in answer.headers}
    headers = {name: _header(name) for name in HEADER_TEXTS if name.lower() in sent}
    return {**told, "headers": headers} if headers else told


def _paragraph(kind: type[ArcoError]) -> str:
    """The first paragraph of what its docstring says."""
    return (inspect.getdoc(kind) or "").partition("\n\n")[0]


def _name(kind: type[ArcoError], route: Route) -> str:
    name = "InternalError" if kind is ArcoError else kind.__name__
    return f"Report{name}" if route.policy is Policy.ATTEMPT else name


def _status(kind: type[ArcoError]) -> int:
    return outcome_of(kind.__new__(kind)).status


def _header(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}


def _json(schema: Mapping[str, Any], example: object = None) -> dict[str, Any]:
    shown = {} if example is None else {"example": example}
    return {"application/json": {"schema": schema, **shown}}
