"""`arco-flow run`: request a run and, as a rule, watch it to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from arco_flow.cli.options import emit, note, project_options

if TYPE_CHECKING:
    from arco_flow.cli.project import Project
    from arco_flow.cli.session import Session
    from arco_flow.engine.views import RunAccepted, RunSpec, RunView

LEFT_OUT_SHOWN = 5
"""Names of assets that are left out; the rest is counted, and --json has all."""


@click.command(
    "run", epilog="Example: arco-flow run '+assets.revenue' --range 2026-01-01..2026-01-03"
)
@click.argument("selection")
@click.option("-t", "--target", metavar="TARGET", help="Module, file or folder of the code.")
@click.option("-p", "--partition", "partitions", multiple=True, help="A partition; repeatable.")
@click.option("--range", "span", metavar="START..END", help="All partitions from START to END.")
@click.option("--all-partitions", is_flag=True, help="Every partition that exists.")
@click.option("--missing-only", is_flag=True, help="Leave out what has a current version.")
@click.option("--run-key", default="", help="The same key again answers the same run.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="A label; repeatable.")
@click.option("--timeout", metavar="SPAN", help="Limit of the whole run, such as 30m.")
@click.option("--wait/--no-wait", default=None, help="Wait for the end (default: without dev).")
@click.option("--deploy/--no-deploy", default=None, help="Deploy changed code (default: local).")
@click.option("--dry-run", is_flag=True, help="Show the plan, and run nothing.")
@project_options
def command(
    target: str | None, folder: str, workspace: str | None, as_json: bool, **given: Any
) -> None:
    """Materialize SELECTION, such as '*', shop.orders, '+shop.revenue' or 'group:daily'.

    Exit code 0 when the run succeeded, 1 when it did not. Ctrl-C stops watching, not the run.
    """
    from arco_flow.cli.project import find_project
    from arco_flow.cli.session import open_session

    spec = _spec(given)
    project = find_project(folder, target, workspace)
    with open_session(project, deliver=not given["dry_run"]) as session:
        _deploy(session, project, wanted=given["deploy"], dry_run=given["dry_run"], quiet=as_json)
        if given["dry_run"]:
            _show_plan(session, spec, as_json=as_json)
        else:
            wait = given["wait"] if given["wait"] is not None else not session.lasting
            _run(session, spec, wait=wait, as_json=as_json)


def _spec(given: dict[str, Any]) -> RunSpec:
    import secrets

    from arco_flow.engine.views import RunSpec

    return RunSpec(
        selection=given["selection"],
        partitions=list(given["partitions"]),
        partition_range=_range(given["span"]),
        all_partitions=given["all_partitions"],
        missing_only=given["missing_only"],
        # A key of our own makes it safe to send the request again when an answer is lost.
        run_key=given["run_key"] or f"cli:{secrets.token_hex(8)}",
        tags=dict(_tag(text) for text in given["tags"]),
        timeout_ms=_milliseconds(given["timeout"]),
    )


def _range(text: str | None) -> Any:
    from arco_flow.engine.views import PartitionRange

    if text is None:
        return None
    start, dots, end = text.partition("..")
    if not dots or not start or not end:
        raise click.UsageError(f"--range '{text}' is not START..END")
    return PartitionRange(start=start, end=end)


def _milliseconds(text: str | None) -> int:
    from arco_flow.domain.durations import parse_duration_ms
    from arco_flow.domain.errors import InvalidInput

    try:
        return parse_duration_ms(text, name="--timeout") if text else 0
    except InvalidInput as error:
        raise click.UsageError(str(error)) from error


def _tag(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise click.UsageError(f"--tag '{text}' is not KEY=VALUE")
    return key, value


def _deploy(
    session: Session, project: Project, *, wanted: bool | None, dry_run: bool, quiet: bool
) -> None:
    """Bring the plane up to the code on disk; a plane elsewhere only when it is asked for."""
    from arco_flow.cli.deploying import change_summary, load_code, post_code

    if not (wanted if wanted is not None else not session.remote):
        return
    outcome = post_code(session.client, load_code(project))
    if not outcome.unchanged:
        note(f"the code has changed: deployed {change_summary(outcome)}", quiet=quiet)
    if dry_run and not outcome.unchanged:
        note("the plan is made with it; nothing runs", quiet=quiet)


def _show_plan(session: Session, spec: RunSpec, *, as_json: bool) -> None:
    from arco_flow.cli.render import plan_table
    from arco_flow.engine.views import PlanView

    plan = session.client.post("/runs", PlanView, spec, repeat=True, validateOnly=True)
    _tell_left_out(plan.left_out, spec, quiet=as_json)
    if as_json:
        emit(plan)
        return
    click.echo(plan_table(plan))
    click.echo(f"{plan.task_count} task{'s' if plan.task_count != 1 else ''} would run")


def _tell_left_out(left_out: list[str], spec: RunSpec, *, quiet: bool) -> None:
    """Selected assets that the run does not make: nobody shall wait for them."""
    if not left_out:
        return
    span = spec.partition_range
    named = f"in {span.start}..{span.end}" if span else ", ".join(spec.partitions)
    verb = "has" if len(left_out) == 1 else "have"
    shown = ", ".join(left_out[:LEFT_OUT_SHOWN])
    if len(left_out) > LEFT_OUT_SHOWN:
        shown += f" and {len(left_out) - LEFT_OUT_SHOWN} more"
    note(f"left out: {shown}, which {verb} no partition {named}".rstrip(), quiet=quiet)


def _run(session: Session, spec: RunSpec, *, wait: bool, as_json: bool) -> None:
    from arco_flow.engine.views import RunAccepted

    accepted = session.client.post("/runs", RunAccepted, spec, repeat=True)
    if not accepted.created:
        note(f"run key '{accepted.run_key}' stands for this run already", quiet=as_json)
    _tell_left_out(accepted.left_out, spec, quiet=as_json)
    if wait:
        _watch(session, accepted, as_json=as_json)
    elif as_json:
        emit(accepted)
    else:
        click.echo(f"{accepted.run_id}  {accepted.task_count} tasks")
        click.echo(f"next: arco-flow status {accepted.run_id} --watch")
        if not session.lasting:
            note("the plane ends with this command; `arco-flow dev` goes on with the run")


def _watch(session: Session, accepted: RunAccepted, *, as_json: bool) -> None:
    from arco_flow.cli.main import EXIT_INTERRUPTED
    from arco_flow.cli.progress import follow_run, observer

    try:
        with observer(quiet=as_json) as shown:
            run = follow_run(session.client, accepted.run_id, shown)
    except KeyboardInterrupt:
        left = "goes on" if session.lasting else "goes on with the next command that needs a plane"
        note(f"the run {left}; to end it: arco-flow cancel {accepted.run_id}")
        raise SystemExit(EXIT_INTERRUPTED) from None
    _report(run, as_json=as_json)


def _report(run: RunView, *, as_json: bool) -> None:
    from arco_flow.cli.main import EXIT_FAILED
    from arco_flow.cli.task_report import report_run

    succeeded = run.state == "SUCCEEDED"
    if as_json:
        emit(run)
    else:
        report_run(run)
    if not succeeded:
        raise SystemExit(EXIT_FAILED)
