"""`env`: the variables by which processes find the emulators that are up."""

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
    """Print them; the exit code, 1 when no emulators are up."""
    found = state.read(arguments.folder)
    if found is None:
        mend = "start them with: arco-flow emulators up"
        sys.stderr.write(f"error: no emulators of {arguments.folder} are up; {mend}\n")
        return 1
    environment = found["environment"]
    text = json.dumps(environment) if arguments.json else state.exports(environment)
    sys.stdout.write(f"{text}\n")
    return 0
