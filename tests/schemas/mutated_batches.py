"""Batches as bytes, each a good one to which something was done: in its values, its members or its bytes.

All is drawn from one seed. What is done mostly leaves a batch that the columns take: a number at its bound or
one step beyond, a decimal too many, a time of another form; so that a value read wrong would show.
"""

import json
import math
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

# As small as the columns take, as each of its fixes is read one by one, too.
MANY = 16
Fix = dict[str, Any]
Fixes = list[Fix]


class Literal(str):
    """A JSON number as it is to be spelt."""


_BOUNDS = {
    "lat": (-90, 90, 91, -91),
    "lon": (-180, 180, 181, -181),
    "sog": (0, 102.2, 102.3),
    "cog": (0, 359.9, 360),
    "heading": (0, 359, 360, 510, 511),
    "nav_status": (0, 14, 15),
    "accuracy_m": (0, 9_999.999, 10_000, 1_000_000),
    "battery_v": (0, 1000),
    "number": (0, 2**31, 2**32, 2**53 - 1, 2**53, 2**63 - 1, 2**63),
}
_NUMBERS = tuple(_BOUNDS)
_MEMBERS = ("recorded_at", *_NUMBERS)
_STRANGE: tuple[Any, ...] = (
    *(None, True, False, "", "0", "8.4", [], {}, [1], {"lat": 1}, "\ud800", "\U0001d538", "\0"),
    *(Literal(each) for each in ("-0", "-0.0", "0e0", "1E2", "1e-2", "5e-324", "1e308", "-1e308", "1e400")),
    *(Literal(each) for each in ("-1e-9", "1e-400", "NaN", "Infinity", "-Infinity", "nan", "1" + "0" * 400)),
    *(2**63, 2**64, -(2**63), 10**25, 1.0, 15.0, 0.5, 1e15, 9_007_199_254_740_993),
)
_OFFSETS = (
    "Z",
    "z",
    "+00:00",
    "-00:00",
    "+23:59",
    "-23:59",
    "+24:00",
    "+05:30",
    "-12:00",
    "+0530",
    "",
    "+1:00",
)
_DATES = (
    *("1969-12-31", "1970-01-01", "1999-12-31", "2000-02-29", "1900-02-29", "2100-02-28", "2099-12-31"),
    *("2024-02-29", "2023-02-29", "2026-02-30", "2026-04-31", "2026-00-10", "2026-13-10", "2026-01-00"),
    *("0001-01-01", "0000-01-01", "9999-12-31", "10000-01-01", "2026-1-01", "2026-01-32", "\uff12026-01-01"),
)
_CLOCKS = (
    *("00:00:00", "23:59:59", "23:59:60", "24:00:00", "23:60:00", "12:30:60", "22:59:60", "7:00:00"),
    *("12:34:5", "12-34-56", "12:34:56,5", "1\u0662:34:56", "12:34:61"),
)
_FRACTIONS = ("", "", ".", ".0", ".5", ".9999999", ".1a")


def _time(chance: random.Random) -> str:
    """Return a time of one form or another, mostly a good one."""
    if chance.random() < 0.5:
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(-(10**9), 10**9))
        text = at.strftime("%Y-%m-%dT%H:%M:%S")
    else:
        text = chance.choice(_DATES) + chance.choice("TTTTt ") + chance.choice(_CLOCKS)
    digits = "".join(chance.choices("0123456789", k=chance.randint(1, 12)))
    return text + chance.choice((*_FRACTIONS, f".{digits}")) + chance.choice(_OFFSETS)


def _number(chance: random.Random, name: str) -> Any:
    """Return a number about the bounds of a member, or one with a decimal too many."""
    least, *_ = bounds = _BOUNDS[name]
    value: Any = chance.choice(bounds)
    step = 10.0 ** -(6 if name in {"lat", "lon"} else 3)
    match chance.randrange(9):
        case 0:
            return value
        case 1:
            return float(value)
        case 2:
            return math.nextafter(value, chance.choice((-math.inf, math.inf)))
        case 3:
            return value + chance.choice((-1, 1)) * chance.choice(
                (step, step / 2, step / 2.000001, step / 100)
            )
        case 4:
            # Ties: half a step, as near to it as doubles come.
            return (chance.randrange(10**6) + 0.5) * step
        case 5:
            return round(chance.uniform(least, bounds[1]), chance.randint(0, 12))
        case 6:
            return Literal(f"{chance.uniform(least, bounds[1]):.{chance.randint(0, 20)}e}")
        case 7:
            # All that bounds it but for the last bits of a double: 0.1 + 0.2 and the like.
            return chance.randrange(10**4) * step + chance.randrange(10**4) * step
        case _:
            return chance.randint(math.ceil(least), math.floor(bounds[1]))


def _value(chance: random.Random, name: str) -> Any:
    if chance.random() < 0.15:
        return chance.choice(_STRANGE)
    return _time(chance) if name == "recorded_at" else _number(chance, name)


def _good(chance: random.Random) -> Fixes:
    """Return fixes of one form."""
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(10**6))
    decimals = chance.choice((1, 3, 6, 9))
    named = {"lat", "lon"} | {each for each in _NUMBERS if chance.random() < 0.6}
    form = chance.choice(("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%dt%H:%M:%S.125+02:00"))
    names = [each for each in _MEMBERS if each in named or each == "recorded_at"]
    chance.shuffle(names)
    fixes = []
    for place in range(MANY):
        values = {
            "recorded_at": (at + timedelta(seconds=place)).strftime(form),
            "lat": round(chance.uniform(-90, 90), decimals),
            "lon": round(chance.uniform(-180, 180), decimals),
            "sog": round(chance.uniform(0, 30), decimals),
            "cog": round(chance.uniform(0, 360), decimals),
            "heading": chance.randrange(360),
            "nav_status": chance.randrange(16),
            "accuracy_m": round(chance.uniform(0, 20), decimals),
            "battery_v": round(chance.uniform(3, 4.2), decimals),
            "number": place,
        }
        fixes.append({name: values[name] for name in names})
    return fixes


def _one_value(chance: random.Random, fixes: Fixes) -> None:
    name = chance.choice(_MEMBERS)
    fixes[chance.randrange(MANY)][name] = _value(chance, name)


def _a_whole_column(chance: random.Random, fixes: Fixes) -> None:
    name = chance.choice(_MEMBERS)
    value = _value(chance, name)
    for each in fixes:
        each[name] = value


def _a_column_of_many(chance: random.Random, fixes: Fixes) -> None:
    name = chance.choice(_NUMBERS)
    for each in fixes:
        each[name] = _number(chance, name)


def _a_column_of_decimals(chance: random.Random, fixes: Fixes) -> None:
    """Set numbers within their bounds, with more decimals than are kept."""
    name = chance.choice([each for each in _NUMBERS if each not in {"nav_status", "number"}])
    most = _BOUNDS[name][1]
    for each in fixes:
        value = chance.uniform(0, most)
        near = round(value, 6 if name in {"lat", "lon"} else 3)
        each[name] = chance.choice((value, near, math.nextafter(near, 0), math.nextafter(near, math.inf)))


def _times_of_one_form(chance: random.Random, fixes: Fixes) -> None:
    fraction = "".join(chance.choices("0123456789", k=chance.randint(1, 12)))
    rest = chance.choice(("", f".{fraction}")) + chance.choice(_OFFSETS)
    for each in fixes:
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(130 * 366 * 86_400))
        each["recorded_at"] = at.strftime("%Y-%m-%dT%H:%M:%S") + rest


def _odd_dates_of_one_form(chance: random.Random, fixes: Fixes) -> None:
    clock, offset = chance.choice(_CLOCKS[:3]), chance.choice(_OFFSETS)
    date = chance.choice(_DATES)
    for each in fixes:
        each["recorded_at"] = f"{date}T{clock}{offset}"
    if chance.random() < 0.5:
        fixes[-1]["recorded_at"] = f"{chance.choice(_DATES)}T{chance.choice(_CLOCKS)}{offset}"


def _nulls(chance: random.Random, fixes: Fixes) -> None:
    name = chance.choice(_MEMBERS)
    for each in fixes:
        if name in each and chance.random() < 0.5:
            each[name] = None


def _a_member_less(chance: random.Random, fixes: Fixes) -> None:
    one = fixes[chance.randrange(MANY)]
    del one[chance.choice(list(one))]


def _a_member_more(chance: random.Random, fixes: Fixes) -> None:
    name = chance.choice(("hdop", "Lat", "lat ", "", "recorded_at\u200b", *_MEMBERS))
    for each in fixes if chance.random() < 0.5 else fixes[:1]:
        each[name] = chance.choice((1, None, "x", 8.4))


def _another_order(chance: random.Random, fixes: Fixes) -> None:
    for place, each in enumerate(fixes):
        names = list(each)
        chance.shuffle(names)
        fixes[place] = {name: each[name] for name in names}


def _no_fix(chance: random.Random, fixes: Fixes) -> None:
    one = fixes[chance.randrange(MANY)]
    name, value = chance.choice((("lat", 91), ("lon", 181)))
    one[name] = chance.choice((value, float(value), value + 4e-7, value - 4e-7, value + 6e-7))


def _another_type(chance: random.Random, fixes: Fixes) -> None:
    """Spell each number of a column as the other type: 1.0 for 1 and the other way round."""
    name = chance.choice(_NUMBERS)
    for each in fixes:
        if isinstance(each.get(name), float):
            each[name] = int(each[name])
        elif isinstance(each.get(name), int):
            each[name] = float(each[name])


_MUTATIONS: tuple[Callable[[random.Random, Fixes], None], ...] = (
    *(_one_value, _a_whole_column, _a_column_of_many, _a_column_of_decimals, _times_of_one_form),
    *(_odd_dates_of_one_form, _nulls, _a_member_less, _a_member_more, _another_order, _no_fix, _another_type),
)


def _spelt(value: Any) -> str:
    if isinstance(value, Literal):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(name)}:{_spelt(each)}" for name, each in value.items()) + "}"
    return json.dumps(value)


def _in_bytes(chance: random.Random, body: bytearray) -> None:
    """Do something to the bytes of a body."""
    place = chance.randrange(len(body))
    match chance.randrange(5):
        case 0:
            body[place] ^= 1 << chance.randrange(8)
        case 1:
            del body[place : place + chance.randint(1, 3)]
        case 2:
            body[place:place] = chance.choice(
                (b"0", b"-", b".", b"e", b"9", b" ", b'"', b"\xc2\xb2", b"\\u0031")
            )
        case 3:
            # A digit for a digit, anywhere: dates, decimals, exponents.
            digits = [at for at, each in enumerate(body) if chr(each).isdigit()]
            for at in chance.sample(digits, 3):
                body[at] = ord(chance.choice("0123456789"))
        case _:
            # A member twice.
            end = body.index(b"}", place) if b"}" in body[place:] else len(body) - 2
            body[end:end] = f',"{chance.choice(_MEMBERS)}":1'.encode()


def bodies(many: int, *, seed: int) -> Iterator[bytes]:
    """Yield so many bodies of batches."""
    chance = random.Random(seed)
    for _ in range(many):
        fixes = _good(chance)
        for mutate in chance.choices(_MUTATIONS, k=chance.choice((0, 1, 1, 1, 2))):
            mutate(chance, fixes)
        body = bytearray(f'{{"fixes":[{",".join(map(_spelt, fixes))}]}}'.encode("utf-8", "surrogatepass"))
        if chance.random() < 0.3:
            _in_bytes(chance, body)
        yield bytes(body)
