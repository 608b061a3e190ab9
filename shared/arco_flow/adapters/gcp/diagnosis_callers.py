"""Who may call what: the functions, asked over HTTP as their callers and as others ask them."""

from __future__ import annotations

import asyncio
import http.client
from contextlib import closing
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from arco_flow.adapters.gcp.functions_table import Function
from arco_flow.adapters.gcp.verdicts import (
    CALL_SECONDS,
    Deployment,
    Problem,
    Verdict,
    counted,
    email_in,
)
from arco_flow.domain.errors import Unavailable

_CLOSED: Final = (401, 403)
_HIDDEN: Final = 404
"""What Google's front end answers for a service that takes no requests from outside."""
_DEPLOY: Final = "start or deploy it again; its log tells why it does not serve"
_NO_ANSWER: Final = 0


class _Target(NamedTuple):
    name: str
    row: Function
    url: str


async def functions_live(deployment: Deployment) -> Verdict:
    """Every function of the table answers /health/live, which asks for no token: who refuses it
    is the platform, and then it changes the tokens of all other calls, too."""
    problems = [
        Problem(
            f"the URL of the function '{name}' is not known",
            "name it in ARCO_FLOW_FUNCTION_URLS",
        )
        for name in deployment.table.functions
        if name not in deployment.settings.urls
    ]
    notes = []
    targets = _targets(deployment)
    asked = [asyncio.to_thread(_ask, "GET", f"{target.url}/health/live") for target in targets]
    for target, status in zip(targets, await asyncio.gather(*asked), strict=True):
        if status == _HIDDEN and target.row.callers:
            notes.append(_hidden(target))
        elif status != 200:
            problems.append(_not_live(target, status))
    answering = counted(len(targets) - len(notes), "function")
    return Verdict(f"{answering} answering", problems, notes)


async def refuse_without_token(deployment: Deployment) -> Verdict:
    """The API and each function that is delivered to refuse a call without a token."""
    targets = [t for t in _targets(deployment) if t.row.access != "attempts"]
    asked = [asyncio.to_thread(_ask, *_door(target)) for target in targets]
    problems, notes = [], []
    for target, status in zip(targets, await asyncio.gather(*asked), strict=True):
        if status == _NO_ANSWER:
            notes.append(f"'{target.name}' does not answer")
        elif status == _HIDDEN and target.row.callers:
            notes.append(_hidden(target))
        elif status not in _CLOSED:
            problems.append(_open_door(target, "a call without a token", status))
    refusing = counted(len(targets) - len(notes), "function")
    return Verdict(f"a call without one is refused by {refusing}", problems, notes)


async def refuse_strangers(deployment: Deployment) -> Verdict:
    """Each function that is delivered to refuses the token of who is not its caller."""
    targets = [target for target in _targets(deployment) if target.row.callers]
    asked = [asyncio.to_thread(_judge_stranger, deployment, target) for target in targets]
    judged = await asyncio.gather(*asked)
    problems = [one for one in judged if isinstance(one, Problem)]
    notes = [one for one in judged if isinstance(one, str) and one]
    refusing = counted(len(targets) - len(notes), "function")
    return Verdict(f"who is no caller is refused by {refusing}", problems, notes)


async def api_serves_caller(deployment: Deployment) -> Verdict:
    """The API answers the caller, and can serve."""
    url = deployment.settings.url_of("api").rstrip("/")
    token = await asyncio.to_thread(deployment.tokens.of, "api", url)
    email = email_in(token)
    found = deployment.settings.principals.get(email)
    if found is None:
        return Verdict(
            "",
            [Problem(f"{email or 'the caller'} is not known to the API", _principal_mend(email))],
        )
    path = f"/v1/workspaces/{found.workspace}/runs?pageSize=1"
    status, ready = await asyncio.gather(
        asyncio.to_thread(_ask, "GET", url + path, token),
        asyncio.to_thread(_ask, "GET", f"{url}/health/ready", token),
    )
    if _NO_ANSWER in (status, ready):
        return Verdict("", [Problem("the API does not answer", _DEPLOY)])
    problems = []
    if status != 200:
        mend = _principal_mend(email) if status in _CLOSED else _DEPLOY
        problems.append(Problem(f"the API answers {email} with {status}", mend))
    if ready != 200:
        told = f"the API is not ready: /health/ready answers {ready}"
        problems.append(Problem(told, "see the line of firestore: the API asks it"))
    return Verdict(f"answers {email} in workspace '{found.workspace}', and is ready", problems)


def _targets(deployment: Deployment) -> list[_Target]:
    urls = deployment.settings.urls
    return [
        _Target(name, row, urls[name].rstrip("/"))
        for name, row in deployment.table.functions.items()
        if name in urls
    ]


def _door(target: _Target) -> tuple[str, str]:
    """Method and URL that only those may use who are let in."""
    if target.row.access == "users":
        return "GET", f"{target.url}/v1/workspaces/default/runs"
    return "POST", f"{target.url}/"


def _not_live(target: _Target, status: int) -> Problem:
    if status in _CLOSED:
        return Problem(
            f"Cloud Run asks for roles/run.invoker before '{target.name}' ({status}): it takes the"
            " signature from tokens then, and the function refuses every call",
            "gcloud run services update SERVICE --no-invoker-iam-check; the function itself"
            " checks who calls",
        )
    told = f"answers {status}" if status else "does not answer"
    return Problem(f"the function '{target.name}' {told} at {target.url}", _DEPLOY)


def _hidden(target: _Target) -> str:
    return f"'{target.name}' can not be reached from here (404): right, if its ingress is internal"


def _open_door(target: _Target, whose: str, status: int) -> Problem:
    return Problem(
        f"the function '{target.name}' answers {whose} with {status}, not 401 or 403",
        "deploy the image and the environment that functions.yaml says, and see its log",
    )


def _judge_stranger(deployment: Deployment, target: _Target) -> Problem | str:
    """A problem, a note, or "" when all is well."""
    try:
        token = deployment.tokens.of(target.name, target.url)
    except Unavailable as error:
        return f"{error.message}; {error.fix}"
    email = email_in(token)
    if email in {deployment.settings.accounts.get(name) for name in target.row.callers}:
        # A call that is let in would do something.
        return f"{email} is a caller of '{target.name}': run this as somebody else"
    status = _ask(*_door(target), token)
    if status == _NO_ANSWER:
        return f"'{target.name}' does not answer"
    if status == _HIDDEN:
        return _hidden(target)
    if status == 401:
        return Problem(
            f"the function '{target.name}' takes no token of {email} as genuine (401)",
            f"ARCO_FLOW_AUDIENCE of it must be {target.url}, ARCO_FLOW_OIDC_CERTS_URL the issuer's",
        )
    return "" if status == 403 else _open_door(target, f"the token of {email}", status)


def _principal_mend(email: str) -> str:
    return f"add {email or 'it'} to the principals of the deployment (ARCO_FLOW_PRINCIPALS)"


def _ask(method: str, url: str, token: str = "") -> int:
    """Status of an answer; 0 without one. No redirect is followed: it would get the token."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    headers = {"authorization": f"Bearer {token}"} if token else {}
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        with closing(kind(parts.netloc, timeout=CALL_SECONDS)) as connection:
            connection.request(method, target, b"" if method == "POST" else None, headers)
            return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return _NO_ANSWER
