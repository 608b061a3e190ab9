"""What makes an asset's code another version, and what does not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from arco_flow import load_definitions

FILES = {
    "pkg/__init__.py": "from .reexported import shown\n",
    "pkg/reexported.py": "def shown(x):\n    return x\n\ndef hidden(x):\n    return x\n",
    "pkg/deep/rates.py": """
BASE = 2

def of(x):
    return x * BASE

def other(x):
    return x
""",
    "everything.py": "def starred(x):\n    return x\n",
    "plugins.py": "HOOKS = {}\n\ndef hook(f):\n    HOOKS[f.__name__] = f\n    return f\n",
    "till.py": """
class Shop:
    def sold(self):
        return limit()

def limit():
    return 9
""",
    "local.py": "def late():\n    return 1\n",
    "flow.py": """
import functools
import json
import pkg.deep.rates
import plugins as hooks
from everything import *
from pkg import shown
from pkg.deep import rates as priced
from till import Shop
from arco_flow import Resource, asset

TABLE = {"a": 1}
TABLE.update(b=2)

try:
    import fast as quick
except ImportError:
    quick = None

if quick is None:
    def chosen(x):
        return x


@functools.cache
def helper(x):
    return inner(x)


def inner(x):
    return x + TABLE["a"]


def unused(x):
    return x


class Store(Resource):
    shop: str = "x"

    def open(self):
        return Shop().sold()


@asset
def by_function():
    return helper(1)

@asset
def by_module():
    return pkg.deep.rates.of(1)

@asset
def by_alias():
    return priced.of(1)

@asset
def by_package():
    return shown(1)

@asset
def by_star():
    return starred(1)

@asset
def by_whole_module():
    return dict(vars(hooks))

@asset
def by_condition():
    return chosen(1)

@asset
def by_resource(store: Store):
    return json.dumps(len(TABLE))

@asset
def by_late_import():
    from local import late
    return late()

@asset
def by_asset(by_function, again=by_function.out):
    return by_function
""",
}
ASSETS = {line[4:].partition("(")[0] for line in FILES["flow.py"].splitlines() if "def by_" in line}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "project"
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def versions(project: Path, file: str = "flow.py") -> tuple[str, Mapping[str, str]]:
    manifest = load_definitions(project / file).manifest()
    return manifest.code_version_id, {spec.key[5:]: spec.code_version for spec in manifest.assets}


def changed(project: Path, file: str, old: str, new: str) -> set[str]:
    """Assets that are another version after a change, which must change the location's too."""
    location, before = versions(project)
    text = (project / file).read_text()
    assert old in text
    (project / file).write_text(text.replace(old, new))
    moved, after = versions(project)
    assert moved != location
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("file", "old", "new", "assets"),
    [
        ("flow.py", "return helper(1)", "return helper(2)", {"by_function"}),
        ("flow.py", "return inner(x)", "return inner(x) + 1", {"by_function"}),
        ("flow.py", "@functools.cache", "@functools.lru_cache", {"by_function"}),
        ("flow.py", 'x + TABLE["a"]', 'x - TABLE["a"]', {"by_function"}),
        ("flow.py", '{"a": 1}', '{"a": 3}', {"by_function", "by_resource"}),
        ("flow.py", "TABLE.update(b=2)", "TABLE.update(b=3)", {"by_function", "by_resource"}),
        ("flow.py", "if quick is None", "if not quick", {"by_condition"}),
        ("flow.py", 'shop: str = "x"', 'shop: str = "y"', {"by_resource"}),
        ("flow.py", "def unused(x):", "def unused(y, x):", set()),
        ("till.py", "return limit()", "return limit() + 1", {"by_resource"}),
        ("till.py", "return 9", "return 10", {"by_resource"}),
        ("pkg/deep/rates.py", "x * BASE", "x + BASE", {"by_module", "by_alias"}),
        ("pkg/deep/rates.py", "BASE = 2", "BASE = 3", {"by_module", "by_alias"}),
        ("pkg/deep/rates.py", "def other(x):", "def other(y, x):", set()),
        ("pkg/reexported.py", "def shown(x):", "def shown(x, y=1):", {"by_package"}),
        ("pkg/reexported.py", "def hidden(x):", "def hidden(y, x):", set()),
        ("everything.py", "return x", "return x + 1", {"by_star"}),
        ("plugins.py", "HOOKS = {}", "HOOKS = dict()", {"by_whole_module"}),
        ("local.py", "return 1", "return 2", {"by_late_import"}),
    ],
)
def test_an_asset_is_another_version_when_something_that_it_uses_changes(
    project: Path, file: str, old: str, new: str, assets: set[str]
) -> None:
    assert changed(project, file, old, new) == assets


def touch_beside(project: Path) -> None:
    (project / "unrelated.py").write_text("x = 1\n")


def touch_outside(project: Path) -> None:
    (project.parent / "rates.py").write_text("x = 1\n")


def move_lines(project: Path) -> None:
    (project / "till.py").write_text("\n\n" + FILES["till.py"].replace("\n", "\r\n"))


@pytest.mark.parametrize("touch", [touch_beside, touch_outside])
def test_a_file_that_nothing_imports_changes_nothing(
    project: Path, touch: Callable[[Path], None]
) -> None:
    before = versions(project)
    touch(project)
    assert versions(project) == before


def test_where_and_with_which_line_ends_a_helper_stands_changes_no_asset(project: Path) -> None:
    before = versions(project)[1]
    move_lines(project)
    assert versions(project)[1] == before


def test_every_kind_of_use_is_part_of_the_sample(project: Path) -> None:
    assert set(versions(project)[1]) == ASSETS


def test_a_folder_as_location_counts_all_of_its_modules(project: Path) -> None:
    def location() -> str:
        return load_definitions(project).manifest().code_version_id

    before = location()
    touch_outside(project)
    assert location() == before
    touch_beside(project)
    assert location() != before


def test_imports_that_lead_in_a_circle_come_to_an_end(project: Path) -> None:
    (project / "one.py").write_text("from two import b\n\ndef a():\n    return b()\n")
    (project / "two.py").write_text("import one\n\ndef b():\n    return one.a()\n")
    (project / "ring.py").write_text(
        "import one, two\nfrom arco_flow import asset\n\n@asset\ndef x():\n    return one, two\n"
    )
    assert len(versions(project, "ring.py")[1]) == 1
