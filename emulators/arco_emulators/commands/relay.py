"""`relay`: push what subscriptions of Google's Pub/Sub emulator get, as the service does."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

from google.api_core.exceptions import GoogleAPICallError

from arco_emulators.commands import common
from arco_emulators.pubsub import relay
from arco_emulators.pubsub.subscription import PushSubscription


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    common.add_address(parser, port=8128)
    common.add_issuer(parser)
    parser.add_argument(
        "--pubsub-host",
        default=os.environ.get("PUBSUB_EMULATOR_HOST", "127.0.0.1:8122"),
        metavar="HOST:PORT",
        help="Google's Pub/Sub emulator ($PUBSUB_EMULATOR_HOST, or %(default)s)",
    )
    parser.add_argument(
        "--subscriptions",
        type=Path,
        metavar="FILE",
        help="JSON array of subscriptions as the REST API shows them (none; see /admin)",
    )
    common.add_faults(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal; the exit code."""
    return common.serve(_serving(arguments))


@contextlib.asynccontextmanager
async def _serving(arguments: argparse.Namespace) -> AsyncIterator[str]:
    given = json.loads(arguments.subscriptions.read_bytes()) if arguments.subscriptions else []
    subscriptions = [PushSubscription.from_json(entry) for entry in given]
    try:
        async with relay.serving(
            arguments.pubsub_host,
            common.issuer_of(arguments),
            subscriptions=subscriptions,
            chaos=common.chaos_of(arguments),
            host=arguments.host,
            port=arguments.port,
        ) as running:
            yield (
                f"pubsub-relay ready: {len(subscriptions)} subscriptions of "
                f"{arguments.pubsub_host}, admin http://{arguments.host}:{running.admin_port}"
            )
    except GoogleAPICallError as error:
        raise OSError(f"Pub/Sub at {arguments.pubsub_host}: {error}") from error
