"""`env`: the variables by which processes find the emulators that are up."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from arco_emulators import state
from arco_emulators.commands import common


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "--folder", type=Path, default=common.STATE, help="folder of `up` (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print them; the exit code, 1 when no emulators are up."""
    found = state.read(arguments.folder)
    if found is None:
        sys.stderr.write(f"error: no emulators of {arguments.folder} are up\n")
        return 1
    environment = found["environment"]
    text = json.dumps(environment) if arguments.json else state.exports(environment)
    sys.stdout.write(f"{text}\n")
    return 0
