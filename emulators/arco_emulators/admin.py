"""The administrative endpoint of an emulator: numbers, faults, the clock and its health.

    GET    /health
    GET    /admin/stats     numbers since start; DELETE counts from zero
    GET    /admin/faults    the knobs; PATCH changes those that a JSON object names, DELETE all off
    GET    /admin/clock     {"now": seconds}; POST {"advance_seconds": n} lets time jump
    POST   /admin/reset     forgets all that the emulator holds
    GET    /admin/idle      answers 200 once nothing is under way or due within ahead_seconds (0),
                            408 after timeout_seconds (30)

and everything that the identity endpoint serves, when the emulator signs tokens.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from arco_emulators import identity
from arco_emulators.clock import Clock
from arco_emulators.counters import Counters
from arco_emulators.faults import Chaos


class Administered(Protocol):
    """What an emulator offers to its administrative endpoint."""

    clock: Clock
    chaos: Chaos
    counters: Counters

    def state(self) -> dict[str, Any]:
        """Sizes of what it holds, for /admin/stats."""
        ...

    def reset(self) -> None:
        """Forget everything that it holds."""
        ...

    async def idle(self, ahead_seconds: float) -> None:
        """Return once nothing is under way or due within these seconds."""
        ...


def application(emulator: Administered, issuer: identity.Issuer | None = None) -> Starlette:
    """What answers at the administrative port."""
    endpoint = _Endpoint(emulator)
    routes: list[Route | Mount] = [
        Route("/health", endpoint.health),
        Route("/admin/stats", endpoint.stats, methods=["GET", "DELETE"]),
        Route("/admin/faults", endpoint.faults, methods=["GET", "PATCH", "DELETE"]),
        Route("/admin/clock", endpoint.clock, methods=["GET", "POST"]),
        Route("/admin/reset", endpoint.reset, methods=["POST"]),
        Route("/admin/idle", endpoint.idle),
    ]
    if issuer:
        routes.append(Mount("/", identity.application(issuer)))
    return Starlette(routes=routes)


class _Endpoint:
    def __init__(self, emulator: Administered) -> None:
        self._emulator = emulator

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def stats(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._emulator.counters.reset()
        return JSONResponse({**self._emulator.counters.as_json(), **self._emulator.state()})

    async def faults(self, request: Request) -> Response:
        chaos = self._emulator.chaos
        try:
            if request.method == "PATCH":
                chaos.change(await _object(request))
            elif request.method == "DELETE":
                chaos.reset()
        except ValueError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return JSONResponse(chaos.as_json())

    async def clock(self, request: Request) -> Response:
        clock = self._emulator.clock
        try:
            if request.method == "POST":
                clock.advance(float((await _object(request)).get("advance_seconds", 0)))
        except (TypeError, ValueError) as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return JSONResponse({"now": clock.now()})

    async def reset(self, _: Request) -> Response:
        self._emulator.reset()
        return JSONResponse({"status": "ok"})

    async def idle(self, request: Request) -> Response:
        try:
            seconds = float(request.query_params.get("timeout_seconds", "30"))
            ahead = float(request.query_params.get("ahead_seconds", "0"))
            async with asyncio.timeout(seconds):
                await self._emulator.idle(ahead)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        except TimeoutError:
            return JSONResponse({"error": "still busy", **self._emulator.state()}, status_code=408)
        return JSONResponse({"status": "idle"})


async def _object(request: Request) -> dict[str, Any]:
    """The JSON object of the body. Errors: ValueError."""
    value = json.loads(await request.body() or b"{}")
    if not isinstance(value, dict):
        raise ValueError(f"a JSON object is wanted, not {type(value).__name__}")
    return value
