"""`storage`: serve the Cloud Storage emulator."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from arco_emulators import faults
from arco_emulators.commands import common
from arco_emulators.storage import server


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    common.add_address(parser, port=server.DEFAULT_PORT)
    parser.add_argument(
        "--objects",
        type=Path,
        metavar="FOLDER",
        help="where objects of a mebibyte and more lie while it runs (in memory)",
    )
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"something that goes wrong on purpose; also in ${faults.ENVIRONMENT}",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal; the exit code."""
    return common.serve(_serving(arguments))


@contextlib.asynccontextmanager
async def _serving(arguments: argparse.Namespace) -> AsyncIterator[str]:
    texts = [os.environ.get(faults.ENVIRONMENT, ""), *arguments.fault]
    chaos = faults.Chaos(faults.parsed(texts))
    async with server.serve(
        arguments.host, arguments.port, folder=arguments.objects, chaos=chaos
    ) as port:
        yield f"cloud-storage ready: http://{arguments.host}:{port}"
