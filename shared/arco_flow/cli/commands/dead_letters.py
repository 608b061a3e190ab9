"""`arco-flow dead-letters`: what the cloud plane put aside because it can never succeed."""

from __future__ import annotations

import base64
import re
import shutil
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click
import msgspec

from arco_flow.cli.options import emit, json_option, note

if TYPE_CHECKING:
    from arco_flow.adapters.gcp.dead_letters import DeadLetters, KeptLetter
    from arco_flow.adapters.gcp.verdicts import Deployment

F = TypeVar("F", bound=Callable[..., Any])

_MOST: Final = 1000
"""That one look holds."""
_LISTED: Final = 100
_ABOUT: Final = {
    "entity": ("entity",),
    "workspace": ("workspaceId", "workspace_id", "workspace"),
    "run": ("runId", "run_id"),
    "task": ("taskKey", "task_key"),
    "runKey": ("runKey",),
}
"""What a body may tell of itself -> the names under which the deliveries of this plane tell it."""

_WAKE: Final = re.compile(rb"[\w.-]{1,64}(:[\w.%=-]{1,256}){3}")


class _ListByDefault(click.Group):
    """Without the name of a command it is `list`, with its options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the name in that was left out."""
        given = args[:1]
        if not given or (given[0].startswith("-") and given[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def _place_options(function: F) -> F:
    folder = click.option(
        "-C", "--project", "folder", default=".", metavar="FOLDER", help="Project folder."
    )
    return json_option(folder(function))


def _choice(function: F) -> F:
    every = click.option("--all", "every", is_flag=True, help=f"All, up to {_MOST} at a time.")
    ids = click.argument("ids", nargs=-1, metavar="[ID]...")
    return ids(every(_place_options(function)))


@click.group("dead-letters", cls=_ListByDefault, epilog="Example: arco-flow dead-letters --json")
def command() -> None:
    """Look at deliveries that can never succeed, which the cloud plane put aside.

    Without a command they are listed. In the folder of `arco-flow dev --emulated` it is that
    plane, elsewhere the one that the environment tells of, as for `arco-flow doctor`.

    Looking takes nothing away. But Pub/Sub hands out what it wants to: of a large backlog a look
    sees a part, in any order, and who looks at the same time sees another. Letters that are
    looked at are hidden from others meanwhile. They are kept for as long as the topic's
    subscription keeps them, 31 days at most.
    """


@command.command("list", epilog="Example: arco-flow dead-letters list --limit 20")
@click.option(
    "--limit",
    default=_LISTED,
    show_default=True,
    type=click.IntRange(1, _MOST),
    metavar="N",
    help="So many at most.",
)
@_place_options
def list_letters(limit: int, folder: str, as_json: bool) -> None:
    """List those that wait, the oldest first.

    What a letter is about stands in its body: an entity, a workspace, a run, a task, a run key.
    """
    from arco_flow.cli.render import is_watched, table

    rows = []
    with _open(folder)[1] as box:
        for letter in box.letters(limit):
            rows.append(_summary(letter))
    rows.sort(key=lambda row: row["publishTime"])
    complete = len(rows) < limit
    if as_json:
        emit({"deadLetters": rows, "complete": complete})
        return
    if rows:
        headers = ("ID", "AGE", "FUNCTION", "REASON", "ABOUT", "BYTES", "MESSAGE")
        width = shutil.get_terminal_size().columns if is_watched() else None
        click.echo(table(headers, [_cells(row) for row in rows], width=width))
        note(f"next: arco-flow dead-letters show {rows[0]['id']}")
    else:
        click.echo("no dead letters")
    if not complete:
        note("there may be more; see: arco-flow dead-letters list --help")


@command.command("show", epilog="Example: arco-flow dead-letters show 12345678901234567")
@click.argument("letter_id", metavar="ID")
@_place_options
def show(letter_id: str, folder: str, as_json: bool) -> None:
    """Show one with its whole body.

    The body is shown as JSON or text, or else as base64. One of the function `worker` holds a
    token that is good for a day at most.
    """
    with _open(folder)[1] as box:
        letter = next(_chosen(box, (letter_id,), every=False), None)
    if letter is None:
        raise _absent(letter_id)
    body = _body(letter.body)
    if as_json:
        emit(
            {
                **_summary(letter),
                "attributes": letter.own_attributes,
                "encoding": body.encoding,
                "body": body.for_programs,
            }
        )
        return
    click.echo("\n".join([*_head(letter), "", body.for_people]))


@command.command("send-again", epilog="Example: arco-flow dead-letters send-again --all")
@_choice
def send_again(ids: tuple[str, ...], every: bool, folder: str, as_json: bool) -> None:
    """Deliver some once more, and drop them here.

    A letter goes through the queue or the topic that it came from. What still can not succeed
    comes back as a new dead letter. The exit code is 1 when one was not sent.
    """
    from arco_flow.adapters.gcp.dead_letters import Redelivery
    from arco_flow.domain.errors import Rejected

    _require_choice(ids, every=every)
    sent: list[dict[str, str]] = []
    refused: list[dict[str, str]] = []
    deployment, opened = _open(folder)
    with opened as box, Redelivery(deployment) as again:
        # All are there before the first is sent: what comes back would be sent without end.
        for letter in list(_chosen(box, ids, every=every)):
            try:
                place = again.send(letter)
            except Rejected as error:
                refused.append(_refusal(letter.id, error))
                continue
            box.drop([letter.id])
            sent.append({"id": letter.id, "to": place})
    refused += _missing(ids, {one["id"] for one in (*sent, *refused)})
    if as_json:
        emit({"sent": sent, "refused": refused})
    else:
        click.echo("\n".join(f"{one['id']}  to the {one['to']}" for one in sent) or "none sent")
    _end(refused, "sent", len(sent), every=every, quiet=as_json)


@command.command("drop", epilog="Example: arco-flow dead-letters drop 12345678901234567")
@_choice
def drop(ids: tuple[str, ...], every: bool, folder: str, as_json: bool) -> None:
    """Delete some for good.

    The exit code is 1 when one was not found."""
    _require_choice(ids, every=every)
    with _open(folder)[1] as box:
        dropped = [letter.id for letter in _chosen(box, ids, every=every)]
        box.drop(dropped)
    refused = _missing(ids, set(dropped))
    if as_json:
        emit({"dropped": dropped, "refused": refused})
    else:
        click.echo("\n".join(f"{one}  dropped" for one in dropped) or "none dropped")
    _end(refused, "dropped", len(dropped), every=every, quiet=as_json)


def _open(folder: str) -> tuple[Deployment, DeadLetters]:
    from arco_flow.adapters.gcp.dead_letters import DeadLetters
    from arco_flow.cli.deployments import deployment_around

    deployment = deployment_around(folder)
    return deployment, DeadLetters(deployment)


def _chosen(box: DeadLetters, ids: tuple[str, ...], *, every: bool) -> Iterator[KeptLetter]:
    """Those of these ids, or all; no more are asked for than is needed."""
    wanted = set(ids)
    for letter in box.letters(_MOST):
        if every or letter.id in wanted:
            yield letter
        wanted.discard(letter.id)
        if not every and not wanted:
            return


def _require_choice(ids: tuple[str, ...], *, every: bool) -> None:
    if bool(ids) == every:
        raise click.UsageError("name the letters by their ids, or --all")


def _absent(letter_id: str) -> Exception:
    from arco_flow.domain.errors import NotFound

    return NotFound(
        f"no dead letter '{letter_id}' was handed out",
        fix="see `arco-flow dead-letters`; of a large backlog a look sees a part: try again",
    )


def _refusal(letter_id: str, error: Any) -> dict[str, str]:
    return {"id": letter_id, "reason": error.reason, "message": str(error)}


def _missing(ids: tuple[str, ...], done: set[str]) -> list[dict[str, str]]:
    return [_refusal(one, _absent(one)) for one in dict.fromkeys(ids) if one not in done]


def _end(refused: list[dict[str, str]], verb: str, done: int, *, every: bool, quiet: bool) -> None:
    """Tell what was not done, in the end, and exit with its code."""
    for one in refused:
        note(f"{_plain(one['id'])} is not {verb}: {one['message']}", quiet=quiet)
    if every and done + len(refused) >= _MOST:
        note("there may be more: run this again", quiet=quiet)
    if refused:
        raise SystemExit(1)


def _summary(letter: KeptLetter) -> dict[str, Any]:
    from arco_flow.engine.present import stamp

    return {
        "id": letter.id,
        "publishTime": stamp(letter.published_ms),
        "function": letter.function,
        "reason": letter.reason,
        "message": letter.message,
        "about": _about(letter.body),
        "sizeBytes": letter.size_bytes,
        "keptBytes": len(letter.body),
    }


def _about(body: bytes) -> dict[str, str]:
    """What a body tells of: a wake is the name of its entity, the others are JSON."""
    try:
        told = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {"entity": body.decode()} if _WAKE.fullmatch(body) else {}
    request = told.get("request")
    told = {**request, **told} if isinstance(request, dict) else told
    found = {
        word: next((told[name] for name in names if isinstance(told.get(name), str)), "")
        for word, names in _ABOUT.items()
    }
    return {word: text for word, text in found.items() if text}


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    about = " ".join(row["about"].values())
    texts = (row["id"], _age(row), row["function"], row["reason"], about)
    return (*map(_plain, texts), f"{row['sizeBytes']:,}", _plain(row["message"]))


def _age(row: dict[str, Any]) -> str:
    from datetime import datetime

    from arco_flow.cli.render import seconds_text

    published = datetime.fromisoformat(row["publishTime"]).timestamp()
    return seconds_text(max(time.time() - published, 0))


def _head(letter: KeptLetter) -> list[str]:
    told = _summary(letter)
    cut = "" if told["keptBytes"] == told["sizeBytes"] else f", {told['keptBytes']:,} kept"
    rows = {
        "id": told["id"],
        "age": f"{_age(told)}, since {told['publishTime']}",
        "function": told["function"],
        "reason": told["reason"],
        "message": told["message"],
        **told["about"],
        "bytes": f"{told['sizeBytes']:,}{cut}",
        **{f"attribute {name}": value for name, value in letter.own_attributes.items()},
    }
    return [f"{_plain(name)}: {_plain(text)}" for name, text in rows.items()]


class _Body(NamedTuple):
    encoding: str
    for_programs: object
    for_people: str


def _body(body: bytes) -> _Body:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        encoded = base64.b64encode(body).decode()
        return _Body("base64", encoded, encoded)
    try:
        shown, encoding = msgspec.json.format(text, indent=2), "json"
    except (msgspec.DecodeError, RecursionError):
        shown, encoding = text, "text"
    whole = msgspec.Raw(body) if encoding == "json" else text
    return _Body(encoding, whole, "\n".join(map(_plain, shown.split("\n"))))


def _plain(text: str) -> str:
    """Text of anybody as a terminal may have it: nothing in it is obeyed."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
