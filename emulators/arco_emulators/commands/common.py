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
from typing import Any

from arco_emulators import faults
from arco_emulators.identity import GOOGLE, Issuer
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
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"something that goes wrong on purpose; also in ${faults.ENVIRONMENT}",
    )


def issuer_of(arguments: argparse.Namespace) -> Issuer:
    """The issuer that the options name."""
    return Issuer.open(arguments.identity, issuer=arguments.issuer)


def chaos_of(arguments: argparse.Namespace) -> faults.Chaos:
    """The faults of the environment and, over them, of the options. Errors: ValueError."""
    texts = [os.environ.get(faults.ENVIRONMENT, ""), *arguments.fault]
    return faults.Chaos(faults.parsed(texts))


def ready(name: str, host: str, running: Running[Any]) -> str:
    """The line that tells that an emulator serves, and where."""
    return f"{name} ready: grpc {host}:{running.port}, admin http://{host}:{running.admin_port}"


def serve(server: AbstractAsyncContextManager[str]) -> int:
    """Serve until SIGTERM or SIGINT; prints the one line that the server yields when it is ready.

    Answers the exit code: 1 when it could not start, and why is told on standard error.
    """
    _allow_many_connections()
    try:
        asyncio.run(_until_signal(server))
    except OSError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _allow_many_connections() -> None:
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
