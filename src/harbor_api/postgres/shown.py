"""What a key is shown of a fix, as text that PostgreSQL makes: the same in every answer that holds fixes."""

from collections.abc import Mapping
from string import Formatter
from typing import Any

from harbor_api.domain.vessels import DIRECTION_STEP, SPEED_STEP_KN, coarse_accuracy_m
from harbor_api.postgres.sight import Sight

_TIME = """to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
# A double is written with an exponent where it is small, a real where it is large, and a numeric never: that
# takes longer, and few numbers need it.
_PLAIN = "CASE WHEN abs(p.{0}) < 0.0001 THEN p.{0}::numeric::text ELSE p.{0}::text END"
_LARGE = "CASE WHEN p.{0} >= 1000000 THEN p.{0}::text::numeric::text ELSE p.{0}::text END"
_FINE: Mapping[str, str] = {
    **dict.fromkeys(("recorded_at", "received_at"), _TIME.format("p.{0}")),
    **dict.fromkeys(("lat", "lon"), _PLAIN),
    **dict.fromkeys(("sog", "cog", "heading", "nav_status"), "p.{0}::text"),
    "accuracy_m": _LARGE,
}
# As ``domain.vessels.coarsened`` has it. A measure is the decimal that it was before it had four bytes.
_NEAREST = "(round(p.{{0}}::text::float8 / {0}) * {0})"
_DIRECTION = f"mod({_NEAREST.format(DIRECTION_STEP)}::integer, 360)::text"
_COARSE: Mapping[str, str] = {
    **dict.fromkeys(
        ("recorded_at", "received_at"),
        _TIME.format("date_bin(%(step)s, p.{0}, timestamptz '1970-01-01 00:00:00Z')"),
    ),
    **dict.fromkeys(("lat", "lon"), "trim_scale(round(p.{0}::numeric, %(decimals)s))::text"),
    "sog": f"{_NEAREST.format(SPEED_STEP_KN)}::text",
    **dict.fromkeys(("cog", "heading"), _DIRECTION),
    "nav_status": "p.{0}::text",
    "accuracy_m": "%(accuracy_m)s",
}
# Never null.
_KNOWN = {"recorded_at", "received_at", "lat", "lon"}


def values(sight: Sight) -> dict[str, Any]:
    """Return what the texts take beside the step of a ``Sight``."""
    return {"decimals": sight.decimals, "accuracy_m": f"{coarse_accuracy_m(sight.decimals):g}"}


def text(form: str, *, is_coarse: bool, null: str, also: Mapping[str, str] | None = None) -> str:
    """Return the expression that writes a row p of positions in a form.

    The names in braces are those of ``domain.history.MEMBERS``, and of expressions ``also``, which are never
    null; ``null`` is written for what is not known.
    """
    expressions = {
        name: expression.format(name)
        if name in _KNOWN
        else f"coalesce({expression.format(name)}, {literal(null)})"
        for name, expression in (_COARSE if is_coarse else _FINE).items()
    } | dict(also or {})
    pieces: list[str] = []
    for piece, name, _, _ in Formatter().parse(form):
        pieces += [literal(piece)] if piece else []
        pieces += [expressions[name]] if name else []
    return " || ".join(pieces)


def literal(constant: str) -> str:
    """Return a constant of ours as SQL has it; psycopg looks for placeholders in it."""
    return "'" + constant.replace("'", "''").replace("%", "%%") + "'"
