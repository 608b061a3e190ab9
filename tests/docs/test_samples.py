"""The Python of every how-to page is declared, validated and, where it is a test, run."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

from arco_flow import load_definitions
from arco_flow.cli.main import COMMANDS

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PAGES = sorted(HOW_TO.glob("*.md"))
WITH_CODE = [page for page in PAGES if BLOCK.search(page.read_text(encoding="utf-8"))]


@pytest.fixture
def sample(request, tmp_path, monkeypatch):
    """The blocks of a page as one module, as a reader who follows the page has it."""
    name = "sample_" + request.param.stem.replace("-", "_")
    blocks = BLOCK.findall(request.param.read_text(encoding="utf-8"))
    path = tmp_path / f"{name}.py"
    path.write_text("\n\n".join(blocks), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield path
    sys.modules.pop(name, None)


@pytest.mark.parametrize("sample", WITH_CODE, indirect=True, ids=lambda page: page.stem)
def test_the_sample_of_a_page_is_valid_and_its_tests_pass(sample):
    definitions = load_definitions(sample)
    assert definitions.assets
    for asset in definitions.assets:
        definitions.dependencies(asset.key)
    module = importlib.import_module(sample.stem)
    for name, test in list(vars(module).items()):
        if name.startswith("test_"):
            test()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_on_a_page_exist(page):
    named = re.findall(r"arco-flow ([a-z]+(?:-[a-z]+)*)", page.read_text(encoding="utf-8"))
    assert set(named) <= set(COMMANDS)
