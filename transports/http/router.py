"""From a raw path to a route: a tree of segments for each tier; the lowest tier that knows the path has it."""

from collections.abc import Iterable, Mapping

import msgspec

from .dialect import AnyRoute, Dialect, LocalRoute
from .errors import HttpRefusal, MethodNotAllowed, NotFound


class Match(msgspec.Struct, frozen=True):
    """A route, the dialect it belongs to, and the segments it names, as they came."""

    dialect: Dialect
    route: AnyRoute
    params: Mapping[str, str]


class NoRoute(msgspec.Struct, frozen=True):
    """A path that nobody knows, or none of whose routes has the method; the dialect is the one to say so."""

    dialect: Dialect
    refusal: HttpRefusal


_Entry = tuple[Dialect, AnyRoute, tuple[str, ...]]
_Routes = dict[str, _Entry]


class _Node:
    """What may follow a path's beginning."""

    __slots__ = ("anything", "literals", "routes")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.anything: _Node | None = None
        self.routes: _Routes = {}

    def grow(self, segments: Iterable[str]) -> "_Node":
        node = self
        for segment in segments:
            if segment.startswith("{"):
                node.anything = node.anything or _Node()
                node = node.anything
            else:
                node = node.literals.setdefault(segment, _Node())
        return node

    def find(self, method: str, segments: list[str], index: int = 0) -> _Entry | None:
        """What the whole path and the method lead to, a literal segment going before a named one. As deep as the longest
        template."""
        if index == len(segments):
            return self.routes.get(method) or (_head(self.routes) if method == "HEAD" else None)
        literal = self.literals.get(segments[index])
        found = literal.find(method, segments, index + 1) if literal else None
        if found is None and self.anything is not None:
            found = self.anything.find(method, segments, index + 1)
        return found

    def methods(self, segments: list[str], index: int = 0) -> _Routes:
        """Everything that the whole path leads to, by method."""
        if index == len(segments):
            return self.routes
        literal = self.literals.get(segments[index])
        found = self.anything.methods(segments, index + 1) if self.anything is not None else {}
        return found | literal.methods(segments, index + 1) if literal else found


class Router:
    """Every dialect's routes. Matching looks at the path as it came, so `%2F` in a name never changes the route."""

    def __init__(self, own: Dialect, others: Iterable[Dialect]) -> None:
        """`own` speaks for paths that no dialect claims. Raises ValueError if a tier has a method and path twice."""
        self._own = own
        self._dialects = sorted([own, *others], key=lambda dialect: dialect.tier)
        tiers: dict[int, _Node] = {}
        for dialect in self._dialects:
            for route in dialect.routes:
                _add(tiers.setdefault(dialect.tier, _Node()), dialect, route)
        self._tiers = [tiers[tier] for tier in sorted(tiers)]
        claims = [(dialect, prefix) for dialect in self._dialects for prefix in dialect.prefixes]
        self._claims = sorted(claims, key=lambda claim: (claim[0].tier, -len(claim[1])))

    def match(self, method: str, path: str) -> Match | NoRoute:
        """The route for a method and a raw path. HEAD goes where GET does, unless that may take something away."""
        segments = path.split("/")
        for tier in self._tiers:
            entry = tier.find(method, segments)
            if entry is not None:
                dialect, route, names = entry
                return Match(dialect, route, {name: value for name, value in zip(names, segments, strict=True) if name})
            others = tier.methods(segments)
            if others:
                dialect = next(iter(others.values()))[0]
                return NoRoute(dialect, MethodNotAllowed(_allowed(dialect, others)))
        return NoRoute(self._owner(path), NotFound())

    def _owner(self, path: str) -> Dialect:
        return next((dialect for dialect, prefix in self._claims if path.startswith(prefix)), self._own)


def _add(root: _Node, dialect: Dialect, route: AnyRoute) -> None:
    segments = route.template.split("/")
    node = root.grow(segments)
    if route.method in node.routes:
        raise ValueError(f"two routes for {route.method} {route.template}")
    names = tuple(segment[1:-1] if segment.startswith("{") else "" for segment in segments)
    node.routes[route.method] = dialect, route, names


def _head(routes: _Routes) -> _Entry | None:
    entry = routes.get("GET")
    return entry if entry is not None and isinstance(entry[1], LocalRoute) else None


def _allowed(dialect: Dialect, routes: _Routes) -> tuple[str, ...]:
    allowed = set(routes)
    if _head(routes) is not None:
        allowed.add("HEAD")
    if dialect.cors is not None:
        allowed.add("OPTIONS")
    return tuple(sorted(allowed))
