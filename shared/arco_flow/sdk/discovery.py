"""Finding what a module, a file or a folder declares.

Files are imported under the name that the user's own imports would give them: a file that is
imported twice under two names would declare everything twice.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from arco_flow.domain.errors import ArcoError, DefinitionError, did_you_mean
from arco_flow.sdk.asset import Asset
from arco_flow.sdk.definitions import Definitions
from arco_flow.sdk.import_errors import import_error
from arco_flow.sdk.resource import Resource
from arco_flow.sdk.source import is_below, shown_path

_SKIPPED_FOLDERS = frozenset({"tests", "test", "__pycache__", "node_modules", "site-packages"})
_SKIPPED_FILES = frozenset({"conftest.py", "setup.py"})

_TARGETS = "give a module, .py file or folder that declares assets"

_imported: set[str] = set()
"""Names of modules that discovery itself has imported: only these may it import anew."""


@dataclass(frozen=True, slots=True)
class _Location:
    """target: as another process can find it. root: goes on sys.path. files: to be imported."""

    target: str
    root: str
    module: str
    files: tuple[str, ...]


def load_definitions(target: str | os.PathLike[str]) -> Definitions:
    """Import a module, a `.py` file or a folder, and gather what stands at module level.

    Counted are assets (also in module-level lists and tuples), resources, and one Definitions
    object if there is one. Of a folder, all modules are imported but hidden ones, tests and
    virtual environments. A file that has been loaded before is imported anew.

    Raises DefinitionError naming file and line: for a target that does not exist, user code
    that can not be imported, two assets of one key, and several Definitions objects.
    """
    location = _locate(os.fspath(target))
    modules = _import_all(location)
    definitions = _gather(modules)
    definitions.location = {
        "target": location.target,
        "root": location.root,
        "module": location.module,
    }
    from arco_flow.sdk.source_files import source_files

    definitions.source_files = source_files(location.files, location.root)
    return definitions


def _locate(target: str) -> _Location:
    path = os.path.abspath(target)
    if os.path.isdir(path):
        return _locate_folder(path)
    if os.path.isfile(path):
        if not path.endswith(".py"):
            raise _no_target(f"'{target}' is no Python file", "give a .py file, folder or module")
        root, name = _natural_name(path)
        return _Location(path, root, name, (path,))
    if target.endswith(".py") or "/" in target or os.sep in target:
        raise _no_target(f"there is no file or folder '{target}'{_near_files(path)}", _TARGETS)
    return _locate_module(target)


def _locate_folder(path: str) -> _Location:
    files = tuple(sorted(_python_files(path)))
    if not files:
        raise _no_target(f"the folder '{shown_path(path)}' holds no Python files", _TARGETS)
    if os.path.isfile(os.path.join(path, "__init__.py")):
        root, name = _natural_name(os.path.join(path, "__init__.py"))
        return _Location(path, root, name, files)
    return _Location(path, path, os.path.basename(path), files)


def _locate_module(name: str) -> _Location:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    importlib.invalidate_caches()
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    except Exception as error:  # a parent package runs user code
        raise import_error(name, error, os.getcwd()) from error
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        near = did_you_mean(name, [os.path.splitext(item)[0] for item in os.listdir()])
        raise _no_target(f"there is no module '{name}'{near}", _TARGETS)
    file = os.path.abspath(spec.origin)
    depth = name.count(".") + (1 if spec.submodule_search_locations is not None else 0)
    root = os.path.dirname(file)
    for _ in range(depth):
        root = os.path.dirname(root)
    is_package = spec.submodule_search_locations is not None
    files = tuple(sorted(_python_files(os.path.dirname(file)))) if is_package else (file,)
    path = os.path.dirname(file) if is_package else file
    # a path can be found from any working folder; of a namespace package only the name is enough
    target = path if _natural_name(file) == (root, name) else name
    return _Location(target, root, name, files)


def _no_target(problem: str, fix: str) -> DefinitionError:
    return DefinitionError(problem, fix=fix, reason="NO_CODE_LOCATION")


def _near_files(path: str) -> str:
    folder = os.path.dirname(path)
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return did_you_mean(os.path.basename(path), names)


def _python_files(folder: str) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if _is_searched(parent, name))
        for name in files:
            if name.endswith(".py") and not _is_skipped(name):
                yield os.path.join(parent, name)


def _is_searched(parent: str, name: str) -> bool:
    if name.startswith(".") or name in _SKIPPED_FOLDERS:
        return False
    return not os.path.exists(os.path.join(parent, name, "pyvenv.cfg"))


def _is_skipped(name: str) -> bool:
    hidden = name.startswith((".", "test_")) or name.endswith("_test.py")
    return hidden or name in _SKIPPED_FILES or name == "__main__.py"


def _natural_name(file: str) -> tuple[str, str]:
    """(sys.path root, dotted name) of a file: the packages around it are part of its name."""
    folder, base = os.path.split(file)
    parts = [] if base == "__init__.py" else [os.path.splitext(base)[0]]
    while os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        parts.insert(0, package)
    return folder, ".".join(parts)


def _import_all(location: _Location) -> list[ModuleType]:
    for name in _imported:
        sys.modules.pop(name, None)
    _imported.clear()
    for name in {_module_name(file, location.root).partition(".")[0] for file in location.files}:
        _make_way(name, location.root)
    if sys.path[0] != location.root:
        # first, so that the location's own modules win over those of one loaded earlier
        sys.path.insert(0, location.root)
    importlib.invalidate_caches()
    return [_import_file(file, location) for file in location.files]


def _make_way(name: str, root: str) -> None:
    """Forget another folder's module of this name, unless it is Python's or an installed one.

    The location's modules import each other by their names, so these must lead to itself.
    """
    module = sys.modules.get(name)
    place = _place_of_module(module)
    if place is None or is_below(place, root) or _is_installed(place) or name == "__main__":
        return
    for known in list(sys.modules):
        if known == name or known.startswith(name + "."):
            del sys.modules[known]


def _is_installed(file: str) -> bool:
    import sysconfig

    paths = sysconfig.get_paths()
    folders = (paths[kind] for kind in ("stdlib", "platstdlib", "purelib", "platlib"))
    return any(is_below(file, os.path.abspath(folder)) for folder in folders)


def _import_file(file: str, location: _Location) -> ModuleType:
    name = _module_name(file, location.root)
    known = set(sys.modules)
    try:
        module = sys.modules.get(name)
        if module is None or os.path.abspath(getattr(module, "__file__", None) or "") != file:
            module = _import_named(name, file)
    except ArcoError as error:
        if error.where:
            raise
        raise import_error(file, error, location.root) from error
    except (Exception, SystemExit) as error:
        raise import_error(file, error, location.root) from error
    finally:
        _remember(known, location.root)
    return module


def _module_name(file: str, root: str) -> str:
    relative = os.path.splitext(os.path.relpath(file, root))[0]
    parts = relative.split(os.sep)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _import_named(name: str, file: str) -> ModuleType:
    """Import by name when that leads to the file, else (`json.py`, `01_raw.py`) by its path."""
    try:
        spec = importlib.util.find_spec(name) if name not in sys.modules else None
    except (ImportError, ValueError):
        spec = None
    if spec is not None and spec.origin and os.path.abspath(spec.origin) == file:
        return importlib.import_module(name)
    synthetic = f"arco_flow_user.{name}"
    own = importlib.util.spec_from_file_location(synthetic, file)
    assert own is not None  # the file exists and ends in .py
    assert own.loader is not None
    module = sys.modules[synthetic] = importlib.util.module_from_spec(own)
    own.loader.exec_module(module)
    return module


def _remember(known: set[str], root: str) -> None:
    for name in set(sys.modules) - known:
        place = _place_of_module(sys.modules[name])
        if place is not None and is_below(place, root):
            _imported.add(name)


def _place_of_module(module: ModuleType | None) -> str | None:
    """Its file, or the first folder of a package that has none; None of what is built in."""
    # Not by getattr: some libraries put objects there that answer to every name.
    names: dict[str, Any] = getattr(module, "__dict__", {})
    file = names.get("__file__")
    try:
        places = [file] if file else list(names.get("__path__", ()))
    except KeyError:  # of a package whose parent could not be imported
        return None
    return os.path.abspath(places[0]) if places else None


def _gather(modules: list[ModuleType]) -> Definitions:
    assets: dict[int, Asset[..., Any]] = {}
    resources: dict[int, tuple[Resource, ModuleType]] = {}
    explicit: dict[int, tuple[Definitions, ModuleType]] = {}
    for module in modules:
        for value in _values(module):
            if isinstance(value, Asset):
                assets[id(value)] = value
            elif isinstance(value, Resource):
                resources[id(value)] = (value, module)
            elif isinstance(value, Definitions):
                explicit[id(value)] = (value, module)
    if len(explicit) > 1:
        files = [shown_path(str(module.__file__)) for _, module in explicit.values()]
        raise DefinitionError(
            f"{len(explicit)} Definitions objects, in {' and '.join(files)}",
            fix="keep one; it may list the assets of several modules",
            reason="DUPLICATE_DEFINITIONS",
        )
    chosen = next((one for one, _ in explicit.values()), Definitions())
    named = {type(resource) for resource in chosen.resources}
    found = [pair for pair in resources.values() if type(pair[0]) not in named]
    _refuse_two_of_a_class(found)
    return Definitions(
        assets.values() if chosen.finds_assets else chosen.assets,
        # what the object names outweighs what was found of the same class
        resources=[*chosen.resources, *(resource for resource, _ in found)],
    )


def _values(module: ModuleType) -> Iterator[object]:
    for value in list(vars(module).values()):
        if isinstance(value, list | tuple):
            yield from value
        else:
            yield value


def _refuse_two_of_a_class(found: list[tuple[Resource, ModuleType]]) -> None:
    standing: dict[type, Resource] = {}
    for value, module in found:
        first = standing.setdefault(type(value), value)
        if first is not value:
            raise DefinitionError(
                f"two resources of class {type(value).__name__} at module level: {first!r} and "
                f"{value!r}",
                where=shown_path(str(module.__file__)),
                fix="say which one counts: Definitions(resources=[…])",
                reason="DUPLICATE_RESOURCE",
            )
