"""Finding definitions in modules, files and folders."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from arco_flow import ArcoError, DefinitionError, load_definitions

ASSET = "from arco_flow import asset\n@asset\ndef {name}() -> int: return 1\n"


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


def write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def keys(target: str) -> list[str]:
    return [asset.key for asset in load_definitions(target).assets]


def refusal(target: str) -> str:
    with pytest.raises(DefinitionError) as caught:
        load_definitions(target)
    return str(caught.value)


def test_a_folder_without_init_in_a_package_is_imported_anew() -> None:
    write("lot/__init__.py", "")
    write("lot/deep/rates.py", "base = 1\n")
    write(
        "flow.py",
        "import lot.deep.rates\nfrom arco_flow import asset\n\n@asset\ndef a() -> int: return 1\n",
    )
    for _ in range(2):
        assert len(load_definitions("flow.py").assets) == 1


def test_a_package_that_can_not_be_imported_leaves_its_own_error() -> None:
    write("lot/__init__.py", "import lot.deep.rates\n\nvalue = 1 / 0\n")
    write("lot/deep/rates.py", "class Odd:\n    def __getattr__(self, name): return self\n"
          "\nimport sys\nsys.modules['odd'] = Odd()\n")  # fmt: skip
    write("flow.py", "import lot\n")
    for _ in range(2):
        assert "ZeroDivisionError: division by zero" in refusal("flow.py")
    sys.modules.pop("odd")


def test_a_file_is_named_after_itself() -> None:
    write("sales.py", ASSET.format(name="orders"))
    definitions = load_definitions("sales.py")
    assert [asset.key for asset in definitions.assets] == ["sales.orders"]
    folder = str(Path.cwd())
    assert definitions.location == {
        "target": f"{folder}/sales.py",
        "root": folder,
        "module": "sales",
    }


def test_a_folder_of_plain_modules_whose_modules_import_each_other() -> None:
    write("flow/raw.py", ASSET.format(name="orders"))
    write("flow/marts.py", "from raw import orders\n" + ASSET.format(name="revenue"))
    assert keys("flow") == ["marts.revenue", "raw.orders"]
    assert load_definitions("flow").location["module"] == "flow"


def test_a_package_keeps_its_names_and_relative_imports() -> None:
    write("shop/__init__.py", ASSET.format(name="top"))
    write("shop/raw.py", ASSET.format(name="orders"))
    write("shop/deep/__init__.py", "")
    write("shop/deep/marts.py", "from ..raw import orders\n" + ASSET.format(name="revenue"))
    assert keys("shop") == ["marts.revenue", "raw.orders", "shop.top"]
    definitions = load_definitions(str(Path("shop/deep").absolute()))
    assert definitions.location["module"] == "shop.deep"
    assert definitions.location["root"] == str(Path.cwd())


def test_a_module_name_is_found_from_the_working_folder() -> None:
    write("pkg_by_name/__init__.py", "")
    write("pkg_by_name/raw.py", ASSET.format(name="orders"))
    assert keys("pkg_by_name.raw") == ["raw.orders"]
    location = load_definitions("pkg_by_name.raw").location
    assert location["module"] == "pkg_by_name.raw"
    assert location["target"] == str(Path("pkg_by_name/raw.py").absolute())
    assert location["root"] == str(Path.cwd())


def test_a_location_can_be_loaded_again_by_what_it_says() -> None:
    write("shop/__init__.py", ASSET.format(name="top"))
    first = load_definitions("shop")
    second = load_definitions(first.location["target"])
    assert first.manifest() == second.manifest()
    assert first.assets[0] is not second.assets[0]


def test_hidden_files_tests_and_environments_are_passed_over() -> None:
    write("flow/raw.py", ASSET.format(name="orders"))
    for skipped in (
        ".hidden/a.py",
        "tests/a.py",
        "__pycache__/a.py",
        "test_a.py",
        "a_test.py",
        "conftest.py",
        ".b.py",
        "env/a.py",
    ):
        write(f"flow/{skipped}", "raise RuntimeError('must not be imported')\n")
    write("flow/env/pyvenv.cfg", "")
    assert keys("flow") == ["raw.orders"]


def test_a_file_that_shadows_a_module_of_python_is_still_loaded() -> None:
    write("flow/json.py", ASSET.format(name="orders"))
    write(
        "flow/01_raw.py", ASSET.format(name="clicks").replace("@asset", "@asset(namespace='raw')")
    )
    assert keys("flow") == ["json.orders", "raw.clicks"]
    import json

    assert json.dumps([1]) == "[1]"


def test_a_changed_file_is_imported_anew() -> None:
    write("flow.py", ASSET.format(name="before"))
    assert keys("flow.py") == ["flow.before"]
    write("flow.py", "# changed\n" + ASSET.format(name="after_it"))
    assert keys("flow.py") == ["flow.after_it"]


def test_files_of_one_name_in_two_folders_do_not_mix() -> None:
    write("one/flow.py", "from helper import NAME\n" + ASSET.format(name="a"))
    write("one/helper.py", "NAME = 1\n")
    write("two/flow.py", "from helper import OTHER\n" + ASSET.format(name="b"))
    write("two/helper.py", "OTHER = 1\n")
    assert keys("one/flow.py") == ["flow.a"]
    assert keys("two/flow.py") == ["flow.b"]
    assert keys("one/flow.py") == ["flow.a"]


def test_a_package_that_was_imported_from_elsewhere_makes_way() -> None:
    write("one/shop_twice/__init__.py", "")
    write("one/shop_twice/raw.py", ASSET.format(name="a"))
    sys.path.insert(0, str(Path("one").absolute()))
    import shop_twice.raw as first  # type: ignore[import-not-found]

    write("two/shop_twice/__init__.py", "")
    write("two/shop_twice/raw.py", "from .helper import NAME\n" + ASSET.format(name="b"))
    write("two/shop_twice/helper.py", "NAME = 1\n")
    assert keys("two/shop_twice") == ["raw.b"]
    assert first.a.key == "raw.a"


def test_assets_in_lists_and_imported_ones_count_once() -> None:
    write(
        "flow.py",
        "from arco_flow import asset\n"
        "def make(name):\n"
        "    @asset(key=f'made.{name}')\n"
        "    def it() -> int: return 1\n"
        "    return it\n"
        "made = [make('a'), make('b')]\n"
        "first = made[0]\n",
    )
    assert keys("flow.py") == ["made.a", "made.b"]


def test_an_explicit_definitions_object_decides() -> None:
    head = "from arco_flow import *\n@asset\ndef a() -> int: ...\n@asset\ndef b() -> int: ...\n"
    shop = "class Shop(Resource):\n    url: str\n"
    write("flow.py", head + "d = Definitions([a])\n")
    assert keys("flow.py") == ["flow.a"]
    write("flow.py", head + shop + "d = Definitions(resources=[Shop(url='x')])\n")
    assert keys("flow.py") == ["flow.a", "flow.b"]
    assert repr(load_definitions("flow.py").resources) == "(Shop(url='x'),)"
    write("flow.py", head + shop + "shop = Shop(url='y')\n")
    assert repr(load_definitions("flow.py").resources) == "(Shop(url='y'),)"
    two = "one = Shop(url='1')\ntwo = Shop(url='2')\n"
    write("flow.py", head + shop + two)
    assert "two resources of class Shop at module level" in refusal("flow.py")
    write("flow.py", head + shop + two + "d = Definitions(resources=[two])\n")
    assert repr(load_definitions("flow.py").resources) == "(Shop(url='2'),)"
    write("flow.py", head + "d = Definitions(a)\n")
    assert "fix: Definitions([a])" in refusal("flow.py")
    write("flow.py", head + "d = Definitions([a])\ne = Definitions([b])\n")
    assert "2 Definitions objects" in refusal("flow.py")


def test_an_error_in_user_code_is_told_with_its_line_and_nothing_of_ours() -> None:
    write("helper.py", "def divide(x):\n    return 1 / x\n")
    write("flow.py", "from helper import divide\n\nvalue = divide(0)\n")
    assert refusal("flow.py") == (
        "flow.py can not be imported: ZeroDivisionError: division by zero\n"
        "  at helper.py:2\n"
        "  fix: correct that line; the whole stack: arco-flow --debug validate TARGET"
    )


def test_a_missing_package_a_syntax_error_and_an_exit() -> None:
    write("flow.py", "import numpyy_\n")
    assert refusal("flow.py") == (
        "flow.py can not be imported: ModuleNotFoundError: No module named 'numpyy_'\n"
        "  at flow.py:1\n"
        "  fix: install the package that holds 'numpyy_', or correct the import"
    )
    write("flow.py", "x = 1\ndef broken(:\n")
    assert refusal("flow.py").splitlines()[1] == "  at flow.py:2"
    write("flow.py", "import sys\nsys.exit(3)\n")
    assert "SystemExit: 3\n  at flow.py:2" in refusal("flow.py")


def test_targets_that_are_not_there() -> None:
    write("sales.py", "")
    mend = "\n  fix: give a module, .py file or folder that declares assets"
    nearest = "there is no file or folder 'sale.py'; did you mean 'sales.py'?"
    assert refusal("sale.py") == nearest + mend
    assert "there is no module 'salse'; did you mean 'sales'?" in refusal("salse")
    assert "there is no module 'a.b.c'" in refusal("a.b.c")
    write("notes.txt", "")
    assert "'notes.txt' is no Python file" in refusal("notes.txt")
    Path("empty").mkdir()
    assert refusal("empty") == "the folder 'empty' holds no Python files" + mend


def test_an_io_object_of_a_location_is_known_by_its_name() -> None:
    write(
        "flow.py",
        "from arco_flow import *\n"
        "class Lines:\n"
        "    name = 'lines-of-discovery'\n"
        "    def save(self, value, target): ...\n"
        "    def load(self, source, type_): ...\n"
        "@asset(io=Lines())\n"
        "def a() -> object: ...\n",
    )
    (spec,) = load_definitions("flow.py").manifest().assets
    assert spec.io == "lines-of-discovery"
    (again,) = load_definitions("flow.py").manifest().assets
    assert again == spec


def test_annotations_for_type_checkers_only_do_no_harm() -> None:
    write(
        "flow.py",
        "from __future__ import annotations\n"
        "from typing import TYPE_CHECKING\n"
        "from arco_flow import *\n"
        "if TYPE_CHECKING:\n    import polars as pl\n"
        "@asset\ndef a() -> pl.DataFrame: ...\n"
        "@asset\ndef b(a: pl.DataFrame, n: pl.Series = None) -> int: ...\n",
    )
    load_definitions("flow.py").validate()


def test_every_refusal_is_one_of_ours() -> None:
    assert issubclass(DefinitionError, ArcoError)
