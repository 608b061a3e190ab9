"""The public names are what `__all__` says, and each of them says what it is."""

from __future__ import annotations

import importlib
import inspect

import pytest

import arco_flow
from architecture.sources import PACKAGE, modules, name_of, tree_of

PUBLIC_MODULES = ("arco_flow", "arco_flow.testing")


def _public_members():
    for module_name in PUBLIC_MODULES:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            yield pytest.param(getattr(module, name), id=f"{module_name}.{name}")


def _methods():
    for parameter in _public_members():
        kind = parameter.values[0]
        if not inspect.isclass(kind):
            continue
        for name, member in vars(kind).items():
            plain = inspect.isfunction(member) or isinstance(member, property | classmethod)
            if plain and not name.startswith("_"):
                yield pytest.param(kind, name, id=f"{parameter.id}.{name}")


@pytest.mark.parametrize("module_name", PUBLIC_MODULES)
def test_no_public_name_is_listed_twice(module_name):
    names = importlib.import_module(module_name).__all__
    assert len(names) == len(set(names))


def test_the_package_offers_exactly_its_public_names():
    modules_of_it = {path.stem for path in PACKAGE.iterdir()} | {"annotations", "TYPE_CHECKING"}
    offered = {name for name in dir(arco_flow) if not name.startswith("_")} - modules_of_it
    assert offered - {"Any"} == set(arco_flow.__all__)


def test_type_checkers_see_every_public_name():
    declared = {
        alias.asname or alias.name
        for node in tree_of(PACKAGE / "__init__.py").body
        for child in ([node] if not hasattr(node, "body") else node.body)
        if type(child).__name__ == "ImportFrom"
        for alias in child.names
    }
    assert set(arco_flow.__all__) <= declared


def test_a_wrong_name_is_refused_by_the_package():
    with pytest.raises(AttributeError, match="asseet"):
        arco_flow.asseet  # noqa: B018


@pytest.mark.parametrize("member", list(_public_members()))
def test_every_public_name_says_what_it_is(member):
    assert (member.__doc__ or "").strip()


@pytest.mark.parametrize(("kind", "name"), list(_methods()))
def test_every_public_method_says_what_it_does(kind, name):
    assert inspect.getdoc(getattr(kind, name))


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_every_module_says_what_it_is_for(path):
    empty = not path.read_text(encoding="utf-8").strip()
    assert empty or _docstring(path), f"{path} has no docstring"


def _docstring(path):
    first = tree_of(path).body[0]
    return getattr(getattr(first, "value", None), "value", None)
