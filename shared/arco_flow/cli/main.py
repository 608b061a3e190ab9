"""Entry point: the lazy table of commands, and what an error looks like.

Exit codes: 0 done, 1 a run failed or the plane refused, 2 wrong usage, 3 no plane reachable,
130 interrupted.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, Final, NamedTuple

import click

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNREACHABLE: Final = 3
EXIT_INTERRUPTED: Final = 130


class Entry(NamedTuple):
    """A command that is not imported yet: its module, and its line in the list."""

    module: str
    summary: str


COMMANDS: Final = {
    "init": Entry("init", "Write a small project that runs."),
    "validate": Entry("validate", "Check a project's definitions; needs no plane."),
    "deploy": Entry("deploy", "Make the project's code current."),
    "run": Entry("run", "Materialize a selection of assets."),
    "status": Entry("status", "Show a run and its tasks."),
    "logs": Entry("logs", "Show what a run's tasks wrote."),
    "events": Entry("events", "Show a run's ledger."),
    "runs": Entry("runs", "List runs, newest first."),
    "cancel": Entry("cancel", "Cancel a run."),
    "assets": Entry("assets", "List assets and what they hold."),
    "partitions": Entry("partitions", "List partitions; add or delete dynamic ones."),
    "dev": Entry("dev", "Serve a plane on this machine and follow the code."),
    "emulators": Entry("emulators", "Run Google's services on this machine."),
    "doctor": Entry("doctor", "Check a deployment and say what to mend."),
    "dead-letters": Entry("dead_letters", "Look at what the cloud plane put aside."),
    "simulate": Entry("simulate", "Let everything go wrong in a simulated plane."),
    "completion": Entry("completion", "Print the shell's completion script."),
}


class LazyGroup(click.Group):
    """Lists its commands from a table and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Names in the order of a day's work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of a name; None when there is none."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = import_module(f"arco_flow.cli.commands.{entry.module}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, and propose the nearest one for a slip of the fingers."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from arco_flow.domain.errors import did_you_mean

            hint = did_you_mean(args[0], COMMANDS)
            raise click.UsageError(f"no command '{args[0]}'{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list of commands, without importing one of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: arco-flow init shop && cd shop && arco-flow run '*' -p 2026-01-01",
)
@click.version_option(package_name="arco-flow", message="%(version)s")
@click.option("--debug", is_flag=True, help="Show the stack of an error, and what is logged.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Arco Flow: declare assets in Python, run them here or in the cloud."""
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    if debug:
        import logging

        logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    given = sys.argv[1:] if args is None else args
    try:
        code: Any = cli.main(args=given, prog_name="arco-flow", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader has seen enough. Nothing may be flushed into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:  # the border: a person gets words, not a stack
        if "--debug" in given:
            raise
        from arco_flow.cli.failures import report

        sys.exit(report(error, as_json="--json" in given))
    sys.exit(code if isinstance(code, int) else 0)
