"""What may be called what: every name that a person chooses is checked here, once.

Each function normalises to NFC, then validates, and returns the normalised text, in that order:
two spellings that look alike are one name, and nothing is accepted that changes afterwards.
Groups, owners, tags and kinds follow Dagster 1.13; where we are stricter it is written down in
docs/dagster-differences.md. All raise InvalidInput saying what is wrong, with a legal example.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.normal_form import nfc

MAX_ASSET_KEY_CHARS: Final = 256
MAX_GROUP_CHARS: Final = 256
MAX_OWNER_CHARS: Final = 256
MAX_TAG_PART_CHARS: Final = 63
"""Of a tag's prefix, name and value: what Kubernetes and Dagster allow for a label."""
MAX_KINDS: Final = 10
MAX_SLUG_CHARS: Final = 63
MAX_RUN_KEY_CHARS: Final = 256
MAX_ACTOR_CHARS: Final = 256
MAX_LABELS: Final = 128
MAX_LABEL_KEY_CHARS: Final = 128
MAX_LABEL_VALUE_CHARS: Final = 2048

KIND_TAG_PREFIX: Final = "dagster/kind/"

SLUG: Final = r"[a-z0-9][a-z0-9_-]*"
"""Pattern of a tenant and of a workspace."""
ASSET_KEY: Final = r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*"
"""Pattern of an asset key."""

_SEGMENT: Final = re.compile(ASSET_KEY.partition(r"\.")[0])
_GROUP: Final = re.compile(r"[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*")
_EMAIL: Final = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_TAG_PART: Final = re.compile(rf"[A-Za-z0-9_.-]{{1,{MAX_TAG_PART_CHARS}}}")
_SLUG: Final = re.compile(SLUG)
_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_SHOWN_CHARS: Final = 80


def validate_asset_key(key: str) -> str:
    """An asset key: `namespace.name`, both of lower-case letters, digits and `_`, letter first."""
    text = _text("asset key", key, MAX_ASSET_KEY_CHARS, "raw.events")
    parts = text.split(".")
    if len(parts) == 2 and all(_SEGMENT.fullmatch(part) for part in parts):
        return text
    raise _refused("asset key", text, _key_problem(parts), _legal_key(text))


def validate_group(group: str) -> str:
    """A group name: letters, digits and `_`, levels divided by `/`."""
    example = "marketing/reports"
    text = _text("group", group, MAX_GROUP_CHARS, example)
    if _GROUP.fullmatch(text):
        return text
    if not all(text.split("/")):
        raise _refused("group", text, "has an empty part beside a '/'", example)
    odd = _odd_character(text, r"[A-Za-z0-9_/]")
    raise _refused("group", text, f"has {odd}; letters, digits, '_' and '/' are allowed", example)


def validate_owner(owner: str) -> str:
    """An owner: an e-mail address, or `team:` and a name without quotes and backslashes."""
    example = "ana@example.com' or 'team:growth"
    text = _text("owner", owner, MAX_OWNER_CHARS, example)
    prefix, colon, team = text.partition(":")
    if not colon or prefix != "team":
        if _EMAIL.fullmatch(text):
            return text
        raise _refused("owner", text, "is no e-mail address and no 'team:…'", example)
    if not team.strip():
        raise _refused("owner", text, "has no name after 'team:'", example)
    if team != team.strip():
        raise _refused("owner", text, "has spaces around the team's name", example)
    if '"' in team or "\\" in team:
        # the selection language quotes values and has no escapes
        raise _refused("owner", text, "has a quote or a backslash", example)
    return text


def validate_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags: keys `[prefix/]name`; prefix, name and value of letters, digits, `_`, `-`, `.`.

    Each of the three has at most 63 characters; the value may be empty. Sorted by key.
    """
    return {_tag_key(key): _tag_value(key, tags[key]) for key in sorted(tags)}


def validate_kinds(kinds: Iterable[str]) -> tuple[str, ...]:
    """Kinds such as `python` or `dbt`: at most ten, each written like a tag's name. Sorted."""
    if isinstance(kinds, str):
        raise _refused("kinds", kinds, "is one text, not a list of kinds", "{'python', 'dbt'}")
    found = sorted({_tag_part("kind", kind, "python") for kind in kinds})
    if len(found) > MAX_KINDS:
        raise InvalidInput(
            f"{len(found)} kinds; an asset has at most {MAX_KINDS}",
            fix="use tags for what is no technology",
        )
    return tuple(found)


def validate_tenant(tenant: str) -> str:
    """A tenant: lower-case letters, digits, `-`, `_`, at most 63 characters."""
    return _slug("tenant", tenant, "acme")


def validate_workspace(workspace: str) -> str:
    """A workspace: lower-case letters, digits, `-`, `_`, at most 63 characters."""
    return _slug("workspace", workspace, "production")


def validate_run_key(run_key: str) -> str:
    """A run key: printable text of at most 256 characters, no spaces around it."""
    return _printable("run key", run_key, MAX_RUN_KEY_CHARS, "daily:2025-06-01")


def validate_request_id(request_id: str) -> str:
    """The name of a request, unchanged. Raises InvalidInput."""
    return _printable("request id", request_id, MAX_RUN_KEY_CHARS, "ci-4711")


def validate_trigger(trigger: str) -> str:
    """What asked for a run: printable text of at most 256 characters, no spaces around it."""
    return _printable("trigger", trigger, MAX_RUN_KEY_CHARS, "manual")


def validate_actor(actor: str) -> str:
    """Who or what asks: printable text of at most 256 characters, no spaces around it."""
    return _printable("actor", actor, MAX_ACTOR_CHARS, "sensor:new_files")


def parse_traceparent(text: str) -> tuple[str, str] | None:
    """Trace and span of a `traceparent` of the W3C; None for all that is none: zeros, too."""
    found = _TRACEPARENT.fullmatch(text)
    if found is None or not found[1].strip("0") or not found[2].strip("0"):
        return None
    return found[1], found[2]


def validate_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels of a run: at most 128; keys of 1 to 128, values of 0 to 2048 printable characters.

    Sorted by key.
    """
    if len(labels) > MAX_LABELS:
        raise InvalidInput(
            f"{len(labels)} labels; a run has at most {MAX_LABELS}", fix="leave out some of them"
        )
    checked: dict[str, str] = {}
    for key in sorted(labels):
        name = _printable("label", key, MAX_LABEL_KEY_CHARS, "triggered_by")
        if name in checked:
            raise _refused("label", name, "appears twice once normalised", "triggered_by")
        value = labels[key]
        what = f"value of label '{name}'"
        checked[name] = "" if value == "" else _printable(what, value, MAX_LABEL_VALUE_CHARS, "ana")
    return checked


def _text(what: str, value: object, longest: int, example: str) -> str:
    if not isinstance(value, str):
        raise _refused(what, repr(value), f"is {type(value).__name__}, not text", example)
    text = nfc(value)
    if not text:
        raise _refused(what, text, "is empty", example)
    if len(text) > longest:
        raise _refused(what, text, f"has {len(text)} characters; at most {longest}", example)
    if not text.isprintable():
        raise _refused(what, text, f"has {_odd_character(text, None)}", example)
    return text


def _printable(what: str, value: object, longest: int, example: str) -> str:
    text = _text(what, value, longest, example)
    if text != text.strip():
        raise _refused(what, text, "begins or ends with a space", example)
    return text


def _slug(what: str, value: object, example: str) -> str:
    text = _text(what, value, MAX_SLUG_CHARS, example)
    if _SLUG.fullmatch(text):
        return text
    if text[0] in "-_":
        raise _refused(what, text, f"begins with '{text[0]}'", example)
    odd = _odd_character(text, r"[a-z0-9_-]")
    problem = f"has {odd}; lower-case letters, digits, '-' and '_' are allowed"
    raise _refused(what, text, problem, example)


def _tag_key(key: object) -> str:
    text = _text("tag", key, 2 * MAX_TAG_PART_CHARS + 1, "tier' or 'team/tier")
    if text.startswith(KIND_TAG_PREFIX):
        kind = text.removeprefix(KIND_TAG_PREFIX)
        raise InvalidInput(
            f"tag '{text}' is Dagster's way to write a kind", fix=f"kinds={{{kind!r}}}"
        )
    parts = text.split("/")
    if len(parts) > 2:
        raise _refused("tag", text, "has more than one '/'", "team/tier")
    for part in parts:
        _tag_part(f"part of tag '{text}'", part, "team/tier")
    return text


def _tag_value(key: str, value: object) -> str:
    return "" if value == "" else _tag_part(f"value of tag '{key}'", value, "gold")


def _tag_part(what: str, value: object, example: str) -> str:
    text = _text(what, value, MAX_TAG_PART_CHARS, example)
    if _TAG_PART.fullmatch(text):
        return text
    odd = _odd_character(text, r"[A-Za-z0-9_.-]")
    raise _refused(what, text, f"has {odd}; letters, digits, '_', '-', '.' are allowed", example)


def _odd_character(text: str, allowed: str | None) -> str:
    """The first character that is not allowed (None: not printable), and its place from 1."""
    for place, character in enumerate(text, 1):
        fits = re.fullmatch(allowed, character) if allowed else character.isprintable()
        if not fits:
            shown = f"'{character}'" if character.isprintable() else f"U+{ord(character):04X}"
            return f"{shown} at character {place}"
    return "an odd character"


def _key_problem(parts: list[str]) -> str:
    if "/" in parts[0] or "/" in parts[-1]:
        return "has a '/'; namespace and name are divided by a dot"
    if len(parts) == 1:
        return "has no namespace"
    if len(parts) > 2:
        return f"has {len(parts)} parts; a key is one namespace, a dot and one name"
    for name, part in zip(("namespace", "name"), parts, strict=True):
        if not part:
            return f"has an empty {name}"
        if part[0] in "0123456789_":
            return f"has a {name} that begins with '{part[0]}'; begin with a letter"
    odd = _odd_character(".".join(parts), r"[a-z0-9_.]")
    return f"has {odd}; lower-case letters, digits and '_' are allowed"


def _legal_key(text: str) -> str:
    """The key that was probably meant, or an example when nothing of it can be kept."""
    words = re.split(r"[./]+", text.lower(), maxsplit=1)
    segments = [re.sub(r"[^a-z0-9]+", "_", word).strip("_") for word in words]
    legal = ".".join(segments if len(segments) == 2 else ["default", *segments])
    return legal if all(map(_SEGMENT.fullmatch, legal.split("."))) else "raw.events"


def _refused(what: str, value: str, problem: str, example: str) -> InvalidInput:
    shown = value if len(value) <= _SHOWN_CHARS else f"{value[:_SHOWN_CHARS]}…"
    if not shown.isprintable():
        shown = ascii(shown)[1:-1]
    return InvalidInput(
        f"{what} '{shown}' {problem}", fix=f"for example '{example}'", details={"value": shown}
    )
