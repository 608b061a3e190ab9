"""`scheduler`: serve the Cloud Scheduler emulator."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import AsyncIterator

from arco_emulators.commands import common
from arco_emulators.scheduler.emulator import serving
from arco_emulators.scheduler.settings import Settings


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    common.add_emulation(parser, port=8125)
    parser.add_argument(
        "--pubsub-host",
        default=Settings().pubsub_host,
        metavar="HOST:PORT",
        help="the Pub/Sub emulator to publish to ($PUBSUB_EMULATOR_HOST)",
    )
    parser.add_argument(
        "--min-deadline-seconds",
        type=float,
        default=Settings().min_deadline_seconds,
        metavar="N",
        help="smallest attempt deadline (%(default)s)",
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
        pubsub_host=arguments.pubsub_host,
        min_deadline_seconds=arguments.min_deadline_seconds,
    )
    issuer, chaos = common.issuer_of(arguments), common.chaos_of(arguments)
    async with serving(settings, issuer, chaos) as running:
        yield common.ready("cloud-scheduler", arguments.host, running)
