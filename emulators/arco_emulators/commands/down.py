"""`down`: end the emulators that `up --detach` left running."""

from __future__ import annotations

import argparse
import json
import sys

from arco_emulators import state
from arco_emulators.commands import common


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    common.add_state_folder(parser, "folder of `up`")


def run(arguments: argparse.Namespace) -> int:
    """End them and wait until they have ended; the exit code, 1 when they did not."""
    try:
        ended = state.stop(arguments.folder)
    except OSError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    text = "the emulators are down" if ended else "no emulators were up"
    sys.stdout.write((json.dumps({"ended": ended}) if arguments.json else text) + "\n")
    return 0
