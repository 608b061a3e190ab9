"""An embedded plane in a thread of this process, for the time of one command."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import NoReturn

import msgspec

from arco_flow.adapters.local.wiring import LocalSettings, open_plane
from arco_flow.cli.project import PlaneFile, Project


class BackgroundPlane:
    """Starts a plane on a free port and stops it at the end.

    deliver: whether it moves runs on. Then it is published in the project's state folder while
    it lives, so that `logs` or `cancel` in another terminal find it.
    """

    def __init__(self, project: Project, *, deliver: bool) -> None:
        self._project = project
        self._settings = LocalSettings(
            folder=project.state, workspace=project.workspace, deliver=deliver
        )
        self._thread = threading.Thread(target=self._run, name="arco-flow-plane", daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._error: BaseException | None = None
        self.file = PlaneFile("", "", project.workspace, os.getpid(), lasting=False)

    def __enter__(self) -> BackgroundPlane:
        """Start; raises what starting the plane raised."""
        # What the plane logs of its own defects is for --debug; a command answers in words.
        logging.getLogger("arco_flow").addHandler(logging.NullHandler())
        self._handler = signal.signal(signal.SIGTERM, _terminated)
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            signal.signal(signal.SIGTERM, self._handler)
            raise self._error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Stop, handing back what is in flight; raises what stopping the plane raised."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        signal.signal(signal.SIGTERM, self._handler)
        if self._error is not None and error is None:
            raise self._error

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
            self.file = msgspec.structs.replace(self.file, url=plane.url, token=plane.token)
            if self._settings.deliver:
                self._project.publish(self.file)
            self._ready.set()
            await self._stop.wait()
            if self._settings.deliver:
                self._project.withdraw()


def _terminated(number: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM ends the command like Ctrl-C does: workers must not be left behind."""
    raise SystemExit(128 + number)
