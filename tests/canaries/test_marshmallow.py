"""marshmallow: what our fields override, and how its messages are laid out."""

import functools

import pytest
from marshmallow import Schema, ValidationError, fields, validates_schema
from marshmallow.exceptions import SCHEMA
from tests.canaries.relied_on import relied_on

relied = functools.partial(relied_on, "marshmallow")


@relied(
    "Field.deserialize: None where that is allowed, else _deserialize(value, name, data) and the validators",
    by="schemas/fields.py, positions.py and quarantine.py override _deserialize",
)
def test_a_field_is_deserialized_in_this_order():
    done = []

    class Recording(fields.Float):
        def _deserialize(self, value, attr, data, **kwargs):
            done.append(("deserialize", value, attr, data, kwargs))
            return value * 2

    class Recorded(Schema):
        number = Recording(allow_none=True, validate=[lambda value: done.append(("validate", value))])

    schema = Recorded()
    assert schema.load({"number": 4}) == {"number": 8}
    assert done == [("deserialize", 4, "number", {"number": 4}, {}), ("validate", 8)]
    done.clear()
    assert schema.load({"number": None}) == {"number": None}
    assert schema.load({}) == {}
    assert done == []


@relied("dump() asks Field._serialize(value, attr, obj)", by="schemas/fields.py overrides it for times")
def test_a_field_is_serialized_through_a_method():
    class Shouted(fields.String):
        def _serialize(self, value, *_, **__):
            return value.upper()

    assert Schema.from_dict({"name": Shouted()})().dump({"name": "a"}) == {"name": "A"}


@relied(
    "a schema's own messages stand under _schema, those of its members under their names or indexes",
    by="web/arguments.py makes pointers of them",
)
def test_messages_are_a_tree():
    assert SCHEMA == "_schema"

    class Inner(Schema):
        number = fields.Float()

        @validates_schema
        def check(self, data, **_):
            raise ValidationError("whole")

    class Outer(Schema):
        inner = fields.List(fields.Nested(Inner))

    with pytest.raises(ValidationError) as caught:
        Outer().load({"inner": [{"number": "x"}, {}], "other": 1})
    assert caught.value.normalized_messages() == {
        "inner": {0: {"number": ["Not a valid number."]}, 1: {"_schema": ["whole"]}},
        "other": ["Unknown field."],
    }
    with pytest.raises(ValidationError) as caught:
        Outer().load([])
    assert caught.value.normalized_messages() == {"_schema": ["Invalid input type."]}
