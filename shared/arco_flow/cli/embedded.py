"""An embedded plane in a thread of this process, for the time of one command."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from types import TracebackType

from arco_flow.adapters.local.wiring import LocalSettings, open_plane
from arco_flow.cli.project import PlaneFile, Project


class BackgroundPlane:
    """Starts a plane on a free port and stops it at the end.

    While it lives it is published in the project's state folder, so that `logs` or `cancel` in
    another terminal find it.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._settings = LocalSettings(folder=project.state, workspace=project.workspace)
        self._thread = threading.Thread(target=self._run, name="arco-flow-plane", daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._error: BaseException | None = None
        self.url = ""
        self.token = ""
        self.workspace = project.workspace

    def __enter__(self) -> BackgroundPlane:
        """Start; raises what starting the plane raised."""
        # What the plane logs of its own defects is for --debug; a command answers in words.
        logging.getLogger("arco_flow").addHandler(logging.NullHandler())
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Stop, handing back what is in flight."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # carried over to the thread that waits
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        async with open_plane(self._settings) as plane:
            self._loop = asyncio.get_running_loop()
            self.url, self.token = plane.url, plane.token
            file = PlaneFile(plane.url, plane.token, self.workspace, os.getpid(), lasting=False)
            self._project.publish(file)
            self._ready.set()
            await self._stop.wait()
            self._project.withdraw()
