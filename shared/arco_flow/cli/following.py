"""What `dev` does with a project's code: validate it aside, deploy it, and look for changes.

Code is imported by a process of its own each time. Importing it again in this one would leave
half of the old modules behind, and broken code could take the plane down with it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any, Final

import msgspec

from arco_flow.cli.deploying import LoadedCode
from arco_flow.cli.project import Project
from arco_flow.cli.watching import changes, snapshot
from arco_flow.domain.errors import ArcoError
from arco_flow.engine.views import DeployOutcome

POLL_SECONDS: Final = 0.5
MANIFEST_FILE: Final = "candidate-manifest.json"

Deploy = Callable[[LoadedCode], DeployOutcome]


class Told:
    """What a follower tells; overridden by what shows it."""

    def deployed(self, outcome: DeployOutcome, changed: list[str]) -> None:
        """New code is current; changed: the files that brought it, empty at the start."""

    def broken(self, problem: str, *, first: bool) -> None:
        """The code can not be deployed; what was deployed before stays, unless it is the first."""


class CodeFollower:
    """Keeps a plane's deployment up to the files of a project."""

    def __init__(self, project: Project, deploy: Deploy, told: Told) -> None:
        self._project = project
        self._deploy = deploy
        self._told = told
        self._deployed = False

    async def follow(self) -> None:
        """Deploy what stands now, then whatever comes; ends by being cancelled."""
        seen = await asyncio.to_thread(snapshot, self._project.root)
        await self._bring_up([])
        while True:
            await asyncio.sleep(POLL_SECONDS)
            now = await asyncio.to_thread(snapshot, self._project.root)
            changed = changes(seen, now)
            if changed:
                seen = now
                await self._bring_up(changed)

    async def _bring_up(self, changed: list[str]) -> None:
        code, problem = await validate_aside(self._project)
        if code is None:
            self._told.broken(problem, first=not self._deployed)
            return
        try:
            outcome = await asyncio.to_thread(self._deploy, code)
        except ArcoError as error:
            self._told.broken(str(error), first=not self._deployed)
            return
        self._deployed = True
        self._told.deployed(outcome, changed)


async def validate_aside(project: Project) -> tuple[LoadedCode | None, str]:
    """The project's code as another process reads it; None and what is wrong when it can not."""
    manifest = project.state / MANIFEST_FILE
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "arco_flow.cli",
        "validate",
        project.target,
        "--project",
        str(project.root),
        "--out",
        str(manifest),
        "--json",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, complaint = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        return None, complaint.decode(errors="replace").strip()
    told: dict[str, Any] = msgspec.json.decode(out)
    return LoadedCode(manifest.read_bytes(), told["location"]), ""
