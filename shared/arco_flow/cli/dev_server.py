"""The long-lived plane of `arco-flow dev`: serve, follow the code, end gracefully."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from arco_flow.adapters.local.wiring import GRACE_SECONDS, LocalSettings, open_plane
from arco_flow.cli.client import PlaneClient
from arco_flow.cli.deploying import LoadedCode, change_summary, outcome_lines, post_code
from arco_flow.cli.following import CodeFollower, Told
from arco_flow.cli.options import emit_line
from arco_flow.cli.project import PlaneFile, Project
from arco_flow.cli.suggestions import run_command
from arco_flow.engine.views import DeployOutcome


class Teller(Told):
    """Writes what happens, for a person or as one line of JSON each."""

    stopping_text = (
        f"stopping: tasks under way have {GRACE_SECONDS:.0f} s; Ctrl-C again ends them now"
    )
    ended_text = "stopped; runs under way go on with the next `arco-flow dev`"

    def __init__(self, root: Path, *, as_json: bool) -> None:
        self._root = root
        self.as_json = as_json
        self.run_command = ""
        """What to type when the first code is deployed."""

    def ready(self, url: str, token_file: Path) -> None:
        """The plane answers."""
        if self.as_json:
            emit_line({"event": "ready", "url": url, "tokenFile": str(token_file)})
            return
        click.echo(f"Arco Flow is running at {click.style(url, bold=True)}")
        click.echo(f"  API:   {url}/v1/openapi.json")
        click.echo(f"  token: {token_file}")

    def deployed(self, outcome: DeployOutcome, changed: list[str]) -> None:
        """New code is current."""
        if self.as_json:
            emit_line({"event": "deployed", "changed": changed, "outcome": outcome})
        elif not changed:
            click.echo(f"  code:  {change_summary(outcome)}")
            click.echo(f"next: {self.run_command}  (in another terminal; Ctrl-C ends the plane)")
        else:
            click.echo(f"{self._names(changed)} changed: " + "\n".join(outcome_lines(outcome)))

    def broken(self, problem: str, *, first: bool) -> None:
        """The code can not be deployed."""
        if self.as_json:
            emit_line({"event": "broken", "problem": problem})
            return
        click.echo(problem, err=True)
        kept = "nothing is deployed yet" if first else "the deployment before stays current"
        click.echo(f"  {kept}; waiting for the next change", err=True)

    def _names(self, changed: list[str]) -> str:
        names = ", ".join(os.path.relpath(path, self._root) for path in changed[:3])
        return names if len(changed) <= 3 else f"{names} and {len(changed) - 3} more"

    def stopping(self) -> None:
        """The plane was told to end."""
        if self.as_json:
            emit_line({"event": "stopping"})
        else:
            click.echo(self.stopping_text)

    def ended(self) -> None:
        """The plane has stopped."""
        if self.as_json:
            emit_line({"event": "ended"})
        else:
            click.echo(self.ended_text)


async def serve(project: Project, settings: LocalSettings, teller: Teller) -> None:
    """Serve until a signal. Raises OSError when the address can not be had."""
    with contextlib.suppress(asyncio.CancelledError):
        async with open_plane(settings) as plane:
            cancel_on_signals(teller.stopping, plane.hurry)
            file = PlaneFile(plane.url, plane.token, project.workspace, os.getpid(), lasting=True)
            with published(project, file) as path:
                teller.ready(plane.url, path)
                await follow_code(project, file, teller)
    teller.ended()


def cancel_on_signals(first: Callable[[], None], later: Callable[[], None]) -> None:
    """What ends a command, a terminal that is closed too, cancels the current task.

    first, later: called for the first signal, and for each one after it.
    """
    loop, serving = asyncio.get_running_loop(), asyncio.current_task()

    def asked() -> None:
        if serving is None or serving.cancelling():
            later()
        else:
            serving.cancel()
            first()  # last, because a terminal that is gone can not be written to

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            loop.add_signal_handler(number, asked)


@contextlib.contextmanager
def published(project: Project, file: PlaneFile) -> Iterator[Path]:
    """Other commands find the plane while the block runs; yields the file that tells them."""
    path = project.publish(file)
    try:
        yield path
    finally:
        project.withdraw()


async def follow_code(project: Project, file: PlaneFile, teller: Teller) -> None:
    """Keep the plane's deployment up to the project's code; ends by being cancelled."""
    client = PlaneClient(file.url, file.token, file.workspace)

    def deploy(code: LoadedCode) -> DeployOutcome:
        outcome = post_code(client, code)
        teller.run_command = teller.run_command or run_command(client)
        return outcome

    with contextlib.closing(client):
        await CodeFollower(project, deploy, teller).follow()
