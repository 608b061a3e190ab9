"""Arguments in the URL: split, checked against the route, and read into values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from arco_flow.domain.durations import parse_duration_ms
from arco_flow.domain.errors import InvalidInput, did_you_mean
from arco_flow.domain.run import RunState
from arco_flow.http.messages import Request
from arco_flow.http.routing import Param, Route, percent_decode

DEFAULT_PAGE_SIZE: Final = 50
MAX_PAGE_SIZE: Final = 1000
MAX_WAIT_MS: Final = 60_000

PAGE: Final = (
    Param(
        "pageSize",
        f"More than {MAX_PAGE_SIZE} is {MAX_PAGE_SIZE}; 0 or absent = the default. A page of large"
        " items holds fewer.",
        "integer",
        "100",
    ),
    Param(
        "pageToken",
        "nextPageToken of the page before, with the same arguments; without one, it is the last.",
    ),
)
WAIT: Final = Param(
    "wait",
    "How long to hold the answer until the run changes or is over; more than a minute is a minute.",
    "duration",
    "30s",
)

_TERM: Final = re.compile(r'state\s*=\s*(?:"([A-Z_]+)"|([A-Z_]+))', re.ASCII)
_COLUMN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.]*", re.ASCII)


def read_query(raw: str, route: Route) -> dict[str, str]:
    """The arguments of a URL. Raises InvalidInput for unknown and repeated ones."""
    if not raw:
        return {}
    found: dict[str, str] = {}
    known = {param.name for param in route.query}
    for pair in raw.split("&"):
        key, _, value = pair.partition("=")
        name = percent_decode(key, plus=True)
        if name not in known:
            hint = did_you_mean(name, known)
            raise InvalidInput(
                f"unknown argument '{name}'{hint}",
                fix=f"known arguments: {', '.join(sorted(known)) or 'none'}",
                reason="UNKNOWN_ARGUMENT",
                details={"argument": name},
            )
        if name in found:
            raise InvalidInput(
                f"argument '{name}' is given twice", fix="give it once", reason="REPEATED_ARGUMENT"
            )
        found[name] = percent_decode(value, plus=True)
    return found


def page_size(query: Mapping[str, str], default: int = DEFAULT_PAGE_SIZE) -> int:
    """pageSize: 0 and absent mean the default, more than the maximum the maximum (AIP-158)."""
    text = query.get("pageSize", "0")
    if not re.fullmatch(r"-?[0-9]{1,4000}", text, re.ASCII):
        raise _bad_page_size(f"'{text}' is no number")
    size = int(text)
    if size < 0:
        raise _bad_page_size(f"{size} is negative")
    return min(size or default, MAX_PAGE_SIZE)


def _bad_page_size(problem: str) -> InvalidInput:
    return InvalidInput(
        f"pageSize {problem}",
        fix=f"give 1 to {MAX_PAGE_SIZE}, or leave it out",
        reason="BAD_PAGE_SIZE",
    )


def whole_number(query: Mapping[str, str], name: str) -> int | None:
    """A number from 0 on; None without one. Raises InvalidInput."""
    text = query.get(name)
    if text is not None and not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        raise InvalidInput(
            f"{name} '{text}' is no whole number from 0 on",
            fix=f"{name}=0, or leave it out",
            reason="BAD_NUMBER",
        )
    return None if text is None else int(text)


def request_id(request: Request, query: Mapping[str, str], run_key: str = "") -> str:
    """The name of a request: of requestId, Idempotency-Key or, in its body, a run key, which are
    one thing; "" when it has none. Raises InvalidInput when they differ."""
    named = {query.get("requestId", ""), request.header("idempotency-key"), run_key} - {""}
    if len(named) > 1:
        raise InvalidInput(
            "runKey, requestId and Idempotency-Key name the same thing and differ",
            fix="send one of them",
            reason="AMBIGUOUS_RUN_KEY",
        )
    return named.pop() if named else ""


def flag(query: Mapping[str, str], name: str) -> bool:
    """A boolean argument: true, false or absent. Raises InvalidInput for anything else."""
    text = query.get(name, "false")
    if text not in ("true", "false"):
        raise InvalidInput(
            f"{name} '{text}' is neither true nor false",
            fix=f"{name}=true, or leave it out",
            reason="BAD_FLAG",
        )
    return text == "true"


def wait_ms(query: Mapping[str, str]) -> int:
    """How long a caller is ready to wait, in milliseconds; more than a minute is a minute.

    Clients ask again: proxies on the way close what is silent for longer.
    """
    text = query.get("wait", "")
    return min(parse_duration_ms(text, name="wait"), MAX_WAIT_MS) if text else 0


def run_states(query: Mapping[str, str]) -> tuple[str, ...]:
    """The states of `filter`: `state = FAILED OR state = RUNNING` (a subset of AIP-160)."""
    # By words, not by a pattern: one that begins with any number of spaces tries every start.
    text = " ".join(query.get("filter", "").split())
    return tuple(dict.fromkeys(map(_state, text.split(" OR ")))) if text else ()


def _state(term: str) -> str:
    match = _TERM.fullmatch(term)
    if match is None:
        column = _COLUMN.match(term)
        shown = column[0] if column else term
        raise InvalidInput(
            f"filter can not be read at '{shown}'",
            where="filter",
            fix='only the state can be compared: state = FAILED OR state = "RUNNING"',
            reason="BAD_FILTER",
            details={"term": term},
        )
    name = match[1] or match[2]
    if name not in RunState.__members__:
        raise InvalidInput(
            f"no state '{name}'{did_you_mean(name, RunState.__members__)}",
            where="filter",
            fix=f"states: {', '.join(RunState.__members__)}",
            reason="BAD_FILTER",
            details={"state": name},
        )
    return name
