"""Reaching a plane: the one of ARCO_FLOW_URL, one that runs for the project, or one of our own.

All three are spoken to over HTTP by the same client, so that there is one way through the code.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from arco_flow.cli.client import PlaneClient
from arco_flow.cli.project import PlaneFile, Project
from arco_flow.domain.errors import Conflict


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
def open_session(project: Project) -> Iterator[Session]:
    """A session with the plane of the surroundings; an embedded one lives as long as it."""
    url = os.environ.get("ARCO_FLOW_URL", "")
    if url:
        token = os.environ.get("ARCO_FLOW_TOKEN", "")
        client = PlaneClient(url, token, project.workspace)
        yield from _closing(Session(client, project, remote=True, lasting=True))
        return
    running = project.plane_file()
    if running is not None and _answers(running):
        _require_same_workspace(project, running)
        client = PlaneClient(running.url, running.token, running.workspace)
        yield from _closing(Session(client, project, remote=False, lasting=running.lasting))
        return
    from arco_flow.cli.embedded import BackgroundPlane

    with BackgroundPlane(project) as plane:
        client = PlaneClient(plane.url, plane.token, plane.workspace)
        yield from _closing(Session(client, project, remote=False, lasting=False))


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
