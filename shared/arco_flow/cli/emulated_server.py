"""`arco-flow dev --emulated`: the plane as it runs in the cloud, on emulators of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import click

from arco_flow.adapters.gcp.emulated import (
    EmulatedPlane,
    EmulatedSettings,
    running_emulated_plane,
)
from arco_flow.adapters.gcp.settings import Principal
from arco_flow.cli.client import PlaneClient
from arco_flow.cli.deploying import LoadedCode, post_code
from arco_flow.cli.dev_server import Teller
from arco_flow.cli.following import CodeFollower
from arco_flow.cli.options import emit_line
from arco_flow.cli.project import PlaneFile, Project
from arco_flow.cli.suggestions import run_command
from arco_flow.domain.errors import InvalidInput
from arco_flow.engine.views import DeployOutcome

EMAIL = "developer@localhost.test"
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


async def serve_emulated(project: Project, workers: int, teller: Teller) -> None:
    """Serve until SIGINT or SIGTERM. Raises Unavailable when something does not start."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    settings = EmulatedSettings(
        folder=project.state / "emulated",
        functions=functions_folder(),
        principals={EMAIL: Principal("local", project.workspace)},
        workers=workers or 2,
    )
    async with running_emulated_plane(settings) as plane:
        token = plane.emulators.issuer.mint(EMAIL, plane.bundle.url, lifetime_seconds=TOKEN_SECONDS)
        file = PlaneFile(plane.bundle.url, token, project.workspace, os.getpid(), lasting=True)
        path = project.publish(file)
        try:
            project.keep_doctor_environment(plane.environment_for_doctor(EMAIL, TOKEN_SECONDS))
            teller.ready(plane.bundle.url, path)
            _tell_addresses(plane, as_json=teller.as_json)
            client = PlaneClient(plane.bundle.url, token, project.workspace)
            await _follow_until(stop, project, client, teller)
            client.close()
        finally:
            project.withdraw()
    if not teller.as_json:
        click.echo("stopped; what the emulators held is gone")


def _tell_addresses(plane: EmulatedPlane, *, as_json: bool) -> None:
    functions = {name: process.url for name, process in plane.bundle.processes.items()}
    emulators = {one.name: one.address for one in plane.emulators.addresses}
    if as_json:
        emit_line({"event": "emulated", "functions": functions, "emulators": emulators})
        return
    for title, addresses in (("functions", functions), ("emulators", emulators)):
        click.echo(f"  {title}:")
        for name, address in addresses.items():
            click.echo(f"    {name:<16} {address}")
    click.echo(f"  logs:  {plane.bundle.settings.folder / 'logs'}")


async def _follow_until(
    stop: asyncio.Event, project: Project, client: PlaneClient, teller: Teller
) -> None:
    def deploy(code: LoadedCode) -> DeployOutcome:
        outcome = post_code(client, code)
        teller.run_command = teller.run_command or run_command(client)
        return outcome

    following = asyncio.create_task(CodeFollower(project, deploy, teller).follow())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in (following, stopping):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
