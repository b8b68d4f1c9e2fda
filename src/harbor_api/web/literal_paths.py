"""Paths without parameters, found by one look: those of all fixes and of most reads.

Werkzeug reads the host, binds its map to it and walks through that for every request. Where it gets to with a
path that has no parameters hangs on nothing else of a request than what ``_Place`` names, so that is
remembered, as Werkzeug found it. All that it does not find, or finds elsewhere, it is asked for each time.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

from flask import Request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, MapAdapter, Rule

# Callers choose what they call the host.
_MOST = 256


class _Place(NamedTuple):
    method: str
    path: str
    host: str
    scheme: str
    root: str


class LiteralPaths:
    """Where requests go to that have a path without parameters."""

    def __init__(self, url_map: Map) -> None:
        """Remember for a map to which nothing is added once it was asked."""
        self._map = url_map
        self._found: dict[_Place, _Found] = {}

    def recall(self, request: Request) -> MapAdapter | None:
        """Return what is known of where a request goes to, and give it its host; None where nothing is."""
        place = _place_of(request)
        found = None if place is None else self._found.get(place)
        if found is not None:
            request.host = found.host
        return found

    def note(self, request: Request, adapter: MapAdapter) -> None:
        """Remember where a request goes to that Werkzeug has made an adapter for, where that is for good."""
        place = _place_of(request)
        rule = self._rules.get((adapter.default_method, adapter.path_info))
        if place is not None and rule is not None:
            if len(self._found) >= _MOST:
                self._found.clear()
            self._found[place] = _Found(adapter, rule, request.host)

    @cached_property
    def _rules(self) -> Mapping[tuple[str, str], Rule]:
        """What Werkzeug finds by each method and path of a rule that takes no arguments."""
        adapter = self._map.bind("")
        rules = {}
        for rule in self._map.iter_rules():
            for method in () if rule.arguments else rule.methods or ():
                try:
                    found, arguments = adapter.match(rule.rule, method, return_rule=True)
                except HTTPException:
                    continue
                if not arguments:
                    rules[method, rule.rule] = found
        return rules


class _Found(MapAdapter):
    """A map that is bound to where a request goes to."""

    def __init__(self, adapter: MapAdapter, rule: Rule, host: str) -> None:
        super().__init__(
            adapter.map,
            adapter.server_name,
            adapter.script_name,
            adapter.subdomain,
            adapter.url_scheme,
            adapter.path_info,
            adapter.default_method,
        )
        self.rule = rule
        self.host = host

    def match(self, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs != {"return_rule": True}:
            return super().match(*args, **kwargs)
        return self.rule, {}


def _place_of(request: Request) -> _Place | None:
    """Return where a request goes to, None where more of it matters."""
    environ = request.environ
    host = environ.get("HTTP_HOST")
    # What asks for a websocket is refused, as there are none.
    if not host or "HTTP_UPGRADE" in environ:
        return None
    return _Place(
        environ["REQUEST_METHOD"],
        environ.get("PATH_INFO", ""),
        host,
        environ["wsgi.url_scheme"],
        environ.get("SCRIPT_NAME", ""),
    )
