"""`arco-flow dev --emulated`: the plane as it runs in the cloud, on emulators of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import click

from arco_flow.adapters.gcp.emulated import (
    EmulatedPlane,
    EmulatedSettings,
    running_emulated_plane,
)
from arco_flow.adapters.gcp.settings import Principal
from arco_flow.adapters.local.folder_lock import FolderLock
from arco_flow.cli.dev_server import Teller, cancel_on_signals, follow_code, published
from arco_flow.cli.options import emit_line, note
from arco_flow.cli.project import PlaneFile, Project
from arco_flow.domain.errors import InvalidInput

EMAIL = "developer@localhost.test"
DEFAULT_WORKERS = 2
TOKEN_SECONDS = 7 * 24 * 3600
"""A developer's plane has no one to ask for a fresh token."""


def functions_folder() -> Path:
    """Where functions.yaml lies: in the installed package, or in the checkout that it is of.

    Raises InvalidInput when it is in neither.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "_functions", package.parents[1] / "functions"):
        if (folder / "functions.yaml").is_file():
            return folder
    raise InvalidInput(
        "the functions are not installed with this package",
        fix="install arco-flow from its wheel, or work in a checkout of it",
    )


class EmulatedTeller(Teller):
    """Also tells where all the parts of the plane are."""

    stopping_text = "stopping: functions and emulators end"
    ended_text = "stopped; what the emulators held is gone"

    def running(self, plane: EmulatedPlane) -> None:
        """Every function answers."""
        functions = {name: process.url for name, process in plane.bundle.processes.items()}
        emulators = {one.name: one.address for one in plane.emulators.addresses}
        if self.as_json:
            emit_line({"event": "emulated", "functions": functions, "emulators": emulators})
            return
        for title, addresses in (("functions", functions), ("emulators", emulators)):
            click.echo(f"  {title}:")
            for name, address in addresses.items():
                click.echo(f"    {name:<16} {address}")
        click.echo(f"  logs:  {plane.bundle.settings.folder / 'logs'}")


async def serve_emulated(project: Project, workers: int, teller: EmulatedTeller) -> None:
    """Serve until a signal, which also ends what is only starting.

    Raises Unavailable when another plane has the project's state, or something does not start.
    """
    settings = EmulatedSettings(
        folder=project.state / "emulated",
        functions=functions_folder(),
        principals={EMAIL: Principal("local", project.workspace)},
        workers=workers or DEFAULT_WORKERS,
    )
    with contextlib.suppress(asyncio.CancelledError), contextlib.ExitStack() as stack:
        # A local plane of the project holds the same lock: other commands find one plane at most.
        stack.callback(FolderLock(project.state).release)
        cancel_on_signals(teller.stopping, lambda: None)
        note("starting the emulators, then the functions")
        async with running_emulated_plane(settings) as plane:
            await _serve(project, plane, teller)
    teller.ended()


async def _serve(project: Project, plane: EmulatedPlane, teller: EmulatedTeller) -> None:
    url = plane.bundle.url
    token = plane.emulators.issuer.mint(EMAIL, url, lifetime_seconds=TOKEN_SECONDS)
    file = PlaneFile(url, token, project.workspace, os.getpid(), lasting=True)
    with published(project, file) as path:
        project.keep_doctor_environment(plane.environment_for_doctor(EMAIL, TOKEN_SECONDS))
        teller.ready(url, path)
        teller.running(plane)
        await follow_code(project, file, teller)
