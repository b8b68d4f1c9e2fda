"""Fields that take exactly what the OpenAPI document says: no coercion, no surprises.

marshmallow's own number fields take ``"12"``, truncate ``1.9`` and let ``true`` pass for 1; its dates
take a week number or a space. A caller who sends such a thing has made a mistake and is told so.
"""

import math
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from marshmallow import ValidationError, fields
from marshmallow.validate import Length, Range, Regexp

from harbor_api.domain.times import from_rfc3339, rfc3339
from harbor_api.domain.values import Form, Span, Text

NOW = "now"
_DIGITS = re.compile(r"-?[0-9]{1,18}", re.ASCII)
# As JSON spells a number, and most languages one that is close to 0: 1e-7, too.
_JSON_NUMBER = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)


class Number(fields.Float):
    """A JSON number that is finite; never text, never true or false."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> float:
        if type(value) not in {int, float}:
            raise self.make_error("invalid")
        return float(value)

    def _serialize(self, value: float | None, *_: Any, **__: Any) -> float | None:
        # Minus zero, which arithmetic may leave, becomes 0.
        return None if value is None else float(value) + 0.0


class Whole(fields.Integer):
    """A JSON number without a fraction (1.0 is one, as in JSON Schema)."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        if type(value) not in {int, float} or int(value) != value:
            raise self.make_error("invalid")
        return int(value)


class QueryWhole(fields.Integer):
    """A whole number in plain ASCII digits, as a query string spells it."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        if not isinstance(value, str) or not _DIGITS.fullmatch(value):
            raise self.make_error("invalid")
        return int(value)


class QueryNumber(fields.Float):
    """A finite number in ASCII digits, as a query string spells it."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> float:
        number = _finite(value)
        if number is None:
            raise self.make_error("invalid")
        return number


class QueryBoolean(fields.Boolean):
    """``true`` or ``false``, as a query string spells it."""

    default_error_messages = {"invalid": "Must be true or false."}

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if value not in {"true", "false"}:
            raise self.make_error("invalid", input=value)
        return bool(value == "true")


class QueryList(fields.String):
    """A list of values with commas between them, as a query string spells it; becomes a tuple.

    Values may stand in it twice. ``item`` says what each of them has to be, by a pattern or as a number.
    """

    default_error_messages = {"empty": "Holds an empty value.", "many": "Holds more than {most} values."}

    def __init__(self, item: fields.Field[Any], *, most: int, items: dict[str, Any], **kwargs: Any) -> None:
        """Take up to ``most`` values, each of which an ``item`` reads; ``items`` is what is told of one."""
        told = {"type": "array", "items": items, "minItems": 1, "maxItems": most}
        super().__init__(**{**kwargs, "metadata": {**told, **kwargs.get("metadata", {})}})
        self._item = item
        self._most = most

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        values = str(super()._deserialize(value, *args, **kwargs)).split(",")
        if len(values) > self._most:
            raise self.make_error("many", most=self._most)
        if not all(values):
            raise self.make_error("empty")
        return tuple(self._item.deserialize(each) for each in values)


class QueryNumbers(fields.String):
    """So many decimal numbers with commas between them, as a query string spells them; becomes a tuple."""

    default_error_messages = {
        "count": "Must be {count} numbers with commas between them.",
        "number": "Holds what is no finite decimal number.",
    }

    def __init__(self, count: int, **kwargs: Any) -> None:
        told = {"type": "array", "items": {"type": "number"}, "minItems": count, "maxItems": count}
        super().__init__(**{**kwargs, "metadata": {**told, **kwargs.get("metadata", {})}})
        self._count = count

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        values = str(super()._deserialize(value, *args, **kwargs)).split(",")
        if len(values) != self._count:
            raise self.make_error("count", count=self._count)
        numbers = tuple(map(_finite, values))
        if None in numbers:
            raise self.make_error("number")
        return numbers


class TrueOrFalse(fields.Boolean):
    """A JSON boolean; never a text or a number."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Timestamp(fields.AwareDateTime):
    """An RFC 3339 date-time with its offset; becomes UTC, is sent with ``Z`` and six digits of fraction."""

    default_error_messages = {
        "invalid": "Not an RFC 3339 date-time with an offset, such as 2026-01-02T03:04:05Z.",
        "blank": "The + of its offset has become a blank: in an address it is written %2B.",
    }

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> datetime:
        moment = from_rfc3339(value)
        if moment is None:
            has_lost_plus = isinstance(value, str) and from_rfc3339(value.replace(" ", "+")) is not None
            raise self.make_error("blank" if has_lost_plus else "invalid", input=value, obj_type="datetime")
        return moment

    def _serialize(self, value: datetime | None, *_: Any, **__: Any) -> str | None:
        return None if value is None else rfc3339(value)


class Beginning(fields.String):
    """``now``, or an RFC 3339 date-time as ``Timestamp`` takes it."""

    default_error_messages = {
        "beginning": "Neither now nor an RFC 3339 date-time with an offset, such as 2026-01-02T03:04:05Z."
    }

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        moment = NOW if value == NOW else from_rfc3339(value)
        if moment is None:
            raise self.make_error("beginning")
        return moment


class Seen(Length):
    """Demands what a rule says of a text; the document is told its length."""

    def __init__(self, rule: Text) -> None:
        super().__init__(None if rule.may_be_empty else 1, rule.longest)
        self._rule = rule

    def __call__(self, value: str) -> str:  # type: ignore[override]  # Length takes lists, too
        fault = self._rule.fault(value)
        if fault:
            raise ValidationError(fault)
        return value


def seen(rule: Text, **metadata: object) -> dict[str, object]:
    """Return what the document says of a text: roughly by a short pattern, wholly by its format."""
    some = r"[^\x00-\x1f\x7f]*"
    pattern = some if rule.may_be_empty else rf"{some}[^\x00-\x20\x7f]{some}"
    return {**metadata, "pattern": f"^{pattern}$", "format": "visible-text"}


def of_form(rule: Form) -> Regexp:
    """Return the validator of a text of one form."""
    return Regexp(rf"\A(?:{rule.pattern})\Z", error=rule.told)


def of_span(rule: Span) -> Range:
    """Return the validator of a number's bounds, of which the document tells."""
    return Range(rule.least, rule.most)


def demand_order(start: datetime | None, end: datetime | None) -> None:
    """Refuse a time whose beginning and end were said, and are none: ``from`` is included, ``to`` is not."""
    if start is not None and end is not None and start >= end:
        raise ValidationError("Must be before `to`.", "from")


def some_are(holds: Callable[[str], bool], told: str) -> Callable[[Sequence[str]], None]:
    """Return the validator of a list of which one at least can be what it is a list of.

    One that can not be is passed over beside others, as is one that is not there. A list of nothing else
    would find nothing for ever, and never say why.
    """

    def demand(values: Sequence[str]) -> None:
        if not any(map(holds, values)):
            raise ValidationError(told)

    return demand


def _finite(value: Any) -> float | None:
    """Return the number that a text spells, None where it spells none that is finite."""
    if not isinstance(value, str) or not _JSON_NUMBER.fullmatch(value):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def distinct(values: list[Any]) -> None:
    """Refuse a list in which a value stands twice: what ``uniqueItems`` says in the document."""
    if len(set(values)) < len(values):
        raise ValidationError("Holds a value twice.")
