"""`tasks`: serve the Cloud Tasks emulator."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import AsyncIterator

from arco_emulators.commands import common
from arco_emulators.tasks.emulator import serving
from arco_emulators.tasks.settings import Limits, Settings

BOUNDS = {
    "tombstone_seconds": "how long the name of an ended task stays taken",
    "queue_tombstone_seconds": "how long the name of a deleted queue stays taken",
    "horizon_seconds": "how far ahead a task can be scheduled",
    "min_deadline_seconds": "smallest dispatch deadline",
    "max_task_bytes": "largest task",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    common.add_emulation(parser, port=8123)
    for name, meaning in BOUNDS.items():
        default = getattr(Limits(), name)
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=type(default),
            default=default,
            metavar="N",
            help=f"{meaning} (%(default)s)",
        )


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal; the exit code."""
    return common.serve(_serving(arguments))


@contextlib.asynccontextmanager
async def _serving(arguments: argparse.Namespace) -> AsyncIterator[str]:
    settings = Settings(
        host=arguments.host,
        port=arguments.port,
        admin_port=arguments.admin_port,
        data=arguments.data,
        limits=Limits(**{name: getattr(arguments, name) for name in BOUNDS}),
    )
    issuer, chaos = common.issuer_of(arguments), common.chaos_of(arguments)
    async with serving(settings, issuer, chaos) as running:
        yield common.ready("cloud-tasks", arguments.host, running)
