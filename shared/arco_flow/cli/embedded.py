"""An embedded plane in a thread of this process, for the time of one command."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Final, NoReturn

import msgspec

from arco_flow.adapters.local.wiring import LocalPlane, LocalSettings
from arco_flow.cli.project import PlaneFile, Project

GRACE_SECONDS: Final = 0.5
"""How long attempts may go on when the command ends. What is cut goes on with the next command
that needs a plane, at no charge, so nobody has to wait for it."""


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
        self._plane: LocalPlane | None = None
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
        """Stop, handing back what is in flight; raises what stopping the plane raised.

        Ctrl-C meanwhile ends what is in flight at once.
        """
        self._soon(self._stop.set)
        while self._thread.is_alive():
            try:
                self._thread.join()
            except KeyboardInterrupt:
                self._soon(self._hurry)
        signal.signal(signal.SIGTERM, self._handler)
        if self._error is not None and error is None:
            raise self._error

    def _soon(self, call: Callable[[], object]) -> None:
        if self._loop is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # the loop has just ended by itself
                self._loop.call_soon_threadsafe(call)

    def _hurry(self) -> None:
        if self._plane is not None:
            self._plane.hurry()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # carried over to the thread that waits
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        plane = LocalPlane(self._settings)
        try:
            await plane.start()
            self._loop, self._plane = asyncio.get_running_loop(), plane
            self.file = msgspec.structs.replace(self.file, url=plane.url, token=plane.token)
            if self._settings.deliver:
                self._project.publish(self.file)
            self._ready.set()
            await self._stop.wait()
            if self._settings.deliver:
                self._project.withdraw()
        finally:
            await plane.close(GRACE_SECONDS)


def _terminated(number: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM ends the command like Ctrl-C does: workers must not be left behind."""
    raise SystemExit(128 + number)
