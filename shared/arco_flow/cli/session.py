"""Reaching a plane: the one of ARCO_FLOW_URL, one that runs for the project, or one of our own.

All three are spoken to over HTTP by the same client, so that there is one way through the code.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from arco_flow.cli.client import PlaneClient
from arco_flow.cli.credentials import TOKEN, TOKEN_COMMAND, token_of_command
from arco_flow.cli.project import PlaneFile, Project
from arco_flow.domain.errors import Conflict, Unavailable

HELD_ATTEMPTS: Final = 30
HELD_PAUSE_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Session:
    """A plane that answers.

    remote: it was named by ARCO_FLOW_URL. lasting: it goes on after this command.
    """

    client: PlaneClient
    project: Project
    remote: bool
    lasting: bool


@contextmanager
def open_session(project: Project, *, deliver: bool = False) -> Iterator[Session]:
    """A session with the plane of the surroundings; an embedded one lives as long as it.

    deliver: an embedded plane moves runs on; off, it only answers. Raises Unavailable when the
    project's state is held by a process that can not be spoken to.
    """
    url = os.environ.get("ARCO_FLOW_URL", "")
    if url:
        client = _named(url, project.workspace)
        yield from _closing(Session(client, project, remote=True, lasting=True))
        return
    with contextlib.ExitStack() as stack:
        reached = _running(project) or _embedded(stack, project, deliver=deliver)
        client = PlaneClient(reached.url, reached.token, reached.workspace)
        yield from _closing(Session(client, project, remote=False, lasting=reached.lasting))


def _named(url: str, workspace: str) -> PlaneClient:
    """A client of the plane at an address, with the token of the environment."""
    token, command = (os.environ.get(name, "") for name in (TOKEN, TOKEN_COMMAND))
    if not command:
        return PlaneClient(url, token, workspace)

    def renew() -> str:
        return token_of_command(command)

    return PlaneClient(url, token or renew(), workspace, renew=renew)


def _running(project: Project) -> PlaneFile | None:
    """The plane that says it works for the project, if it lives: a crash leaves its file."""
    running = project.plane_file()
    if running is None or not _answers(running):
        return None
    _require_same_workspace(project, running)
    return running


def _embedded(stack: contextlib.ExitStack, project: Project, *, deliver: bool) -> PlaneFile:
    """A plane of our own. Another command that only looks holds the state for a moment: wait."""
    from arco_flow.cli.embedded import BackgroundPlane

    for attempt in range(1, HELD_ATTEMPTS + 1):
        try:
            return stack.enter_context(BackgroundPlane(project, deliver=deliver)).file
        except Unavailable as error:
            if error.reason != "FOLDER_IN_USE" or attempt == HELD_ATTEMPTS:
                raise
        # The lock may be given back, or its holder turn out to be a plane that starts and can be
        # spoken to: no signal tells of both.
        time.sleep(HELD_PAUSE_SECONDS)
        running = _running(project)
        if running is not None:
            return running
    raise AssertionError("the last attempt has returned or raised")


def _closing(session: Session) -> Iterator[Session]:
    try:
        yield session
    finally:
        session.client.close()


def _require_same_workspace(project: Project, running: PlaneFile) -> None:
    """A plane serves one workspace; to answer from another one would be a surprise."""
    if project.workspace != running.workspace:
        raise Conflict(
            f"the plane that runs here serves workspace '{running.workspace}', not "
            f"'{project.workspace}'",
            where=running.url,
            fix=f"--workspace {running.workspace}, or stop that plane (process {running.pid})",
        )


def _answers(plane: PlaneFile) -> bool:
    """Whether the plane of the file lives: a crash leaves the file behind."""
    import http.client
    from urllib.parse import urlsplit

    connection = http.client.HTTPConnection(urlsplit(plane.url).netloc, timeout=2)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
