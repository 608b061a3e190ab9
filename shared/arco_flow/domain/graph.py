"""The graph of assets: who depends on whom, in which order, and why it would not end.

Kahn's algorithm runs on lists of integers that are numbered in key order, wave by wave: the same
pass yields the order, the layers, and what is left over when there is a cycle. Nothing depends on
the order of the mapping that the graph was built from, so equal inputs give equal plans.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from arco_flow.domain.errors import DefinitionError, InvalidInput, did_you_mean


@dataclass(frozen=True, slots=True, init=False, repr=False)
class AssetGraph:
    """An immutable, acyclic graph of asset keys.

    Built from `{key: upstream keys}`; every key that is named must have an entry, an asset without
    upstream has an empty one. An asset that reads its own earlier partitions is no cycle of
    assets: leave the asset out of its own list.

    Raises DefinitionError for an upstream key without entry and for a cycle, whose whole path the
    message holds.
    """

    _keys: tuple[str, ...]
    _upstream: tuple[tuple[int, ...], ...]
    _downstream: tuple[tuple[int, ...], ...]
    _layers: tuple[tuple[int, ...], ...]
    _index: Mapping[str, int]
    _position: tuple[int, ...]

    def __init__(self, dependencies: Mapping[str, Iterable[str]]) -> None:
        keys = tuple(sorted(dependencies))
        index = {key: number for number, key in enumerate(keys)}
        upstream = [_numbers(key, dependencies[key], index) for key in keys]
        downstream: list[list[int]] = [[] for _ in keys]
        for number, sources in enumerate(upstream):
            for source in sources:
                downstream[source].append(number)
        layers = _waves(upstream, downstream)
        if sum(map(len, layers)) < len(keys):
            raise _cycle_error(keys, upstream, layers)
        position = [0] * len(keys)
        for place, number in enumerate(number for layer in layers for number in layer):
            position[number] = place
        assign = object.__setattr__
        assign(self, "_keys", keys)
        assign(self, "_upstream", tuple(upstream))
        assign(self, "_downstream", tuple(map(tuple, downstream)))
        assign(self, "_layers", layers)
        assign(self, "_index", index)
        assign(self, "_position", tuple(position))

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: object) -> bool:
        return key in self._index

    def __repr__(self) -> str:
        return f"AssetGraph({len(self._keys)} assets in {len(self._layers)} layers)"

    def __hash__(self) -> int:
        return hash((self._keys, self._upstream))

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys, sorted."""
        return self._keys

    def upstream(self, key: str) -> tuple[str, ...]:
        """The assets that `key` depends on directly, sorted by key."""
        return tuple(self._keys[number] for number in self._upstream[self._number(key)])

    def downstream(self, key: str) -> tuple[str, ...]:
        """The assets that depend on `key` directly, sorted by key."""
        return tuple(self._keys[number] for number in self._downstream[self._number(key)])

    def ancestors(self, keys: str | Iterable[str], depth: int | None = None) -> tuple[str, ...]:
        """What lies one to `depth` steps (None: any number) upstream of any of `keys`.

        In topological order. A start key is in the answer only if it is upstream of another one.
        Raises InvalidInput for an unknown key or a negative depth.
        """
        return self._reached(self._upstream, keys, depth)

    def descendants(self, keys: str | Iterable[str], depth: int | None = None) -> tuple[str, ...]:
        """What lies one to `depth` steps (None: any number) downstream of any of `keys`.

        In topological order. A start key is in the answer only if it is downstream of another one.
        Raises InvalidInput for an unknown key or a negative depth.
        """
        return self._reached(self._downstream, keys, depth)

    def roots(self, among: Iterable[str] | None = None) -> tuple[str, ...]:
        """The assets without upstream; of `among`, those with no ancestor in `among`."""
        if among is None:
            return self._named(n for n, sources in enumerate(self._upstream) if not sources)
        chosen = set(among)
        return self.sort(chosen.difference(self.descendants(chosen)))

    def sinks(self, among: Iterable[str] | None = None) -> tuple[str, ...]:
        """The assets without downstream; of `among`, those with no descendant in `among`."""
        if among is None:
            return self._named(n for n, targets in enumerate(self._downstream) if not targets)
        chosen = set(among)
        return self.sort(chosen.difference(self.ancestors(chosen)))

    def topological_order(self) -> tuple[str, ...]:
        """All keys, each after everything it depends on: by layer, then by key."""
        return tuple(self._keys[number] for layer in self._layers for number in layer)

    def layers(self) -> tuple[tuple[str, ...], ...]:
        """Keys by the length of the longest path that leads to them, each layer sorted by key.

        What is in one layer can run at the same time once the layers before it are done.
        """
        return tuple(tuple(self._keys[number] for number in layer) for layer in self._layers)

    def sort(self, keys: Iterable[str]) -> tuple[str, ...]:
        """`keys` without repeats, in topological order. Raises InvalidInput for an unknown key."""
        return self._named({self._number(key) for key in keys})

    def _number(self, key: str) -> int:
        number = self._index.get(key)
        if number is None:
            raise InvalidInput(
                f"no asset '{key}' in the graph{did_you_mean(key, self._keys)}",
                fix="name one that exists: arco-flow assets",
                reason="UNKNOWN_ASSET",
                details={"key": key},
            )
        return number

    def _named(self, numbers: Iterable[int]) -> tuple[str, ...]:
        ordered = sorted(numbers, key=self._position.__getitem__)
        return tuple(self._keys[number] for number in ordered)

    def _reached(
        self, edges: Sequence[Sequence[int]], keys: str | Iterable[str], depth: int | None
    ) -> tuple[str, ...]:
        if depth is not None and depth < 0:
            raise InvalidInput(f"depth {depth} is negative: give 0 or more, or None for no limit")
        starts = [keys] if isinstance(keys, str) else keys
        frontier = {self._number(key) for key in starts}
        expanded = set(frontier)
        reached: set[int] = set()
        steps = 0
        while frontier and (depth is None or steps < depth):
            following = {target for number in frontier for target in edges[number]}
            reached |= following
            frontier = following - expanded
            expanded |= frontier
            steps += 1
        return self._named(reached)


def _numbers(key: str, sources: Iterable[str], index: Mapping[str, int]) -> tuple[int, ...]:
    if isinstance(sources, str):
        raise DefinitionError(
            f"the upstream of '{key}' is the text '{sources}', not a list of keys",
            fix=f"write ['{sources}']",
        )
    try:
        return tuple(sorted({index[source] for source in sources}))
    except KeyError as error:
        missing = str(error.args[0])
        raise DefinitionError(
            f"asset '{key}' depends on '{missing}', which is not defined"
            f"{did_you_mean(missing, index)}",
            fix=f"define '{missing}' (an external asset, if nothing here makes it) or drop it",
            reason="UNKNOWN_UPSTREAM",
            details={"key": key, "upstream": missing},
        ) from None


def _waves(
    upstream: Sequence[Sequence[int]], downstream: Sequence[Sequence[int]]
) -> tuple[tuple[int, ...], ...]:
    """Kahn's algorithm; each wave frees the next. What a cycle holds back is in no wave."""
    waiting = [len(sources) for sources in upstream]
    wave = [number for number, count in enumerate(waiting) if count == 0]
    waves: list[tuple[int, ...]] = []
    while wave:
        waves.append(tuple(wave))
        freed: list[int] = []
        for number in wave:
            for target in downstream[number]:
                waiting[target] -= 1
                if waiting[target] == 0:
                    freed.append(target)
        freed.sort()
        wave = freed
    return tuple(waves)


def _cycle_error(
    keys: Sequence[str],
    upstream: Sequence[Sequence[int]],
    layers: Iterable[Iterable[int]],
) -> DefinitionError:
    path = [keys[number] for number in _cycle(upstream, layers)]
    return DefinitionError(
        f"assets depend on each other in a circle: {' → '.join(path)}",
        fix="each arrow points to the asset that reads the one before it; remove one of them",
        reason="CYCLE",
        details={"path": path},
    )


def _cycle(upstream: Sequence[Sequence[int]], layers: Iterable[Iterable[int]]) -> list[int]:
    """The path of one cycle in the direction of data, closed, from its first key on.

    Every node that Kahn left over has an upstream that is left over too, so walking upstream
    among them must meet itself.
    """
    done = {number for layer in layers for number in layer}
    walk: list[int] = []
    seen: dict[int, int] = {}
    number = next(n for n in range(len(upstream)) if n not in done)
    while number not in seen:
        seen[number] = len(walk)
        walk.append(number)
        number = next(source for source in upstream[number] if source not in done)
    circle = walk[seen[number] :]
    circle.reverse()
    first = circle.index(min(circle))
    turned = circle[first:] + circle[:first]
    return [*turned, turned[0]]
