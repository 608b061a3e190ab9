"""`identity`: serve the keys of the issuer, and tokens for tests."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import AsyncIterator

from arco_emulators import identity, web
from arco_emulators.commands import common


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    common.add_address(parser, port=8120)
    common.add_issuer(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal; the exit code."""
    return common.serve(_serving(arguments))


@contextlib.asynccontextmanager
async def _serving(arguments: argparse.Namespace) -> AsyncIterator[str]:
    app = identity.application(common.issuer_of(arguments))
    async with web.serving(app, host=arguments.host, port=arguments.port) as port:
        yield f"identity ready: http://{arguments.host}:{port}"
