"""Columns of values as PostgreSQL takes them in binary form: no text is written here to be parsed there."""

import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from psycopg.abc import AdaptContext
from psycopg.adapt import Dumper
from psycopg.pq import Format

# What an array of one dimension begins with (array_recv): the number of dimensions, whether any is null, the
# type of the elements, how many there are, and the number of the first one. Each element follows its length.
_HEAD = struct.Struct(">iiIii")
_LENGTH = np.dtype(">i4")


class Encoded(bytes):
    """A parameter in PostgreSQL's binary form; the statement says of which type by a cast."""


class _AsItIs(Dumper):
    format = Format.BINARY

    def dump(self, obj: Encoded) -> Encoded:
        return obj


def register(context: AdaptContext) -> None:
    """Have a connection take what is encoded."""
    context.adapters.register_dumper(Encoded, _AsItIs)


class Element(NamedTuple):
    """What the elements of an array are: PostgreSQL's number of their type, and how each is sent."""

    oid: int
    form: np.dtype[Any]


def _element(oid: int, form: str) -> Element:
    return Element(oid, np.dtype([("length", _LENGTH), ("value", form)]))


BOOLEAN = _element(16, "?")
SMALLINT = _element(21, ">i2")
INTEGER = _element(23, ">i4")
REAL = _element(700, ">f4")
DOUBLE = _element(701, ">f8")
TIMESTAMPTZ = _element(1184, ">i8")
# In microseconds: it counts from 2000 on.
SINCE_1970 = 946_684_800_000_000


def encoded(
    values: NDArray[Any], element: Element, *, nulls: NDArray[np.bool_] | None = None
) -> Encoded | None:
    """Return an array of these values; None, which is no array, where each of them is null."""
    if nulls is not None and nulls.all():
        return None
    has_nulls = nulls is not None and bool(nulls.any())
    elements = np.empty(len(values), element.form)
    elements["length"] = element.form["value"].itemsize
    elements["value"] = values
    head = _HEAD.pack(1, has_nulls, element.oid, len(values), 1)
    if not has_nulls:
        return Encoded(head + elements.tobytes())
    # Of one that is null there is no value, and its length is -1.
    elements["length"][nulls] = -1
    by_byte = elements.view(np.uint8).reshape(len(values), -1)
    is_sent = np.ones(by_byte.shape, np.bool_)
    is_sent[nulls, _LENGTH.itemsize :] = False
    return Encoded(head + by_byte[is_sent].tobytes())
