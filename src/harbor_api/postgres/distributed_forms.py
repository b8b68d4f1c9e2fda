"""What a statement is where positions are distributed: the same, with ``distribution.FUNCTIONS`` for them.

A statement is written once, for one PostgreSQL, and made into its other form the first time that it is run on
a connection to such a database. Of ``positions AS p WHERE ...`` the conditions become what a function takes;
what is no condition on a fix stays. What stores and deletes becomes one of a few functions. StatementUnfit is
raised where a text is of no form that is known here: a test makes the form of each.

Two things are told from one statement to the next by settings of the session that nobody else reads, and in
one round trip: how far the order is visible (``harbor.head``), and before which number fixes are stored.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from harbor_api.postgres.order import FLOOR, NEWEST, NEWEST_OF_POSITIONS, is_unsettled

HEAD = "current_setting('harbor.head')::bigint"
_TAKE_HEAD = b"SELECT set_config('harbor.head', order_head()::text, false)"
_BEFORE = "current_setting('harbor.before')::bigint"
_FURTHEST = str(2**63 - 1)
_LAST_TRACKER = str(2**31 - 1)

_NAMED = re.compile(r"(?<![\w'])positions\b")
# Of no values, so that Citus plans it as it is.
_NEWEST_FIX = re.compile(r"FROM positions ORDER BY seq DESC LIMIT 1\b")
_TOPS = f"greatest(tops[1], tops[2], tops[3], {FLOOR}, 0) AS number"
_SEARCHED = re.compile(r"SELECT p\.seq - 1 FROM (?=positions AS p\s+WHERE)")
_FROM = re.compile(r"(?<!\w)positions AS p\s+WHERE\s+")
_AND = re.compile(r"\s+AND\s+")
_END = re.compile(r"\s*(?:\b(?:ORDER BY|LIMIT|UNION)\b|$)")
_ORDER = re.compile(r"\s*ORDER BY p\.(recorded_at|seq)\b( DESC)?")
_LIMIT = re.compile(r"\bLIMIT ((?:%\(\w+\)s|\w+)(?: \+ 1)?)")
_CONDITION = re.compile(
    r"(?P<what>p\.vessel_id|p\.seq(?: \+ 0)?|p\.recorded_at|\(p\.recorded_at, p\.tracker_id\)"
    r"|greatest\(p\.received_at, p\.recorded_at\)|coalesce\(p\.released_at, p\.received_at\))"
    r" (?P<how>=|<=|>=|<|>) (?P<value>.+)",
    re.DOTALL,
)
_DELETED = re.compile(r"gone AS \(\s+DELETE FROM positions\b.*?RETURNING ([^()]+?)\s*\)", re.DOTALL)
_PUT = re.compile(
    r"stored AS \(\s+INSERT INTO positions \(([^)]+)\)\s+(SELECT.*?)\s+ON CONFLICT [^)]+\) DO NOTHING\s+"
    r"RETURNING ([^)]+?)\s*\)",
    re.DOTALL,
)
_TRIMMED = re.compile(r"\s*WITH gone AS \(\s+DELETE FROM positions AS p\b.*RETURNING 1\s*\)", re.DOTALL)
_ADDED = re.compile(
    r"(?P<drawn>WITH (?P<input>input AS MATERIALIZED \(.*?\)), turn AS .*?), stored AS \(\s+"
    r"INSERT INTO positions .*?FROM drawn, input\s*\)\s*(?P<move>INSERT INTO latest_positions.*)",
    re.DOTALL,
)
_COLUMNS = re.compile(r"%\(\w+\)b::\w+\[\]")


class StatementUnfit(Exception):
    """There is no form of a statement for positions that are distributed."""


@cache
def of(statement: bytes) -> tuple[bytes, ...]:
    """Return what to run in place of a statement, one after the other; the last one's rows are its rows."""
    plain = statement.decode()
    if not _NAMED.search(plain):
        return (statement,)
    if "INTO order_fences" in plain:
        # Whoever fences holds the lock of the order.
        return (plain.replace(NEWEST_OF_POSITIONS, "newest_number()").encode(),)
    if _TRIMMED.match(plain):
        return (b"SELECT fixes_trimmed(%(vessel_id)s, %(since)s, %(until)s, %(number)s, %(most)s)",)
    if added := _ADDED.search(plain):
        return tuple(_addition(added))
    text = _DELETED.sub(
        r"gone AS MATERIALIZED (SELECT \1 FROM turn, fixes_taken(%(names)s::json) AS taken)", plain
    )
    text = _PUT.sub(
        r"drawn (\1) AS MATERIALIZED (\2), stored AS MATERIALIZED (SELECT \3 FROM fixes_put(("
        r"SELECT coalesce(jsonb_agg(to_jsonb(drawn)), '[]') FROM drawn)) AS put)",
        text,
    )
    needs_head = NEWEST in text or _TOPS in text
    if needs_head:
        text = text.replace(NEWEST, HEAD).replace(_TOPS, f"{HEAD} AS number")
        text = text.replace("%(number)s", f"least(%(number)s, {HEAD})")
    text = text.replace(NEWEST_OF_POSITIONS, "newest_number()")
    while found := _FROM.search(text):
        text = _asked(text, found)
    if _NAMED.search(_NEWEST_FIX.sub("", text)):
        raise StatementUnfit(text)
    return (_TAKE_HEAD, text.encode()) if needs_head else (text.encode(),)


def _addition(found: re.Match[str]) -> Iterator[bytes]:
    """Yield what stores fixes: the numbers, the fixes, and the latest positions."""
    columns = _COLUMNS.findall(found["input"])[:-1]
    taken = "SELECT set_config('harbor.before', before::text, false) FROM drawn"
    yield f"{found['drawn']} {taken}".encode()
    yield f"SELECT fixes_added({', '.join(columns)}, {_BEFORE})".encode()
    moved = found["move"].replace("FROM drawn, input", f"FROM (SELECT {_BEFORE} AS before) AS drawn, input")
    yield f"WITH {found['input']} {moved}".encode()


class _Bounds(NamedTuple):
    """What conditions say of fixes, as the functions take it."""

    vessel: str | None
    number: str
    after: tuple[str, str]
    before: tuple[str, str]
    beyond: str | None
    later: tuple[str, str] | None
    rest: list[str]


def _asked(text: str, found: re.Match[str]) -> str:
    """Return a text in which one of a function's takes the place of positions."""
    conditions, end = _conditions(text, found.end())
    bounds = _bounds(conditions)
    head, tail = text[: found.start()], text[end:]
    order = _ORDER.match(tail)
    limit = _LIMIT.search(tail)
    # What is left of the conditions is looked at behind the function.
    most = limit[1] if limit is not None and not bounds.rest else _FURTHEST
    if bounds.later is not None:
        # Only the number is wanted of the first one that is.
        searched = [*_SEARCHED.finditer(head + "positions AS p WHERE")][-1]
        name, moment = bounds.later
        assert limit is not None
        return f"{head[: searched.start()]}SELECT {name}({bounds.beyond}, {moment}) - 1{tail[limit.end() :]}"
    if bounds.vessel is not None:
        backwards = "true" if order is not None and order[2] else "false"
        arguments = [bounds.vessel, *bounds.after, *bounds.before, bounds.number, backwards, most]
        asked = f"fixes_of({', '.join(arguments)})"
    elif bounds.beyond is not None:
        arguments = [bounds.beyond, bounds.number, bounds.after[0], bounds.before[0]]
        asked = f"fixes_beyond({', '.join(arguments)}, {most if order is not None else _FURTHEST})"
    else:
        raise StatementUnfit(text)
    rest = f" WHERE {' AND '.join(bounds.rest)}" if bounds.rest else ""
    return f"{head}{asked} AS p{rest}{tail}"


def _conditions(text: str, begin: int) -> tuple[list[str], int]:
    """Return the conditions of a WHERE, and where they end: at what stands behind, or at the parenthesis."""
    conditions, depth, since, place = [], 0, begin, begin
    while place < len(text):
        if depth == 0:
            if text[place] == ")" or _END.match(text, place):
                break
            if between := _AND.match(text, place):
                conditions.append(text[since:place])
                since = place = between.end()
                continue
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        place += 1
    return [*conditions, text[since:place].strip()], place


def _bounds(conditions: list[str]) -> _Bounds:
    vessel = beyond = later = None
    number = _FURTHEST
    ends: dict[str, tuple[str, str]] = {}
    rest = []
    is_named = {">": False, "<": False}
    for each in conditions:
        if is_unsettled(each):
            # No stretch is settled here, so that there is nothing to pass over.
            continue
        found = _CONDITION.fullmatch(each)
        if found is None:
            rest.append(each)
            continue
        what, how, value = found.groups()
        side = how[0]
        if what == "p.vessel_id" and how == "=":
            vessel = value
        elif what.startswith("p.seq"):
            if side == "<":
                number = value if how == "<=" else f"{value} - 1"
            else:
                beyond = value
        elif what.startswith("(p."):
            # It says all that a time alone says on the same side.
            at, tracker = _pair(value)
            ends[side] = (
                at,
                {">": tracker, ">=": f"{tracker} - 1", "<": tracker, "<=": f"{tracker} + 1"}[how],
            )
            is_named[side] = True
        elif what == "p.recorded_at" and how == "=":
            ends = {">": (value, "0"), "<": (value, _LAST_TRACKER)}
        elif what == "p.recorded_at":
            if not is_named[side]:
                ends[side] = (value, _LAST_TRACKER if how in {">", "<="} else "0")
        else:
            later = ("number_since" if what.startswith("coalesce") else "number_later", value)
    return _Bounds(
        vessel=vessel,
        number=number,
        after=ends.get(">", ("'-infinity'", "0")),
        before=ends.get("<", ("'infinity'", "0")),
        beyond=beyond,
        later=later,
        rest=rest,
    )


def _pair(value: str) -> tuple[str, str]:
    at, tracker = value.removeprefix("(").removesuffix(")").rsplit(", ", 1)
    return at, tracker
