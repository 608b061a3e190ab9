"""Names are normalised, then validated; a refusal says what is wrong and shows a legal one."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.identifiers import (
    validate_asset_key,
    validate_group,
    validate_kinds,
    validate_labels,
    validate_owner,
    validate_run_key,
    validate_tags,
    validate_tenant,
    validate_workspace,
)

VECTORS = json.loads(
    (Path(__file__).parent.parent / "vectors" / "12_misc.json").read_text("utf-8")
)["cases"]
CHECKS: dict[str, Callable[[Any], object]] = {
    "owner": validate_owner,
    "asset_tags": validate_tags,
    "group_name": validate_group,
    "kinds": validate_kinds,
    "asset_key": validate_asset_key,
}


def value_of(case: dict[str, Any]) -> Any:
    return [f"kind{n}" for n in range(case["count"])] if "count" in case else case["input"]


def accepts(check: Callable[[Any], object], value: Any) -> bool:
    try:
        check(value)
    except InvalidInput:
        return False
    return True


def stricter_than_dagster(case: dict[str, Any]) -> bool:
    """The differences that docs/dagster-differences.md lists."""
    if case["kind"] == "asset_key":
        return True
    return case["kind"] == "asset_tags" and any(
        key.startswith("dagster/kind/") for key in case["input"]
    )


@pytest.mark.parametrize(
    "case", [case for case in VECTORS if case["kind"] in CHECKS], ids=lambda case: case["id"]
)
def test_what_dagster_accepts_and_refuses(case: dict[str, Any]) -> None:
    ours = accepts(CHECKS[case["kind"]], value_of(case))
    if stricter_than_dagster(case):
        assert not ours
    else:
        assert ours is ("error" not in case)


@pytest.mark.parametrize(
    ("key", "problem", "example"),
    [
        ("events", "has no namespace", "default.events"),
        ("raw/events", "are divided by a dot", "raw.events"),
        ("Raw.Events", "'R' at character 1", "raw.events"),
        ("raw.my-events", "'-' at character 7", "raw.my_events"),
        ("raw.events.daily", "has 3 parts", "raw.events_daily"),
        ("raw.", "an empty name", "raw.events"),
        (".events", "an empty namespace", "raw.events"),
        ("raw.2024", "begins with '2'", "raw.events"),
        ("raw._x", "begins with '_'", "raw.x"),
        ("raw.ä", "'ä' at character 5", "raw.events"),
        ("raw.ev\nents", "U+000A at character 7", "raw.events"),
        ("raw.e\u200bvents", "U+200B at character 6", "raw.events"),
        ("", "is empty", "raw.events"),
        ("r." + "e" * 255, "has 257 characters; at most 256", "raw.events"),
        (7, "is int, not text", "raw.events"),
    ],
)
def test_a_refused_asset_key_says_why_and_shows_a_legal_one(
    key: Any, problem: str, example: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        validate_asset_key(key)
    assert problem in caught.value.message
    assert caught.value.fix == f"for example '{example}'"
    assert accepts(validate_asset_key, example)


def test_legal_names_come_back_normalised() -> None:
    assert validate_asset_key("raw.events_2024") == "raw.events_2024"
    assert validate_group("marketing/Reports_1") == "marketing/Reports_1"
    assert validate_owner("team:data eng") == "team:data eng"
    assert validate_owner("a.b+c@mail.example.co") == "a.b+c@mail.example.co"
    assert validate_tenant("acme-2") == "acme-2"
    assert validate_workspace("prod_eu") == "prod_eu"
    assert validate_run_key("cafe\u0301") == "caf\u00e9"
    assert validate_kinds({"dbt", "python"}) == ("dbt", "python")
    assert list(validate_tags({"b": "", "a/x": "1.0"}).items()) == [("a/x", "1.0"), ("b", "")]
    assert validate_labels({"note": "", "by": "Ána Ü"}) == {"by": "Ána Ü", "note": ""}


def test_a_sign_that_normalises_to_a_letter_is_that_letter() -> None:
    assert validate_group("\u212a") == "K"  # the kelvin sign


@pytest.mark.parametrize(
    ("check", "value", "problem"),
    [
        (validate_group, "a//b", "an empty part"),
        (validate_group, "a-b", "'-' at character 2"),
        (validate_owner, "team: ", "no name after 'team:'"),
        (validate_owner, "team: growth", "spaces around"),
        (validate_owner, 'team:"x"', "a quote or a backslash"),
        (validate_owner, "ana@localhost", "no e-mail address"),
        (validate_owner, "Team:growth", "no e-mail address"),
        (validate_tags, {"a/b/c": "x"}, "more than one '/'"),
        (validate_tags, {"a/": "x"}, "is empty"),
        (validate_tags, {"a": 1}, "is int, not text"),
        (validate_tags, {"dagster/kind/dbt": ""}, "way to write a kind"),
        (validate_kinds, "dbt", "one text, not a list"),
        (validate_kinds, ["my kind"], "' ' at character 3"),
        (validate_kinds, [f"k{n}" for n in range(11)], "11 kinds"),
        (validate_tenant, "Acme", "'A' at character 1"),
        (validate_tenant, "-acme", "begins with '-'"),
        (validate_workspace, "a:b", "':' at character 2"),
        (validate_workspace, "w" * 64, "at most 63"),
        (validate_run_key, " a", "begins or ends with a space"),
        (validate_run_key, "a\x00", "U+0000 at character 2"),
        (validate_run_key, "a\ud800", "U+D800"),
        (validate_run_key, "a" * 257, "257 characters"),
        (validate_labels, {str(n): "" for n in range(129)}, "129 labels"),
        (validate_labels, {"a": "x" * 2049}, "value of label 'a'"),
        (validate_labels, {"caf\u00e9": "1", "cafe\u0301": "2"}, "appears twice"),
        (validate_labels, {"a": 0}, "is int, not text"),
    ],
)
def test_other_names_are_refused(check: Callable[[Any], object], value: Any, problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check(value)
    assert problem in caught.value.message


@given(st.text(max_size=70))
def test_only_the_typed_refusal_escapes_and_accepted_names_stay_accepted(text: str) -> None:
    checks = [validate_asset_key, validate_group, validate_owner, validate_tenant, validate_run_key]
    for check in checks:
        with contextlib.suppress(InvalidInput):
            once = check(text)
            assert check(once) == once
            assert once.encode()
