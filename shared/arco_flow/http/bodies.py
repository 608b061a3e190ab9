"""JSON bodies, read strictly: what two parsers could read in two ways is refused.

Unknown fields, a name that occurs twice, NaN and Infinity, lone surrogates, text after the
document and deep nesting are all 400 and never reach a use case.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from typing import Any, Final, TypeVar

import msgspec

from arco_flow.domain.errors import InvalidInput, did_you_mean
from arco_flow.domain.wire import depth_of
from arco_flow.http.messages import JSON_TYPE, Request
from arco_flow.http.refusals import UnsupportedContent

MAX_JSON_DEPTH: Final = 32
MAX_JSON_KEYS: Final = 2_000
"""Names in one object; the widest of ours has far fewer."""

T = TypeVar("T", bound=msgspec.Struct)
_SEE: Final = "GET /v1/openapi.json describes the bodies"
_UNKNOWN: Final = re.compile(r"unknown field `([^`]*)`")


def decode_body(request: Request, kind: type[T]) -> T:
    """The body as a message of this type. Raises InvalidInput with the path of the offender."""
    try:
        message = msgspec.json.decode(request.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _refused(str(error), kind) from error
    refuse_ambiguous_json(request.body)
    return message


def require_json(request: Request) -> None:
    """Refuse a body of another media type, or a compressed one: nothing here inflates.

    Raises UnsupportedContent. An absent body needs no type.
    """
    encoding = request.header("content-encoding").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedContent(
            f"content-encoding '{encoding}' is not read",
            fix="send the body uncompressed",
            details={"contentEncoding": encoding},
        )
    if not request.body:
        return
    media, _, parameters = request.header("content-type").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if media.strip().lower() != JSON_TYPE or charset not in ("", "utf-8"):
        sent = request.header("content-type")
        raise UnsupportedContent(
            f"content-type '{sent}' is not read",
            fix=f"send {JSON_TYPE}",
            details={"contentType": sent},
        )


def refuse_ambiguous_json(raw: bytes) -> None:
    """Raise InvalidInput for repeated names, objects too wide and nesting too deep."""
    try:
        document = json.loads(raw, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise _malformed(f"the body is no JSON: {error}", _SEE) from error
    if depth_of(document) > MAX_JSON_DEPTH:
        raise _malformed(f"the body is nested deeper than {MAX_JSON_DEPTH} levels", _SEE)


def refuse_repeated_names(raw: bytes) -> None:
    """Raise InvalidInput for a name that one object has twice; what is no JSON is let pass.

    For documents whose decoder tells the rest: it would keep the last of the two in silence.
    """
    with contextlib.suppress(ValueError, RecursionError):
        json.loads(raw, object_pairs_hook=_distinct)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        times = Counter(name for name, _ in pairs)
        twice = next(name for name in times if times[name] > 1)
        raise _malformed(f"'{twice}' occurs twice in one object", "leave one of them out")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = _distinct(pairs)
    if len(found) > MAX_JSON_KEYS:
        raise _malformed(f"{len(found)} names in one object; at most {MAX_JSON_KEYS}", _SEE)
    return found


def _refused(problem: str, kind: type[msgspec.Struct]) -> InvalidInput:
    what, _, where = problem.partition(" - at ")
    unknown = _UNKNOWN.search(what)
    if unknown is None:
        return InvalidInput(
            f"the body can not be read: {what}",
            where=where.strip("`") or None,
            fix=_SEE,
            reason="MALFORMED_BODY",
        )
    names = [info.encode_name for info in msgspec.structs.fields(kind)]
    hint = did_you_mean(unknown[1], names)
    return InvalidInput(
        f"unknown field '{unknown[1]}'{hint}",
        where=where.strip("`") or None,
        fix=f"known fields: {', '.join(names)}",
        reason="UNKNOWN_FIELD",
        details={"field": unknown[1]},
    )


def _malformed(problem: str, fix: str) -> InvalidInput:
    return InvalidInput(problem, fix=fix, reason="MALFORMED_BODY")
