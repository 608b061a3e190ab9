"""What the commands share: their options, and serving until a signal."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import signal
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arco_emulators import faults

if TYPE_CHECKING:
    from arco_emulators.identity import Issuer
    from arco_emulators.running import Running

STATE = Path(".arco-flow") / "emulators"


def add_address(parser: argparse.ArgumentParser, *, port: int) -> None:
    """--host and --port."""
    parser.add_argument("--host", default="127.0.0.1", help="address to serve (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=port, help="port to serve, 0: a free one (%(default)s)"
    )


def add_issuer(parser: argparse.ArgumentParser) -> None:
    """--identity and --issuer."""
    from arco_emulators.identity import GOOGLE

    parser.add_argument(
        "--identity",
        type=Path,
        default=STATE,
        metavar="FOLDER",
        help="where the key that signs tokens lies; made when it is absent (%(default)s)",
    )
    parser.add_argument("--issuer", default=GOOGLE, help="name of the issuer (%(default)s)")


def add_emulation(parser: argparse.ArgumentParser, *, port: int) -> None:
    """What every emulator with an administrative endpoint takes."""
    add_address(parser, port=port)
    add_issuer(parser)
    parser.add_argument(
        "--admin-port",
        type=int,
        default=port + 1,
        help="port of /admin, /health and the keys, 0: a free one (%(default)s)",
    )
    parser.add_argument(
        "--data", type=Path, metavar="FILE", help="keep what is held in this file (in memory)"
    )
    add_faults(parser)


def add_faults(parser: argparse.ArgumentParser) -> None:
    """--fault."""
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"something that goes wrong on purpose; also in ${faults.ENVIRONMENT}",
    )


def add_state_folder(parser: argparse.ArgumentParser, meaning: str) -> None:
    """--folder and --json, of the commands that deal with all emulators together."""
    parser.add_argument("--folder", type=Path, default=STATE, help=f"{meaning} (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def issuer_of(arguments: argparse.Namespace) -> Issuer:
    """The issuer that the options name."""
    from arco_emulators.identity import Issuer

    return Issuer.open(arguments.identity, issuer=arguments.issuer)


def faults_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The faults of the environment and, over them, of the options. Errors: ValueError."""
    return faults.parsed([os.environ.get(faults.ENVIRONMENT, ""), *arguments.fault])


def chaos_of(arguments: argparse.Namespace) -> faults.Chaos:
    """The dice that these faults are thrown with. Errors: ValueError."""
    return faults.Chaos(faults_of(arguments))


def ready(name: str, host: str, running: Running[Any]) -> str:
    """The line that tells that an emulator serves, and where."""
    return f"{name} ready: grpc {host}:{running.port}, admin http://{host}:{running.admin_port}"


def serve(server: AbstractAsyncContextManager[str]) -> int:
    """Serve until SIGTERM or SIGINT; prints the one line that the server yields when it is ready.

    Answers the exit code: 1 when it could not start, and why is told on standard error.
    """
    allow_many_connections()
    try:
        asyncio.run(_until_signal(server))
    except OSError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def allow_many_connections() -> None:
    """Let each of a queue's thousand dispatches have a connection; many systems begin with 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS says that there is no limit and then refuses to be taken at its word.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _until_signal(server: AbstractAsyncContextManager[str]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with server as line:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        await stop.wait()
