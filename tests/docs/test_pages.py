"""Pages that are generated, or that repeat figures of the code, say what the code says."""

from __future__ import annotations

import importlib
import re
import runpy
from pathlib import Path

import pytest

from arco_flow.domain import errors
from arco_flow.domain.retry import RETRIED_BY_DEFAULT, ErrorCategory
from arco_flow.http.outcomes import outcome_of

DOCS = Path(__file__).parents[2] / "docs"
CODE = DOCS.parent / "shared" / "arco_flow"
DECLARED = re.compile(r"^(MAX_[A-Z_]+)(?:: Final)? = ", re.MULTILINE)
LIMIT = re.compile(r"^\| .* \| (\d+) \| `([a-z_0-9/]+)\.py` `([A-Z_]+)` \|$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
TREE = [kind for kind in vars(errors).values() if isinstance(kind, type)]


def test_the_page_of_state_machines_is_the_generated_one():
    made = runpy.run_path(str(DOCS / "generate_state_machines.py"))["page"]()
    assert (DOCS / "state-machines.md").read_text(encoding="utf-8") == made, "run: make docs"


@pytest.mark.parametrize(
    ("figure", "module", "name"), LIMIT.findall((DOCS / "limits.md").read_text(encoding="utf-8"))
)
def test_a_limit_is_what_the_page_says(figure, module, name):
    home = importlib.import_module("arco_flow." + module.replace("/", "."))
    assert getattr(home, name) == int(figure)


def test_every_limit_of_the_code_is_on_the_page():
    named = {(module, name) for _, module, name in LIMIT.findall((DOCS / "limits.md").read_text())}
    declared = {
        (path.relative_to(CODE).with_suffix("").as_posix(), name)
        for layer in ("domain", "engine", "http", "worker", "adapters")
        for path in (CODE / layer).rglob("*.py")
        for name in DECLARED.findall(path.read_text(encoding="utf-8"))
    }
    assert sorted(declared - named) == [], "add a line to docs/limits.md"


def test_every_line_with_a_constant_is_read():
    text = (DOCS / "limits.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|") and ".py`" in line]
    assert len(LIMIT.findall(text)) == len(rows) > 40


@pytest.mark.parametrize("kind", [kind for kind in TREE if issubclass(kind, errors.ArcoError)])
def test_every_error_is_listed_with_its_answer(kind):
    outcome = outcome_of(kind("test"))
    row = re.search(
        rf"^\| `{kind.__name__}` \| [^|]+ \| (\d+) \| ([A-Z_]+) \| (yes|no) \|$",
        (DOCS / "errors.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert row, kind.__name__
    assert row.groups() == (str(outcome.status), outcome.code, "yes" if outcome.retry else "no")


@pytest.mark.parametrize("category", list(ErrorCategory))
def test_every_category_is_listed_with_its_default(category):
    text = (DOCS / "errors.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| `{category}` \| [^|]+ \| (yes|no) \|$", text, re.MULTILINE)
    assert row
    assert row[1] == ("yes" if category in RETRIED_BY_DEFAULT else "no")


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert not [target for target in local if not (page.parent / target).exists()]


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page):
    root = DOCS.parent
    named = re.findall(r"`((?:[a-z_0-9]+/)+[a-z_0-9]+\.(?:py|md|txt))`", page.read_text("utf-8"))
    places = (root, root / "shared" / "arco_flow", DOCS)
    assert not [name for name in named if not any((place / name).exists() for place in places)]
