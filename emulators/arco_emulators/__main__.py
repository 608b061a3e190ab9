"""`python -m arco_emulators COMMAND`: serve one emulator until SIGTERM."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Any

COMMANDS = {
    "identity": "issue identity tokens and serve the keys that verify them",
    "tasks": "emulate Cloud Tasks",
    "scheduler": "emulate Cloud Scheduler",
    "storage": "emulate Cloud Storage",
    "relay": "push from Google's Pub/Sub emulator as the service does",
    "up": "run all emulators together, with Google's Firestore and Pub/Sub",
    "env": "print the variables by which processes find what is up",
    "down": "end what is up",
}
"""Commands and what they do; each is a module of `arco_emulators.commands`."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command; the exit code."""
    parser = argparse.ArgumentParser(prog="arco-emulators", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    given = sys.argv[1:] if arguments is None else arguments
    for name, summary in COMMANDS.items():
        one = commands.add_parser(name, help=summary, description=summary)
        # Only the command that is asked for is loaded, because each loads other clients.
        if name in given[:1]:
            _module(name).add_options(one)
    parsed = parser.parse_args(given)
    try:
        return int(_module(parsed.command).run(parsed))
    except ValueError as error:  # of an option; told without a usage, for `arco-flow` calls it too
        sys.stderr.write(f"error: {error}\n")
        return 2


def _module(name: str) -> Any:
    return importlib.import_module(f"arco_emulators.commands.{name}")


if __name__ == "__main__":
    sys.exit(main())
