"""The version of an asset's code: its function, and what of the code location it uses by name.

Read from the text and not from the objects in memory, so that it is the same in every process.
Counted are functions, classes and values that the function mentions, in its own file or imported
from the location, and in turn what those mention. Other assets are not: their change arrives as
data. Nor are installed packages, data files, and what is only found at run time (`getattr`).
"""

from __future__ import annotations

import ast
import os
from types import FunctionType

from arco_flow.domain.wire import sha256_hex
from arco_flow.sdk.module_names import (
    Chain,
    ModuleNames,
    chains_in,
    imports_in,
    is_asset,
    read_module_names,
)
from arco_flow.sdk.source_files import (
    file_digest,
    import_base,
    is_module,
    module_file,
    source_files,
)


class SourceReader:
    """Digests of assets' code; each file is read and parsed once per reader.

    root: of the code location, from which its modules import each other; "" when there is none.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._modules: dict[str, ModuleNames | None] = {}
        self._wholes: dict[str, frozenset[str]] = {}

    def digest(self, function: FunctionType) -> str:
        """32 hexadecimal characters; "" when there is no source.

        The function counts from `def` to its last line. Its decorators are left out, so that a new
        owner or tag makes nothing stale; comments and docstrings count, because telling them apart
        from code (`# type:`, `# noqa`) is not ours to do.
        """
        module = self._module(os.path.abspath(function.__code__.co_filename))
        node = module.functions.get(function.__code__.co_firstlineno) if module else None
        if module is None or node is None:
            return ""
        own = module.digest(node, decorators=False)
        undecorated = [child for child in ast.iter_child_nodes(node) if child not in _marks(node)]
        used = _Used(self, module, undecorated).digests - {own}
        return sha256_hex("\n".join([own, *sorted(used)]).encode())[:32] if used else own[:32]

    def _module(self, path: str) -> ModuleNames | None:
        if path not in self._modules:
            self._modules[path] = read_module_names(path)
        return self._modules[path]

    def _whole(self, file: str) -> frozenset[str]:
        """Digests of a file and of all that it imports from the location."""
        if file not in self._wholes:
            files = source_files([file], self._root)
            self._wholes[file] = frozenset(map(file_digest, files))
        return self._wholes[file]


def _marks(node: ast.stmt) -> list[ast.expr]:
    return list(getattr(node, "decorator_list", ()))


class _Used:
    """What pieces of code of one module use; digests: of every statement and file among it."""

    def __init__(self, reader: SourceReader, module: ModuleNames, pieces: list[ast.AST]) -> None:
        self._reader = reader
        self._root = reader._root
        self._seen: set[tuple[str, Chain]] = set()
        self._waiting: list[tuple[ModuleNames, Chain]] = []
        self.digests: set[str] = set()
        for piece in pieces:
            self._mentioned(module, piece)
        while self._waiting:
            self._resolve(*self._waiting.pop())

    def _mentioned(self, module: ModuleNames, piece: ast.AST) -> None:
        self._waiting += [(module, chain) for chain in chains_in(piece)]
        for statement in imports_in(piece):
            for alias in statement.names:
                self._imported(module, statement, alias, ())

    def _resolve(self, module: ModuleNames, chain: Chain) -> None:
        if (module.path, chain) in self._seen:
            return
        self._seen.add((module.path, chain))
        name, *rest = chain
        meanings = module.bound.get(name, module.stars)
        for statement in meanings:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                for alias in statement.names:
                    bound = alias.asname or alias.name.split(".")[0]
                    if bound in (name, "*"):
                        self._imported(module, statement, alias, tuple(rest), name)
            elif not is_asset(statement):
                self.digests.add(module.digest(statement, decorators=True))
                self._mentioned(module, statement)

    def _imported(
        self,
        module: ModuleNames,
        statement: ast.Import | ast.ImportFrom,
        alias: ast.alias,
        rest: Chain,
        name: str = "",
    ) -> None:
        """What an import means. name: by which it is mentioned, "" when only the import is."""
        if isinstance(statement, ast.Import):
            parts = alias.name.split(".")
            shown = parts if alias.asname or not name else parts[:1]
            self._in_module(os.path.join(self._root, *shown), rest)
            return
        base = import_base(module.path, statement.level, self._root)
        parts = statement.module.split(".") if statement.module else []
        is_star = alias.name == "*"
        wanted = name if is_star else alias.name
        self._in_module(os.path.join(base, *parts), (wanted, *rest), is_certain=not is_star)

    def _in_module(self, path: str, chain: Chain, *, is_certain: bool = True) -> None:
        """What a chain of names means in a module or package, given without suffix.

        is_certain: it means something there, not perhaps something else of the same name.
        """
        while chain and is_module(below := os.path.join(path, chain[0]), self._root):
            path, chain = below, chain[1:]
        file = module_file(path, self._root)
        if file is None:
            return
        module = self._reader._module(file)
        if module is not None and chain and (chain[0] in module.bound or module.stars):
            self._waiting.append((module, chain))
        elif is_certain:
            # The module itself is handed around, or makes its names at run time: all of it counts.
            self.digests |= self._reader._whole(file)
