"""`storage`: serve the Cloud Storage emulator."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

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
    common.add_faults(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal; the exit code."""
    return common.serve(_serving(arguments))


@contextlib.asynccontextmanager
async def _serving(arguments: argparse.Namespace) -> AsyncIterator[str]:
    chaos = common.chaos_of(arguments)
    async with server.serve(
        arguments.host, arguments.port, folder=arguments.objects, chaos=chaos
    ) as port:
        yield f"cloud-storage ready: http://{arguments.host}:{port}"
